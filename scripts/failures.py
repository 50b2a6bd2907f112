"""What becomes of a run that fails among others: its reason is kept, and the others go on."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TypeAlias

from plasticrl.scripts.run import Run
from plasticrl.scripts.user_error import UserError

Failure: TypeAlias = tuple[Run, str]


def reason_of_failure(work: Callable[[], object]) -> str:
    """Do it; why it failed, or an empty text. What nobody expected is also shown with its traceback."""
    try:
        work()
    except UserError as error:
        return str(error)
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return f"{type(error).__name__}: {error}"
    return ""


def blame_failures(failed: Sequence[Failure], runs: Sequence[Run]) -> None:
    """Nothing, where no run failed.

    Raises:
        UserError: runs did; the text says which and why.
    """
    if failed:
        reasons = "; ".join(f"{run.label}: {reason}" for run, reason in failed)
        raise UserError(f"{len(failed)} of {len(runs)} trainings failed: {reasons}")

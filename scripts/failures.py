"""What becomes of a run that fails among others: its reason is kept, and the others go on."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TypeAlias

from plasticrl.scripts.user_error import UserError

Failure: TypeAlias = tuple[str, str]
"""The label of a run, and the reason."""


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


def blame_failures(failed: Sequence[Failure], among: int) -> None:
    """Nothing, where none of ``among`` runs failed.

    Raises:
        UserError: runs did; the text says which and why.
    """
    if failed:
        reasons = "; ".join(f"{label}: {reason}" for label, reason in failed)
        raise UserError(f"{len(failed)} of {among} trainings failed: {reasons}")

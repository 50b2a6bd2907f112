"""What becomes of a run that fails among others: its reason is kept, and the others go on."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TypeAlias

from plasticrl.scripts.system_errors import in_one_line
from plasticrl.scripts.user_error import UserError

Failure: TypeAlias = tuple[str, str]
"""The label of a run, and the reason."""


def reason_of_failure(work: Callable[[], object]) -> str:
    """Do it; why it failed, or an empty text. A defect of the program is also shown with its traceback."""
    try:
        work()
    except UserError as error:
        return str(error)
    except Exception as error:
        if (text := in_one_line(error)) is not None:
            return text
        traceback.print_exc(file=sys.stderr)
        return f"{type(error).__name__}: {error}"
    return ""


def blame_failures(failed: Sequence[Failure], among: int) -> None:
    """Refuse to go on if runs failed.

    Args:
        failed: which, and why.
        among: how many there were.

    Raises:
        UserError: some did; the text says which and why.
    """
    if failed:
        reasons = "; ".join(f"{label}: {reason}" for label, reason in failed)
        raise UserError(f"{len(failed)} of {among} trainings failed: {reasons}")

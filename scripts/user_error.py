"""What the user got wrong: the one kind of error that a command reports in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from plasticrl.scripts.system_errors import os_error_in_one_line


class UserError(Exception):
    """The input is at fault; the text names the cause and the way out."""


def one_line(what: object, most: int = 200) -> str:
    """A stranger's text as part of a message: on one line, printable, and not too long."""
    text = " ".join(str(what).split())
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[: most + 1])
    return text if len(text) <= most else text[:most] + "..."


@contextmanager
def blame_user(*errors: type[Exception], about: str = "") -> Iterator[None]:
    """Turn ``errors`` raised inside into a :class:`UserError` with the same text.

    An OSError with ``about`` also says what to do about it.

    Only for code that raises them for wrong input: anything else should keep its traceback.

    Args:
        *errors: the exceptions to turn.
        about: put before the text, as what it is about.
    """
    try:
        yield
    except errors as error:
        if about and isinstance(error, OSError):
            raise UserError(os_error_in_one_line(error, about)) from error
        text = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{about}: {text}" if about else text) from error

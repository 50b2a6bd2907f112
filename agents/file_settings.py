"""Settings that came out of a file: whatever is wrong with them, the file is named as the cause."""

from collections.abc import Iterator
from contextlib import contextmanager

from plasticrl.agents.tensor_file import TensorFileError


@contextmanager
def settings_of_a_file() -> Iterator[None]:
    """Around a constructor that is given what a file holds, which may be of any type.

    Raises:
        TensorFileError: instead of what constructors raise for a wrong type.
    """
    try:
        yield
    except (TypeError, AttributeError, KeyError, IndexError, OverflowError, RuntimeError) as error:
        raise TensorFileError(
            f"the settings in the file, with those given, are not allowed ({error!r}): give another file"
        ) from error

"""The mechanism of all checkpoints: named parts are encoded, checked as loading checks them, and written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from plasticrl.agents.checkpoint.tensor_file import (
    PathOrFile,
    TensorFileError,
    as_read,
    place_to_read,
    place_to_write,
    read_tensors,
    write_tensors,
)
from plasticrl.agents.checkpoint.tree import Absent, decode, encode

LOOSE = "tensors"  # the part of tensors that the JSON does not mention


@dataclass(frozen=True)
class Format:
    """A kind of checkpoint: a file of named parts, each of which is encoded as JSON and tensors.

    Args:
        name: name of the format, which every file states.
        version: its version, likewise.
        writer: the method that writes such files, for error messages.
        holds: names of the parts that every file has.
        loose: the file also has tensors that the JSON does not mention; they are the part ``LOOSE``.
        upgrade: functions by an earlier version that is read, too; they return the parts as this version
            has them.
    """

    name: str
    version: int
    writer: str
    holds: tuple[str, ...]
    loose: bool = False
    upgrade: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = field(default_factory=dict)

    def save(
        self, file: PathOrFile, parts: Mapping[str, Any], check: Callable[[dict[str, Any]], object]
    ) -> None:
        """Write a file, after ``check`` has accepted the parts as they would be read from it.

        Raises:
            OSError: the file cannot be written.
            TypeError: a part cannot be stored, or ``file`` is neither a path nor a binary file object.
            ValueError: ``check`` refused the parts.
        """
        tensors: dict[str, Tensor] = dict(parts.get(LOOSE, {}))
        data = {name: encode(part, tensors, name) for name, part in parts.items() if name != LOOSE}
        data = {"format": self.name, "version": self.version, **data}
        check(self.parts_of(tensors, as_read(data)))
        write_tensors(place_to_write(file), tensors, data)

    def load(self, file: PathOrFile) -> dict[str, Any]:
        """Return the parts of a file.

        Raises:
            OSError: the file cannot be read.
            TensorFileError: it is damaged, has another format or version, or a part cannot be decoded.
        """
        return self.parts_of(*read_tensors(place_to_read(file)))

    def parts_of(self, tensors: Mapping[str, Tensor], data: Mapping[str, Any]) -> dict[str, Any]:
        """Decode the content of a file.

        Raises:
            TensorFileError: it has another format or version, or a part cannot be decoded.
        """
        kind, version = data.get("format"), data.get("version")
        versions = [self.version, *self.upgrade]
        if kind != self.name or type(version) is not int or version not in versions:
            raise TensorFileError(
                f"the file holds {kind!r}, version {version!r}; this plasticrl reads {self.name!r}, "
                f"version {' or '.join(map(str, sorted(versions)))}: give a file that {self.writer} wrote"
            )
        if missing := [name for name in self.holds if name not in data]:
            raise TensorFileError(
                f"the file is incomplete or invalid (no part {missing[0]!r}): give another file"
            )
        left, parts = dict(tensors), {}
        for name, part in data.items():
            with reading(f"the part {name!r} of the file"):
                parts[name] = decode(part, left)
        if self.loose:
            parts[LOOSE] = left
        elif left:
            raise TensorFileError(f"{min(left)} is in the file, but is unknown: give another file")
        if version == self.version:
            return parts
        with reading():
            return self.upgrade[version](parts)


@contextmanager
def reading(what: str = "the file") -> Iterator[None]:
    """Turn the errors of code that reads untrusted values.

    Raises:
        TensorFileError: in place of the errors that values of the wrong type, shape or size cause.
    """
    try:
        yield
    except TensorFileError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        cause = str(error) if isinstance(error, ValueError) else repr(error)
        raise TensorFileError(f"{what} is incomplete or invalid ({cause}): give another file") from error


@contextmanager
def settings_of_a_file() -> Iterator[None]:
    """Turn the errors of a constructor called with a file's settings, which may be of any type.

    Raises:
        TensorFileError: in place of the errors that wrong types cause; a ValueError names the setting itself.
    """
    try:
        yield
    except (TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError) as error:
        raise TensorFileError(
            f"the settings in the file, with those given, are not allowed ({error!r}): give another file"
        ) from error


def check_given(whose: str, values: Mapping[str, Any], advice: str) -> None:
    """Raise ValueError for a value that a file could not hold and that was not given instead.

    Args:
        whose: owner of the values, for the message.
        values: values by name.
        advice: arguments of ``load`` that give a value, with ``{}`` for its name.

    Raises:
        ValueError: a value is :class:`~plasticrl.agents.checkpoint.tree.Absent`.
    """
    for name, value in values.items():
        if isinstance(value, Absent):
            raise ValueError(
                f"{whose} {name} was {value.what}, which a file cannot hold: load(..., {advice.format(name)})"
            )

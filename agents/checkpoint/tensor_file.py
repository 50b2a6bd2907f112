"""A file format for tensors with plain data: safetensors with JSON, without pickle."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from io import BufferedIOBase, RawIOBase, TextIOBase, UnsupportedOperation
from pathlib import Path
from typing import IO, Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from plasticrl.whole_files import UnfitFileError, check_size, open_regular, write_whole

FileObject: TypeAlias = IO[bytes] | BufferedIOBase | RawIOBase
PathOrFile: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes] | FileObject
SUFFIX, _OTHER_SUFFIX = ".safetensors", ".zip"  # SB3's CheckpointCallback calls its files .zip
_ENTRY = "plasticrl"  # a single metadata entry, since safetensors writes several in no fixed order
_LENGTH_BYTES = 8  # a safetensors file starts with the length of its header
_MOST_HEADER = 100_000_000  # the limit of safetensors
_ENDS = re.compile(rb'"data_offsets":\[\d{1,18},(\d{1,18})\]')  # end of each tensor, after the header
_OTHERS = {b"PK\x03\x04": "a zip archive, such as Stable-Baselines3 writes", b"\x80": "a pickle"}


class TensorFileError(ValueError):
    """A file was not written by :func:`write_tensors`, or is damaged; the message names file and cause."""


def with_suffix(path: Path) -> Path:
    """Return the path, with ``.safetensors`` added if it has no suffix."""
    return path if path.suffix else path.with_suffix(SUFFIX)


def place_to_write(file: PathOrFile) -> Path | FileObject:
    """Return a path :func:`with_suffix` and create its folder; return a file object unchanged.

    Raises:
        OSError: the folder cannot be created.
        TypeError: ``file`` is neither a path nor a binary file object.
    """
    place = _place(file, "write")
    if not isinstance(place, Path):
        return place
    path = with_suffix(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def place_to_read(file: PathOrFile) -> Path | FileObject:
    """Return the file that a path means; a file object as it is.

    SB3's callbacks write names with and without suffix, so the first that exists is taken of the name as it
    is given, the name that ``save`` would write, ``PATH.safetensors``, ``PATH.zip``, and ``PATH``.

    Raises:
        TypeError: it is neither a path nor a binary file object.
        ValueError: it is the path of a folder.
    """
    place = _place(file, "read")
    if not isinstance(place, Path):
        return place
    bare = place.with_suffix("") if place.suffix in (SUFFIX, _OTHER_SUFFIX) else place
    for path in (place, *(bare.with_name(bare.name + suffix) for suffix in (SUFFIX, _OTHER_SUFFIX)), bare):
        if path.is_file():
            return path
    return place if place.exists() else with_suffix(place)


def _place(file: PathOrFile, method: str) -> Path | FileObject:
    """Return a path with ``~`` expanded, or a file object, which must have ``method``."""
    if isinstance(file, (str, bytes, os.PathLike)):
        path = Path(os.path.expanduser(os.fsdecode(file)))
        if path.name in ("", "..") or path == Path(os.path.expanduser("~")):
            raise ValueError(f"{file!r} is a folder: give the path of a file in it")
        return path
    if isinstance(file, TextIOBase) or not callable(getattr(file, method, None)):
        raise TypeError(
            f"{file!r} is neither a path nor a binary file object, such as io.BytesIO() or open(path, 'rb')"
        )
    return file


def as_read(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain data as :func:`read_tensors` would return it.

    Raises:
        TypeError: a value cannot be represented in JSON.
        ValueError: a number is not finite.
    """
    read: dict[str, Any] = json.loads(_canonical(data))
    return read


def write_tensors(
    file: str | os.PathLike[str] | FileObject, tensors: Mapping[str, Tensor], data: Mapping[str, Any]
) -> None:
    """Write tensors and plain data; equal content gives equal bytes.

    A path is written atomically: the bytes go to a temporary file in the same folder, which is flushed to
    disk and then renamed.

    Args:
        file: a path, or a binary file object, whose content is replaced.
        tensors: tensors by name, on any device.
        data: values that JSON can represent, without NaN and infinity.

    Raises:
        OSError: the file cannot be written.
        TypeError: a value of ``data`` cannot be represented in JSON.
        ValueError: a number in ``data`` is not finite.
    """
    on_cpu = _apart(tensors)
    text = _canonical({"data": data, "sha256": _digest(on_cpu, data)})
    content = tensors_to_bytes(on_cpu, {_ENTRY: text})
    if isinstance(file, (str, os.PathLike)):
        write_whole(Path(file), content)
    else:
        _write_all(file, content)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors on the CPU, each in separate memory: safetensors refuses shared tensors."""
    apart: dict[str, Tensor] = {}
    taken = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        if own.untyped_storage().data_ptr() in taken:
            own = own.clone()
        taken.add(own.untyped_storage().data_ptr())
        apart[name] = own
    return apart


def _write_all(file: FileObject, content: bytes) -> None:
    """Replace the content of a file object, or append to one that is not seekable."""
    if _seekable(file):
        if file.tell():
            file.seek(0)
        with suppress(UnsupportedOperation):
            file.truncate()
    left = memoryview(content)
    while left:
        written = file.write(left)  # an unbuffered file may write only a part
        left = left[len(left) if written is None else written :]
    file.flush()


def _seekable(file: FileObject) -> bool:
    seekable = getattr(file, "seekable", None)  # Python 3.10's SpooledTemporaryFile lacks it, but can seek
    return seekable is None or bool(seekable())


def read_tensors(file: str | os.PathLike[str] | FileObject) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors, onto the CPU, and plain data that :func:`write_tensors` wrote; no code from it is run.

    Args:
        file: a path, or a binary file object, which is read from its start.

    Raises:
        OSError: the file cannot be read.
        TensorFileError: it was not written by :func:`write_tensors`, or is damaged.
        TypeError: the file object is not binary.
    """
    if isinstance(file, (str, os.PathLike)):
        name, content = os.fspath(file), _content(Path(file))
    else:
        if _seekable(file):
            file.seek(0)
        name, content = str(getattr(file, "name", "the file object")), file.read()
    if not isinstance(content, bytes):
        raise TypeError(f"the file object {name} must be binary, but its content is {type(content).__name__}")
    try:
        tensors = tensors_from_bytes(content)  # checks the lengths in the header against the content
        header = content[_LENGTH_BYTES : _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")]
        text = json.loads(header)["__metadata__"][_ENTRY]
        entry = json.loads(text)
        data, digest = entry["data"], entry["sha256"]
        # JSON has several representations of the same data; only the canonical one is accepted.
        fits = digest == _digest(tensors, data) and text == _canonical(entry)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TensorFileError(
            f"{name} is not a file that plasticrl wrote, or is damaged ({_guess(content)}"
            f"{type(error).__name__}: {error}): give another file"
        ) from error
    if not fits:
        raise TensorFileError(f"{name} is damaged (its content does not fit its sha256): give another file")
    if not isinstance(data, dict):
        raise TensorFileError(f"{name} holds {type(data).__name__}, but must hold a JSON object")
    return tensors, data


def _content(path: Path) -> bytes:
    """Read a file whose size must not exceed the size declared in its header nor this machine's memory.

    Raises:
        OSError: the file cannot be read.
        TensorFileError: it is too large.
    """
    with open_regular(path, links=True) as stream:
        start = stream.read(_LENGTH_BYTES)
        header = stream.read(min(int.from_bytes(start, "little"), _MOST_HEADER))
        declared = len(start) + len(header) + max(map(int, _ENDS.findall(header)), default=0)
        try:
            size = check_size(path, stream, min(declared, _memory()))
            stream.seek(0)
            return stream.read(size)
        except UnfitFileError as error:
            raise TensorFileError(
                f"{path} is not a file that plasticrl wrote, or is damaged ({_guess(start + header)}"
                f"{error.strerror}): give another file"
            ) from error


def _memory() -> int:
    """Return the size of this machine's memory in bytes; a larger file can only be a sparse one."""
    if not hasattr(os, "sysconf"):
        return sys.maxsize
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _guess(content: bytes) -> str:
    """Return a remark on the likely kind of an unreadable file, or an empty string."""
    for start, kind in _OTHERS.items():
        # The length of a safetensors header may also start with 0x80, but JSON follows it.
        if content.startswith(start) and content[_LENGTH_BYTES : _LENGTH_BYTES + 1] != b"{":
            return f"it looks like {kind}, which is never unpickled, since that can run code; "
    return ""


def _canonical(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(tensors: Mapping[str, Tensor], data: Any) -> str:
    """Return the SHA-256 of the data and of each tensor's name, dtype, shape and bytes."""
    digest = hashlib.sha256(_canonical(data).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name!r} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
    return digest.hexdigest()

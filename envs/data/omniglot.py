"""Omniglot: all drawings as one small array, kept in the cache, and fixed splits of its characters."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from plasticrl.arguments import check_count
from plasticrl.envs.data.download import (
    DataError,
    cache_dir,
    find_dataset,
    read_files,
    unreadable,
    walk_files,
)
from plasticrl.whole_files import write_whole


class OmniglotPart(NamedTuple):
    """One of the two official archives, or its extracted folder.

    Attributes:
        name: name of the folder, and of the archive without ``.zip``.
        alphabets: number of alphabets.
        first: number of its first character; numbers are unique across the parts.
        last: number of its last character.
    """

    name: str
    alphabets: int
    first: int
    last: int


class OmniglotLayout(NamedTuple):
    """All parts, in the order of their character numbers, and the properties of every character.

    Attributes:
        parts: the archives.
        drawings: drawings per character, numbered from 1.
        side: height and width of a drawing in pixels.
    """

    parts: tuple[OmniglotPart, ...]
    drawings: int
    side: int


OFFICIAL = OmniglotLayout(
    parts=(OmniglotPart("images_background", 30, 1, 964), OmniglotPart("images_evaluation", 20, 965, 1623)),
    drawings=20,
    side=105,
)
"""Lake, Salakhutdinov and Tenenbaum (2015): 50 alphabets, 1,623 characters, 32,460 drawings."""

_DRAWING = re.compile(
    r"(?:[^/]+/)*?(?P<alphabet>[^/]+)/(?P<character>character[0-9]{2})/(?P<number>[0-9]{4})_(?P<drawing>[0-9]{2})\.png"
)


def is_drawing(name: str) -> bool:
    """Return True for the name of a drawing: ``<alphabet>/characterNN/MMMM_DD.png``, in any folder."""
    return _DRAWING.fullmatch(name) is not None and not name.startswith("__MACOSX/")


def arrange(
    members: Iterable[str], part: OmniglotPart, drawings: int, source: str
) -> tuple[list[list[str]], list[str]]:
    """Sort the drawings of a part; check that each exists exactly once and that there are no others.

    Args:
        members: names of the files read, all of them those of drawings (``is_drawing``).
        part: the expected part.
        drawings: drawings per character.
        source: the file or folder read, for error messages.

    Returns:
        The names of each character's drawings, both ordered by number, and the alphabet of each character.

    Raises:
        DataError: drawings are missing, superfluous or in two places, or the number of alphabets is wrong;
            the message names the first such drawings.
    """
    found: dict[tuple[int, int], str] = {}
    home: dict[int, tuple[str, str]] = {}
    for name in members:
        match = _DRAWING.fullmatch(name)
        if match is None:
            raise DataError(f"{source}: {name!r} is not the name of an Omniglot drawing")
        number = int(match["number"])
        key, place = (number, int(match["drawing"])), (match["alphabet"], match["character"])
        if key in found or home.setdefault(number, place) != place:
            raise DataError(
                f"{source}: character {number:04d} is in two places, one of them {name!r}; {_WAY_OUT}"
            )
        found[key] = name
    characters, order = range(part.first, part.last + 1), range(1, drawings + 1)
    wanted = [(number, drawing) for number in characters for drawing in order]
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or extra:
        what = f"lacks {_some(missing)}" if missing else f"has {_some(extra)}, which should not be there"
        raise DataError(
            f"{source} {what}; {part.name} has {len(wanted)} drawings, {drawings} of each of the characters "
            f"{part.first:04d} to {part.last:04d}. {_WAY_OUT}"
        )
    alphabets = [home[number][0] for number in characters]
    if len(set(alphabets)) != part.alphabets:
        raise DataError(
            f"{source} has {len(set(alphabets))} alphabets instead of the {part.alphabets} of {part.name}; "
            f"{_WAY_OUT}"
        )
    names = [[found[number, drawing] for drawing in order] for number in characters]
    return names, alphabets


_WAY_OUT = "use the official archive, or the folder it extracts to, unchanged"


def _some(drawings: list[tuple[int, int]]) -> str:
    """Return the file names of the first few drawings, and the number of all."""
    shown = ", ".join(f"{number:04d}_{drawing:02d}.png" for number, drawing in drawings[:5])
    return f"{len(drawings)} drawings ({shown}{', ...' if len(drawings) > 5 else ''})"


class OmniglotImages(NamedTuple):
    """The resized drawings; row ``i`` of both arrays is the character with number ``i + 1``.

    Attributes:
        images: (1623, 20, size, size) uint8; 255 is ink, 0 is paper, edges are in between.
        alphabets: (1623,) the alphabet of each character, by folder name.
    """

    images: NDArray[np.uint8]
    alphabets: NDArray[np.str_]


# Part of every key: increase it when the same drawings would give different arrays.
_VERSION = 1
# Errors that zipfile, numpy and Pillow raise for files that are missing, damaged or of another format.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
)


def source_key(sources: Iterable[Path], settings: str) -> str:
    """Return a hex digest that changes with the source files and the settings.

    The digest of an archive covers its bytes. That of a folder covers the names, sizes and modification
    times of the drawings, since reading every file would take as long as the cache saves.

    Raises:
        DataError: a source cannot be read; the message names the file.
    """
    digest = hashlib.sha256(f"{_VERSION} {settings}".encode())
    for source in sources:
        try:
            content = _listing(source) if source.is_dir() else source.read_bytes()
        except OSError as problem:
            raise unreadable(source, problem) from problem
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def _listing(folder: Path) -> bytes:
    lines = []
    for path, name in walk_files(folder):
        if is_drawing(name):
            found = path.stat()
            lines.append(f"{name.partition('/')[2]} {found.st_size} {found.st_mtime_ns}")
    return "\n".join(sorted(lines)).encode()


def _read_cache(file: Path, key: str, shape: tuple[int, ...]) -> OmniglotImages | None:
    """Return the drawings of a cached file; None if it is missing, damaged or has another key."""
    try:
        with file.open("rb") as stream:
            # Verify the checksums first: numpy would trust the shape in a damaged header.
            with zipfile.ZipFile(stream) as archive:
                if archive.testzip() is not None:
                    return None
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as stored:
                images, alphabets, its_key = stored["images"], stored["alphabets"], stored["key"]
    except _DAMAGE:
        return None
    fits = images.dtype == np.uint8 and images.shape == shape
    fits = fits and alphabets.dtype.kind == "U" and alphabets.shape == shape[:1]
    return OmniglotImages(images, alphabets) if fits and str(its_key) == key else None


def _write_cache(file: Path, key: str, drawings: OmniglotImages) -> None:
    """Store the drawings compressed (8 MB at size 31).

    Raises:
        OSError: the folder is not writable; the message names the way out.
    """
    packed = io.BytesIO()
    np.savez_compressed(packed, key=np.array(key), **drawings._asdict())
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, packed.getvalue())
    except OSError as problem:
        hint = "the cache is not writable, set PLASTICRL_CACHE to another folder"
        raise OSError(problem.errno, f"{problem.strerror or problem}: {hint}", str(file)) from problem


def read_drawing(content: bytes, side: int, size: int, source: str) -> NDArray[np.uint8]:
    """Decode a drawing and resize it; ink is 255 and paper 0, the inverse of the file.

    It is resized with Pillow's Lanczos filter, which is antialiased: the filter is widened by
    ``side / size``, so that every pixel of the file contributes.

    Args:
        content: a PNG of ``side`` x ``side`` pixels of one bit, 0 for ink.
        side: required height and width of the drawing.
        size: height and width of the result.
        source: file and member name, for error messages.

    Returns:
        (size, size).

    Raises:
        DataError: ``content`` is not such a PNG; the message names ``source``.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            # Before the pixels are decoded: a header can declare a picture larger than memory.
            if image.size != (side, side) or image.mode != "1":
                raise DataError(
                    f"{source} has {image.width} x {image.height} pixels of mode {image.mode!r} instead of "
                    f"{side} x {side} of one bit each; {_WAY_OUT}"
                )
            paper = image.convert("L").resize((size, size), Image.Resampling.LANCZOS)
    except DataError:
        raise
    except (*_DAMAGE, Image.DecompressionBombError) as problem:
        raise DataError(f"{source} is not a PNG, or damaged ({problem}); {_WAY_OUT}") from problem
    return 255 - np.asarray(paper)


def load_omniglot(
    size: int = 31,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    expected: OmniglotLayout = OFFICIAL,
) -> OmniglotImages:
    """Load all drawings, resized, from the cache or from the source files, which are checked and then cached.

    The cached file is valid only for the exact source files and ``size``. If they differ, or if the cached
    file is damaged, the drawings are read anew. Reading the 32,460 official drawings takes a few seconds.

    Args:
        size: height and width, 1 to the 105 pixels of the originals.
        data_dir: folder of the official archives or of their extracted folders; see ``find_dataset``.
        download: allow downloading archives that are not found.
        expected: the contents that the files must have.

    Raises:
        ValueError: ``size`` is out of range.
        DataError: files are missing, damaged, or differ from ``expected``; the message names the first.
        OSError: the cache is not writable; set ``PLASTICRL_CACHE`` to another folder.
    """
    if check_count("size", size) > expected.side:
        raise ValueError(f"size must be at most {expected.side}, that of the originals, got {size}")
    sources = find_dataset("omniglot", data_dir, download)
    key = source_key([sources[part.name] for part in expected.parts], f"{size} {expected}")
    file = cache_dir() / f"omniglot-{size}-{key[:16]}.npz"
    shape = (sum(part.last - part.first + 1 for part in expected.parts), expected.drawings, size, size)
    drawings = _read_cache(file, key, shape)
    if drawings is None:
        parts = [_read_part(sources[part.name], part, expected, size) for part in expected.parts]
        drawings = OmniglotImages(*map(np.concatenate, zip(*parts, strict=True)))
        _write_cache(file, key, drawings)
    return drawings


def _read_part(source: Path, part: OmniglotPart, expected: OmniglotLayout, size: int) -> OmniglotImages:
    members = read_files(source, is_drawing, largest=2**16)  # a drawing has about 200 bytes
    names, alphabets = arrange(members, part, expected.drawings, str(source))
    images = [
        [read_drawing(members[name], expected.side, size, f"{source}: {name!r}") for name in drawings]
        for drawings in names
    ]
    return OmniglotImages(np.array(images), np.array(alphabets))


Split = Literal["train", "test"]
SplitBy = Literal["class", "alphabet"]

N_CLASSES = 1623


def split_classes(split: Split, split_by: SplitBy = "class") -> NDArray[np.int64]:
    """Return the classes of one side of a split, as character numbers less 1 (image rows), ascending.

    Both splits have 1,523 training and 100 test classes, independent of the dataset's own two parts:

    - ``"class"``: holds out single characters, as in Miconi et al. (2018). They are the 100 numbers
      ``MMMM`` (four digits) with the smallest SHA-256 of ``"<seed>:MMMM"``.
    - ``"alphabet"``: holds out whole alphabets, so that no character of their scripts is seen in training.
      The alphabets are sorted by the SHA-256 of ``"<seed>:<name>"``. Held out is the first set of four, in
      lexicographic order of their positions, that has 100 characters in all.

    The seed, the numbers and the names are stored in ``omniglot_splits.json``, which this function reads;
    the rules above document their origin.

    Raises:
        ValueError: ``split`` or ``split_by`` is not one of those above.
    """
    for name, value, allowed in (("split", split, Split), ("split_by", split_by, SplitBy)):
        if value not in get_args(allowed):
            names = " or ".join(repr(choice) for choice in get_args(allowed))
            raise ValueError(f"{name} must be {names}, got {value!r}")
    table = json.loads((files("plasticrl.envs.data") / "omniglot_splits.json").read_text(encoding="utf-8"))
    held_out = np.zeros(N_CLASSES, dtype=bool)
    held_out[np.array(table[split_by]["test"]) - 1] = True
    return np.flatnonzero(held_out if split == "test" else ~held_out)

"""The contents of the official Omniglot files, and the check that the files read are complete."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from plasticrl.envs.data_error import DataError


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


class PartDrawings(NamedTuple):
    """The drawings of one part, complete and in order.

    Attributes:
        names: the names of each character's drawings, both ordered by number.
        alphabets: the alphabet of each character.
    """

    names: list[list[str]]
    alphabets: list[str]


def arrange(members: Mapping[str, bytes], part: OmniglotPart, drawings: int, source: str) -> PartDrawings:
    """Sort the drawings of a part; check that each exists exactly once and that there are no others.

    Args:
        members: the files read, by name; all of the names are those of drawings (``is_drawing``).
        part: the expected part.
        drawings: drawings per character.
        source: the file or folder read, for error messages.

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
    return PartDrawings(names, alphabets)


_WAY_OUT = "use the official archive, or the folder it extracts to, unchanged"


def _some(drawings: list[tuple[int, int]]) -> str:
    """Return the file names of the first few drawings, and the number of all."""
    shown = ", ".join(f"{number:04d}_{drawing:02d}.png" for number, drawing in drawings[:5])
    return f"{len(drawings)} drawings ({shown}{', ...' if len(drawings) > 5 else ''})"

"""All Omniglot drawings as one small array, built once and then cached."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.archives import read_members
from plasticrl.envs.argument_checks import check_count
from plasticrl.envs.data import find_dataset
from plasticrl.envs.omniglot_cache import cache_file, read_cache, source_key, write_cache
from plasticrl.envs.omniglot_drawing import read_drawing
from plasticrl.envs.omniglot_layout import OFFICIAL, OmniglotLayout, OmniglotPart, arrange, is_drawing

# A drawing has about 200 bytes; an official archive has 9 MB and 20,275 members, including folders.
_LARGEST, _TOTAL, _MOST = 2**16, 2**26, 100_000


class OmniglotImages(NamedTuple):
    """The resized drawings; row ``i`` of both arrays is the character with number ``i + 1``.

    Attributes:
        images: (1623, 20, size, size) uint8; 255 is ink, 0 is paper, edges are in between.
        alphabets: (1623,) the alphabet of each character, by folder name.
    """

    images: NDArray[np.uint8]
    alphabets: NDArray[np.str_]


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
    file = cache_file(key, size)
    shape = (sum(part.last - part.first + 1 for part in expected.parts), expected.drawings, size, size)
    cached = read_cache(file, key, shape)
    if cached is not None:
        return OmniglotImages(*cached)
    parts = [_read_part(sources[part.name], part, expected, size) for part in expected.parts]
    images = np.concatenate([part.images for part in parts])
    alphabets = np.concatenate([part.alphabets for part in parts])
    write_cache(file, key, images, alphabets)
    return OmniglotImages(images, alphabets)


def _read_part(source: Path, part: OmniglotPart, expected: OmniglotLayout, size: int) -> OmniglotImages:
    members = read_members(source, is_drawing, largest=_LARGEST, total=_TOTAL, most=_MOST)
    names, alphabets = arrange(members, part, expected.drawings, str(source))
    images = np.array(
        [
            [read_drawing(members[name], expected.side, size, f"{source}: {name!r}") for name in drawings]
            for drawings in names
        ]
    )
    return OmniglotImages(images, np.array(alphabets))

"""The fixed splits of Omniglot's characters into training and held-out classes."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

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
    table = json.loads(
        files("plasticrl.envs.data").joinpath("omniglot_splits.json").read_text(encoding="utf-8")
    )
    held_out = np.zeros(N_CLASSES, dtype=bool)
    held_out[np.array(table[split_by]["test"]) - 1] = True
    return np.flatnonzero(held_out if split == "test" else ~held_out)

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
    """The classes of one side of a split, as character numbers less 1 (rows of the images), ascending.

    Both splits have 1,523 training and 100 test classes, whatever part of the dataset they are from:

    - ``"class"``: single characters are held out, as in Miconi et al. (2018). They are the 100 numbers
      ``MMMM`` (four digits) whose SHA-256 of ``"<seed>:MMMM"`` is smallest.
    - ``"alphabet"``: whole alphabets are held out, so that nothing of their script was seen in training. The
      alphabets are put in the order of the SHA-256 of ``"<seed>:<name>"``; held out is the first set of
      four, in lexicographic order of their places, that has 100 characters.

    The seed, the numbers and the names are in ``omniglot_splits.json``, which is what is used: the rule
    tells where they are from.

    Raises:
        ValueError: ``split`` or ``split_by`` is not one of those above.
    """
    for name, value, allowed in (("split", split, Split), ("split_by", split_by, SplitBy)):
        if value not in get_args(allowed):
            names = " or ".join(repr(choice) for choice in get_args(allowed))
            raise ValueError(f"{name} must be {names}, got {value!r}")
    table = json.loads(files("plasticrl.envs").joinpath("omniglot_splits.json").read_text(encoding="utf-8"))
    held_out = np.zeros(N_CLASSES, dtype=bool)
    held_out[np.array(table[split_by]["test"]) - 1] = True
    return np.flatnonzero(held_out if split == "test" else ~held_out)

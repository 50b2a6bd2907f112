import hashlib
import json
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest

from plasticrl.envs.data.omniglot import N_CLASSES, OFFICIAL, split_classes


@pytest.mark.parametrize("split_by", ["class", "alphabet"])
def test_train_and_test_never_mix_and_leave_nothing_out(split_by):
    train, test = split_classes("train", split_by), split_classes("test", split_by)
    assert (len(train), len(test)) == (1523, 100)
    assert sorted([*train, *test]) == list(range(N_CLASSES))
    assert all(a < b for ids in (train, test) for a, b in pairwise(ids))


def test_splits_cover_the_official_characters():
    assert OFFICIAL.parts[-1].last == N_CLASSES


def test_test_classes_are_drawn_by_the_stated_rule():
    table = json.loads(files("plasticrl.envs.data").joinpath("omniglot_splits.json").read_text())

    def rank(number):
        return hashlib.sha256(f"{table['seed']}:{number:04d}".encode()).hexdigest()

    expected = sorted(sorted(range(1, N_CLASSES + 1), key=rank)[:100])
    np.testing.assert_array_equal(split_classes("test", "class") + 1, expected)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("validation",), "split must be 'train' or 'test', got 'validation'"),
        (("test", "drawer"), "split_by must be 'class' or 'alphabet', got 'drawer'"),
    ],
)
def test_refuses_unknown_splits(arguments, text):
    with pytest.raises(ValueError, match=text):
        split_classes(*arguments)

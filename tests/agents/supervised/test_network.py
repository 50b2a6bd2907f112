"""Episodes as tensors."""

import numpy as np
import pytest
import torch

from plasticrl.agents.supervised.network import to_tensors
from plasticrl.envs.supervised.one_shot import OneShotTask
from plasticrl.envs.supervised.patterns import PatternsTask
from plasticrl.envs.supervised.task import Episode

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 5), dtype=np.uint8)


def test_the_fields_keep_their_values_and_types() -> None:
    episode = PatternsTask(n_bits=4, n_patterns=1).sample(2, np.random.default_rng(0))
    tensors = to_tensors(episode)
    assert tensors._fields == episode._fields
    for array, tensor in zip(episode, tensors, strict=True):
        assert (tensor is None) == (array is None)
        if array is not None and tensor is not None:
            assert tensor.device == torch.device("cpu")
            np.testing.assert_array_equal(tensor.numpy(), array, strict=True)


def test_they_are_copies_even_of_what_is_read_only() -> None:
    episode = PatternsTask(n_bits=4, n_patterns=1).sample(2, np.random.default_rng(0))
    episode.inputs.flags.writeable = False
    tensors = to_tensors(episode)
    tensors.inputs.fill_(7)
    assert (episode.inputs != 7).all()


@pytest.mark.parametrize(
    "episode",
    [
        PatternsTask(n_bits=4, n_patterns=1).sample(2, np.random.default_rng(0)),
        OneShotTask(IMAGES, n_way=3, pool=3).sample(2, np.random.default_rng(0)),
    ],
    ids=["patterns", "pooled"],
)
def test_the_first_steps_are_those_of_every_field_that_has_steps(episode: Episode) -> None:
    whole = to_tensors(episode)
    every = {"inputs", "target", "hidden"} if whole.picture is not None else {"target", "hidden"}
    for name, part in whole.until(3)._asdict().items():
        before = getattr(whole, name)
        if before is None:
            assert part is None
        else:
            assert torch.equal(part, before if name in every else before[:3]), name

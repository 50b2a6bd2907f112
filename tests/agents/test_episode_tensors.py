"""Episodes as tensors."""

import numpy as np
import torch

from plasticrl.agents.episode_tensors import to_tensors
from plasticrl.envs.patterns import PatternsTask


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

"""Networks by name."""

from typing import Any

import numpy as np
import pytest
import torch

from plasticrl.agents.supervised.completion import CompletionNetwork, LSTMCompletion
from plasticrl.agents.supervised.network import to_tensors
from plasticrl.agents.supervised.networks import NETWORK_NAMES, NetworkName, make_network
from plasticrl.agents.supervised.one_shot import OneShotNetwork
from plasticrl.envs.supervised.one_shot import OneShotTask
from plasticrl.envs.supervised.patterns import PatternsTask
from plasticrl.envs.supervised.task import EpisodeTask
from plasticrl.nn.factory import PlasticName


def completion() -> EpisodeTask:
    return PatternsTask(n_bits=12, n_patterns=2, n_cycles=1)


def classification() -> EpisodeTask:
    return OneShotTask(np.zeros((6, 2, 33, 33), dtype=np.uint8), n_way=3)


@pytest.mark.parametrize(
    ("name", "task", "kind"),
    [(name, completion, CompletionNetwork) for name in ("plastic", "homogeneous", "rnn")]
    + [("lstm", completion, LSTMCompletion)]
    + [(name, classification, OneShotNetwork) for name in ("plastic", "homogeneous", "rnn")],
)
def test_the_network_fits_the_task(name: NetworkName, task: Any, kind: type) -> None:
    network = make_network(task(), name)
    assert type(network) is kind
    episode = to_tensors(task().sample(2, np.random.default_rng(0)))
    outputs, _ = network(episode)
    assert outputs.shape == (*episode.target_mask.shape, task().n_classes or 12)
    outputs[episode.target_mask].sum().backward()


@pytest.mark.parametrize("task", [completion, classification])
@pytest.mark.parametrize(("name", "alpha"), [("plastic", "full"), ("homogeneous", "shared"), ("rnn", "none")])
def test_the_name_says_what_is_learned_of_alpha(name: PlasticName, alpha: str, task: Any) -> None:
    network = make_network(task(), name, rule="clipped")
    assert isinstance(network, CompletionNetwork | OneShotNetwork)
    assert network.core.plasticity.mode == alpha
    assert network.core.plasticity.rule.name == "clipped"


def test_a_seed_decides_the_parameters() -> None:
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(torch.cat([p.flatten() for p in make_network(completion(), "plastic").parameters()]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    name: Any = "gru"
    with pytest.raises(ValueError, match="unknown network 'gru': choose one of 'plastic', 'homogeneous'"):
        make_network(completion(), name)
    assert NETWORK_NAMES == ("plastic", "homogeneous", "rnn", "lstm")


def test_there_is_no_lstm_for_classes() -> None:
    with pytest.raises(ValueError, match="network 'lstm' only completes vectors"):
        make_network(classification(), "lstm")


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_an_option_that_is_not_there_is_named(name: NetworkName) -> None:
    with pytest.raises(TypeError, match="n_layers"):
        make_network(completion(), name, n_layers=2)

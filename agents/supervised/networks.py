"""Networks for the supervised tasks, by name."""

from typing import Any, Literal, TypeAlias, get_args

from plasticrl.agents.supervised.completion import CompletionNetwork, LSTMCompletion
from plasticrl.agents.supervised.network import EpisodeNetwork
from plasticrl.agents.supervised.one_shot import OneShotNetwork
from plasticrl.envs.supervised.task import EpisodeTask

NetworkName: TypeAlias = Literal["plastic", "homogeneous", "rnn", "lstm"]
NETWORK_NAMES: tuple[NetworkName, ...] = get_args(NetworkName)


def make_network(task: EpisodeTask, name: NetworkName, **options: Any) -> EpisodeNetwork:
    """Build the network ``name`` with the sizes of a task.

    Args:
        task: determines the sizes: of the vectors to complete, or of the images and the number of classes.
        name: ``"plastic"`` (one alpha per connection), ``"homogeneous"`` (one alpha for all),
            ``"rnn"`` (no plasticity), or ``"lstm"`` (completion tasks only).
        **options: further arguments of :class:`CompletionNetwork`, :class:`OneShotNetwork` or
            :class:`LSTMCompletion`.

    Raises:
        ValueError: the name is unknown, or the task has no such network.
        TypeError: the network has no such option.
    """
    if name not in NETWORK_NAMES:
        raise ValueError(f"unknown network {name!r}: choose one of {', '.join(map(repr, NETWORK_NAMES))}")
    if task.n_classes is not None:
        if name == "lstm":
            raise ValueError(
                "network 'lstm' only completes vectors: choose one of 'plastic', 'homogeneous', 'rnn'"
            )
        return OneShotNetwork(task.n_classes, core=name, image_size=task.input_shape[0], **options)
    if name == "lstm":
        return LSTMCompletion(task.input_shape[0], **options)
    return CompletionNetwork(task.input_shape[0], core=name, **options)

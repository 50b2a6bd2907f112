"""Construction of cores by name, as in an agent's ``policy_kwargs`` and in the commands."""

from difflib import get_close_matches
from typing import Any, Literal, TypeAlias, get_args

from plasticrl.arguments import check_size
from plasticrl.nn import GRU, LSTM, AlphaMode, Core, FeedForward, PlasticGRU, PlasticLSTM, PlasticRNN

CoreName: TypeAlias = Literal[
    "plastic", "homogeneous", "rnn", "lstm", "gru", "feedforward", "plastic_lstm", "plastic_gru"
]
CORE_NAMES: tuple[CoreName, ...] = get_args(CoreName)

PlasticName: TypeAlias = Literal["plastic", "homogeneous", "rnn"]
_ALPHA: dict[str, AlphaMode] = {"plastic": "full", "homogeneous": "shared", "rnn": "none"}
_GATED: dict[str, type[PlasticLSTM] | type[PlasticGRU]] = {
    "plastic_lstm": PlasticLSTM,
    "plastic_gru": PlasticGRU,
}
_PLAIN: dict[str, type[LSTM] | type[GRU] | type[FeedForward]] = {
    "lstm": LSTM,
    "gru": GRU,
    "feedforward": FeedForward,
}


def alpha_mode(core: PlasticName) -> AlphaMode:
    """Return the alpha mode of the plastic core of that name: ``"full"``, ``"shared"`` or ``"none"``.

    Raises:
        ValueError: the name is not ``"plastic"``, ``"homogeneous"`` or ``"rnn"``.
    """
    if core not in _ALPHA:
        raise ValueError(f"core must be one of {', '.join(map(repr, _ALPHA))}, not {core!r}")
    return _ALPHA[core]


def make_core(name: CoreName, input_size: int, hidden_size: int, **options: Any) -> Core:
    """Build a core.

    Args:
        name: ``"plastic"`` (one alpha per connection), ``"plastic_lstm"``, ``"plastic_gru"``,
            ``"homogeneous"`` (one alpha for all), ``"rnn"`` (no plasticity), ``"lstm"``, ``"gru"``, or
            ``"feedforward"`` (no memory).
        input_size: features per step.
        hidden_size: number of neurons.
        **options: further arguments of :class:`plasticrl.PlasticRNN`, :class:`plasticrl.PlasticLSTM` or
            :class:`plasticrl.PlasticGRU`, for the first five only.

    Raises:
        ValueError: the name is unknown, or an option is given to a core that has none.
    """
    if not isinstance(name, str) or name not in CORE_NAMES:
        close = get_close_matches(str(name).lower(), CORE_NAMES, n=1)
        meant = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"unknown core {name!r}: {meant}choose one of {', '.join(CORE_NAMES)}")
    input_size, hidden_size = check_size("input_size", input_size), check_size("hidden_size", hidden_size)
    if name in _GATED:
        return _GATED[name](input_size, hidden_size, **options)
    if name in _ALPHA:
        return PlasticRNN(input_size, hidden_size, alpha=_ALPHA[name], **options)
    if options:
        plastic = ", ".join((*_ALPHA, *_GATED))
        raise ValueError(
            f"core {name!r} takes no {', '.join(options)}: only {plastic} have plasticity options"
        )
    return _PLAIN[name](input_size, hidden_size)

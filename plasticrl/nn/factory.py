"""Construction of cores by name, as in an agent's ``policy_kwargs`` and in the commands."""

from difflib import get_close_matches
from inspect import signature
from typing import Any, Literal, TypeAlias, get_args

from plasticrl.arguments import check_size
from plasticrl.nn import GRU, LSTM, AlphaMode, Core, FeedForward, PlasticGRU, PlasticLSTM, PlasticRNN

CoreName: TypeAlias = Literal[
    "plastic", "homogeneous", "rnn", "lstm", "gru", "feedforward", "plastic_lstm", "plastic_gru"
]
CORE_NAMES: tuple[CoreName, ...] = get_args(CoreName)

PlasticName: TypeAlias = Literal["plastic", "homogeneous", "rnn"]
_ALPHA: dict[str, AlphaMode] = {"plastic": "full", "homogeneous": "shared", "rnn": "none"}
_CORES: dict[str, tuple[type[Core], dict[str, Any]]] = {
    **{name: (PlasticRNN, {"alpha": alpha}) for name, alpha in _ALPHA.items()},
    "plastic_lstm": (PlasticLSTM, {}),
    "plastic_gru": (PlasticGRU, {}),
    "lstm": (LSTM, {}),
    "gru": (GRU, {}),
    "feedforward": (FeedForward, {}),
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
        **options: further arguments of the core's class.

    Raises:
        ValueError: the name is unknown, or the core does not have an option.
    """
    if not isinstance(name, str) or name not in CORE_NAMES:
        close = get_close_matches(str(name).lower(), CORE_NAMES, n=1)
        meant = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"unknown core {name!r}: {meant}choose one of {', '.join(CORE_NAMES)}")
    input_size, hidden_size = check_size("input_size", input_size), check_size("hidden_size", hidden_size)
    kind, fixed = _CORES[name]
    for option in options:
        if not _takes(name, option):
            others = ", ".join(core for core in CORE_NAMES if _takes(core, option))
            raise ValueError(
                f"core {name!r} takes no {option}: " + (f"only {others} do" if others else "leave it out")
            )
    return kind(input_size, hidden_size, **fixed, **options)


def _takes(core: str, option: str) -> bool:
    kind, fixed = _CORES[core]
    return option in signature(kind).parameters and option not in fixed

"""Which settings of a network each core has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

from plasticrl.scripts.search_space import SearchSpace
from plasticrl.scripts.user_error import UserError

CoreOptions: TypeAlias = Mapping[str, tuple[str, ...]]

_TRACE = ("rule", "eta", "bound_eta")
_INIT = ("init", "init_scale")
_ONE_SHOT = ("init_scale", "input_mean", "input_std", "n_filters")

MAZE_OPTIONS: CoreOptions = MappingProxyType(
    {
        "plastic": (*_TRACE, *_INIT),
        "homogeneous": (*_TRACE, *_INIT),
        "rnn": _INIT,
        "lstm": (),
        "gru": (),
        "feedforward": (),
    }
)
COMPLETION_OPTIONS: CoreOptions = MappingProxyType(
    {
        "plastic": (*_TRACE, *_INIT),
        "homogeneous": (*_TRACE, *_INIT),
        "rnn": (*_INIT, "extra_neurons"),
        "lstm": ("hidden_size",),
    }
)
ONE_SHOT_OPTIONS: CoreOptions = MappingProxyType(
    {
        "plastic": (*_TRACE, "alpha_scale", *_ONE_SHOT),
        "homogeneous": (*_TRACE, "alpha_scale", *_ONE_SHOT),
        "rnn": _ONE_SHOT,
    }
)


def space_of_core(space: SearchSpace, options: CoreOptions, core: str) -> SearchSpace:
    """What a search may change of one core: without the settings that only other cores have."""
    of_others = {name for names in options.values() for name in names} - set(options[core])
    return {name: range_ for name, range_ in space.items() if name not in of_others}


def check_core_options(options: CoreOptions, cores: Sequence[str], settings: Any, preset: Any) -> None:
    """Refuse an option that was changed from the preset but that none of the cores has.

    Args:
        options: what each core has.
        cores: those that are asked for.
        settings: the network's, as given.
        preset: the same as the preset has it.

    Raises:
        UserError: there is such an option.
    """
    for name in {name: None for names in options.values() for name in names}:
        owners = [core for core, names in options.items() if name in names]
        if not set(owners) & set(cores) and getattr(settings, name) != getattr(preset, name):
            flag = "--" + name.replace("_", "-")
            many = "cores" if len(owners) > 1 else "core"
            raise UserError(
                f"{flag} is for the {many} {' and '.join(owners)}, not for {', '.join(cores)}: leave it out"
            )

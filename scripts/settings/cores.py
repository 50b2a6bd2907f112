"""The settings of a network that only some cores have."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from plasticrl.scripts.errors import UserError
from plasticrl.scripts.settings.search_space import SearchSpace

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
    of_others = options_of_others(options, core)
    return {name: range_ for name, range_ in space.items() if name not in of_others}


def options_of_others(options: CoreOptions, core: str) -> set[str]:
    """The names of the settings that other cores have and this one does not."""
    return {name for names in options.values() for name in names} - set(options[core])


def check_core_options(options: CoreOptions, cores: Sequence[str], given: Collection[str]) -> None:
    """Refuse an option that none of the cores has. A preset may have it: it is for whichever core is chosen.

    Args:
        options: the settings that each core has.
        cores: those that are asked for.
        given: the names of the options on the command line.

    Raises:
        UserError: there is such an option; the text names the cores that have it.
    """
    for name in {name: None for names in options.values() for name in names}:
        owners = [core for core, names in options.items() if name in names]
        if name in given and cores and not set(owners) & set(cores):
            flag = "--" + name.replace("_", "-")
            many = f"cores {', '.join(owners[:-1])} and" if len(owners) > 1 else "core"
            raise UserError(
                f"{flag} is for the {many} {owners[-1]}, not for {', '.join(cores)}: leave it out"
            )

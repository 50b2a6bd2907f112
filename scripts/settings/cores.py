"""Settings of a network that only some cores have."""

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
    """Return the search space of one core, without the settings that only other cores have."""
    of_others = options_of_others(options, core)
    return {name: range_ for name, range_ in space.items() if name not in of_others}


def options_of_others(options: CoreOptions, core: str) -> set[str]:
    """Return the names of the settings that other cores have and this one lacks."""
    return {name for names in options.values() for name in names} - set(options[core])


def check_core_options(options: CoreOptions, cores: Sequence[str], given: Collection[str]) -> None:
    """Check that each given option applies to at least one of the cores.

    Only the command line is checked: a preset has settings for every core.

    Args:
        options: the settings of each core.
        cores: the selected cores.
        given: the names of the options on the command line.

    Raises:
        UserError: an option applies to none of them; the message names the cores that have it.
    """
    for name in {name: None for names in options.values() for name in names}:
        owners = [core for core, names in options.items() if name in names]
        if name in given and cores and not set(owners) & set(cores):
            flag = "--" + name.replace("_", "-")
            many = f"cores {', '.join(owners[:-1])} and" if len(owners) > 1 else "core"
            raise UserError(
                f"{flag} is for the {many} {owners[-1]}, not for {', '.join(cores)}: leave it out"
            )

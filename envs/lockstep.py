"""Helpers of batched environments whose episodes all end in the same step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray


def reseeded(
    rngs: Sequence[np.random.Generator], num_envs: int, seed: int | Sequence[int | None] | None
) -> list[np.random.Generator]:
    """Return the generators of ``num_envs`` environments after a reset.

    Args:
        rngs: the current generators; empty before the first reset, which then seeds at random.
        num_envs: number of environments.
        seed: an integer seeds environment i with ``seed + i``. A sequence holds one seed per environment;
            None keeps the current generator.

    Raises:
        ValueError: ``seed`` is a sequence of another length.
    """
    if isinstance(seed, (int, np.integer)):
        seed = [int(seed) + row for row in range(num_envs)]
    elif seed is None:
        seed = [None] * num_envs
    if len(seed) != num_envs:
        raise ValueError(f"seed needs one number for each of the {num_envs} environments, got {len(seed)}")
    return [
        seeding.np_random(one)[0] if one is not None or not rngs else rngs[row]
        for row, one in enumerate(seed)
    ]


def refuse_reset_mask(options: Mapping[str, Any] | None) -> None:
    """Raise ValueError if a reset is restricted to some of the environments.

    Raises:
        ValueError: ``options`` contains "reset_mask".
    """
    if options is not None and "reset_mask" in options:
        raise ValueError("reset_mask is not supported: all episodes end in the same step and restart there")


def final_infos(observation: NDArray[np.float32], info: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return the info of finished episodes in Gymnasium's layout: a mask for every value.

    Args:
        observation: (num_envs, ...), the final observations.
        info: the final infos, each (num_envs,).
    """
    everywhere = np.ones(len(observation), dtype=np.bool_)
    final_info: dict[str, Any] = {}
    for name, value in info.items():
        final_info |= {name: value, f"_{name}": everywhere.copy()}
    final_obs = np.empty(len(observation), dtype=object)
    final_obs[:] = list(observation)
    return {
        "final_obs": final_obs,
        "_final_obs": everywhere.copy(),
        "final_info": final_info,
        "_final_info": everywhere,
    }

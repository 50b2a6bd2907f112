"""A callback that logs the final ``info`` of episodes."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

Finish = Callable[[float], float]


class EpisodeInfo(BaseCallback):
    """Callback that logs means over the episodes that ended since the last update.

    Args:
        prefix: first part of the tags, ``prefix/name``.
        names: entries of the final ``info`` to log. Negative values mean "never" and are left out.
        of_reward: further tags, each with a function of the mean reward.
    """

    def __init__(
        self,
        prefix: str,
        names: tuple[str, ...],
        of_reward: Mapping[str, Finish] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.prefix = prefix
        self.of_reward = of_reward
        self._values: dict[str, list[float]] = {name: [] for name in names}
        self._rewards: list[float] = []

    def _on_step(self) -> bool:
        if self.locals["dones"].any():
            for info in self.locals["infos"]:
                if "episode" in info:
                    self._rewards.append(info["episode"]["r"])
                    for name, values in self._values.items():
                        if info[name] >= 0:
                            values.append(info[name])
        return True

    def _on_rollout_end(self) -> None:
        for name, values in self._values.items():
            if values:
                self.logger.record(f"{self.prefix}/{name}", float(np.mean(values)))
                values.clear()
        if self._rewards:
            mean = float(np.mean(self._rewards))
            for name, function in self.of_reward.items():
                self.logger.record(f"{self.prefix}/{name}", function(mean))
            self._rewards.clear()

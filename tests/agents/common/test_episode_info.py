from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.logger import Logger

from plasticrl.agents.common.tensorboard import EpisodeInfo


class Model:
    """What a callback needs of an agent."""

    def __init__(self) -> None:
        self.logger = Logger(folder=None, output_formats=[])
        self.num_timesteps = 0

    def get_env(self) -> None:
        return None


def step(callback: EpisodeInfo, infos: list[dict[str, Any]]) -> None:
    callback.update_locals({"infos": infos, "dones": np.array(["episode" in info for info in infos])})
    assert callback.on_step()


def test_means_over_the_episodes_that_ended_since_the_last_update() -> None:
    callback = EpisodeInfo("maze", ("found", "first"), {"doubled": lambda reward: 2 * reward})
    model = Model()
    callback.init_callback(model)  # type: ignore[arg-type]
    step(callback, [{}, {"episode": {"r": 1.0}, "found": 2, "first": 5}])
    step(callback, [{"episode": {"r": 4.0}, "found": 4, "first": -1}, {}])
    callback.on_rollout_end()
    logged = model.logger.name_to_value
    assert logged["maze/found"] == 3.0
    assert logged["maze/first"] == 5.0, "an episode in which it never happened does not count"
    assert logged["maze/doubled"] == pytest.approx(5.0)

    logged.clear()
    step(callback, [{}, {}])
    callback.on_rollout_end()
    assert not logged

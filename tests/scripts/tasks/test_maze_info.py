from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.logger import Logger

from plasticrl.envs import MazeConfig, oracle_share
from plasticrl.scripts.tasks.environments.training import MazeInfo


class Model:
    """What a callback needs of an agent."""

    def __init__(self) -> None:
        self.logger = Logger(folder=None, output_formats=[])
        self.num_timesteps = 0

    def get_env(self) -> None:
        return None


def step(callback: MazeInfo, infos: list[dict[str, Any]]) -> None:
    callback.update_locals({"infos": infos, "dones": np.array(["episode" in info for info in infos])})
    assert callback.on_step()


def test_means_over_the_episodes_that_ended_since_the_last_update() -> None:
    config = MazeConfig(size=5, episode_length=20)
    callback = MazeInfo(config)
    model = Model()
    callback.init_callback(model)  # type: ignore[arg-type]
    never = {"wall_hits": 0, "mean_steps_later": -1}
    step(callback, [{}, {"episode": {"r": 1.0}, "rewards_found": 2, "first_reward_step": 5, **never}])
    step(callback, [{"episode": {"r": 4.0}, "rewards_found": 4, "first_reward_step": -1, **never}, {}])
    callback.on_rollout_end()
    logged = model.logger.name_to_value
    assert logged["maze/rewards_found"] == 3.0
    assert logged["maze/first_reward_step"] == 5.0, "an episode in which it never happened does not count"
    assert logged["maze/oracle_share"] == pytest.approx(oracle_share(2.5, config))
    assert "maze/mean_steps_later" not in logged, "it happened in no episode"

    logged.clear()
    step(callback, [{}, {}])
    callback.on_rollout_end()
    assert not logged

"""Trains an agent, with logs and saves, and measures its process. Globals: folder, steps, every, said."""

import gc
import json
import os
import resource
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from plasticrl.agents import RecurrentA2C
from plasticrl.envs import make_vec_env

given: dict[str, Any] = globals()
folder, every = Path(given["folder"]), int(given["every"])


class Measure(BaseCallback):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, int, int]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps < len(self.found) * every:
            return
        self.model.save(folder / "agent")
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        handles = len(os.listdir("/proc/self/fd"))
        self.found.append((self.num_timesteps, pages * resource.getpagesize(), handles))


mazes = make_vec_env("PlasticMaze-v0", n_envs=16, seed=0)
agent = RecurrentA2C.from_preset(
    "PlasticMaze-v0",
    env=mazes,
    policy_kwargs={"hidden_size": 32},
    seed=0,
    tensorboard_log=str(folder / "logs"),
)
measure = Measure()
agent.learn(int(given["steps"]) + 1, callback=measure, log_interval=10)
Path(given["said"]).write_text(json.dumps(measure.found))

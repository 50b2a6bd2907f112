"""What happens while a run trains: progress, checkpoints, and the maze in TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HParam
from stable_baselines3.common.utils import safe_mean
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

from plasticrl.agents.matrix_pictures import tensorboard_writer
from plasticrl.scripts.animation import gif, play
from plasticrl.scripts.checkpoint_files import save_checkpoint
from plasticrl.scripts.progress_display import Report
from plasticrl.scripts.settings import MazeRun

_ANIMATION_SIZE, _ANIMATION_FPS = 192, 12


class ReportProgress(BaseCallback):
    """Reports after every rollout.

    Args:
        label: which run.
        total: environment steps to take.
        share: the oracle's share of a mean reward.
        report: takes the reports.
    """

    def __init__(
        self, label: str, total: int, share: Callable[[float], float], report: Callable[[Report], None]
    ) -> None:
        super().__init__()
        self.label, self.total, self.share, self.report = label, total, share, report
        self._began = 0.0

    def _on_training_start(self) -> None:
        self._began = time.monotonic()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        episodes = self.model.ep_info_buffer
        reward = float(safe_mean([episode["r"] for episode in episodes])) if episodes else None
        self.report(
            Report(
                self.label,
                self.num_timesteps,
                self.total,
                reward,
                None if reward is None else self.share(reward),
                self.num_timesteps / max(time.monotonic() - self._began, 1e-9),
            )
        )


class SaveCheckpoints(BaseCallback):
    """Saves a checkpoint every so many environment steps, and an episode's animation with it.

    The checkpoint at the end of the training is not its business.

    Args:
        every: environment steps between two.
        folder: of the checkpoints.
        run: what is trained.
    """

    def __init__(self, every: int, folder: Path, run: MazeRun) -> None:
        super().__init__()
        self.every, self.folder, self.run = every, folder, run
        self._next = every

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:  # the update of the rollout before has been made
        if self._next <= self.num_timesteps < self.run.training.total_timesteps:
            self._next = (self.num_timesteps // self.every + 1) * self.every
            save_checkpoint(self.model, self.folder)  # type: ignore[arg-type]
            log_animation(self.model, self.run)


class LogHyperparameters(BaseCallback):
    """Puts the run's settings into TensorBoard's table of hyperparameters."""

    def __init__(self, run: MazeRun) -> None:
        super().__init__()
        self.run = run

    def _on_training_start(self) -> None:
        metrics = {"rollout/ep_rew_mean": 0.0, "maze/oracle_share": 0.0, "eval/mean_reward": 0.0}
        self.logger.record("hparams", HParam(flat(self.run.as_dict()), metrics), exclude=("csv",))

    def _on_step(self) -> bool:
        return True


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Nested settings as one level of ``group/name``; those left open as the text "default"."""
    level: dict[str, bool | int | float | str] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            level |= flat(value, f"{prefix}{name}/")
        else:
            level[prefix + name] = "default" if value is None else value
    return level


def log_animation(agent: Any, run: MazeRun) -> None:
    """Put one episode into TensorBoard's images, as the moving picture ``maze/episode``."""
    writer = tensorboard_writer(agent.logger)
    if writer is None:
        return
    frames = list(play(agent, run.maze, mode="rgb_array", seed=run.seed, size=_ANIMATION_SIZE))
    image = Summary.Image(
        height=_ANIMATION_SIZE,
        width=_ANIMATION_SIZE,
        colorspace=3,
        encoded_image_string=gif(frames, _ANIMATION_FPS),
    )
    # A summary of its own, since the writer's own way to add a video needs moviepy.
    summary = Summary(value=[Summary.Value(tag="maze/episode", image=image)])
    assert writer.file_writer is not None
    writer.file_writer.add_summary(summary, agent.num_timesteps)

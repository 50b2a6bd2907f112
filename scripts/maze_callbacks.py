"""What happens while an agent trains on the maze: progress, checkpoints, and the maze in TensorBoard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stable_baselines3.common.utils import safe_mean
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

from plasticrl.agents.matrix_pictures import tensorboard_writer
from plasticrl.scripts.animation import gif, play
from plasticrl.scripts.checkpoint_folder import CheckpointFolder
from plasticrl.scripts.progress_display import Report
from plasticrl.scripts.run_on_maze import RunOnMaze
from plasticrl.scripts.tables import percent
from plasticrl.scripts.training_callbacks import ReportProgress, SaveCheckpoints

_ANIMATION_SIZE, _ANIMATION_FPS = 192, 12


class MazeProgress(ReportProgress):
    """Reports the mean reward after every rollout.

    Args:
        label: which run.
        total: environment steps to take.
        share: the oracle's share of a mean reward.
        report: takes the reports.
    """

    def __init__(
        self, label: str, total: int, share: Callable[[float], float], report: Callable[[Report], None]
    ) -> None:
        super().__init__(label, total, "steps", report)
        self.share = share

    def score(self) -> str:
        """Reward and oracle share of the last episodes."""
        reward = self.value()
        return "" if reward is None else f"reward {reward:6.1f}  oracle {percent(self.share(reward)):>4}"

    def value(self) -> float | None:
        """The mean reward."""
        episodes = self.model.ep_info_buffer
        return float(safe_mean([episode["r"] for episode in episodes])) if episodes else None

    def _on_rollout_end(self) -> None:
        self.tell()


class MazeCheckpoints(SaveCheckpoints):
    """Saves at the start of a rollout, when the update of the rollout before has been made.

    Args:
        every, total, folder: as for every task.
        run: an episode of it is shown in TensorBoard with each checkpoint.
    """

    def __init__(self, every: int, total: int, folder: CheckpointFolder, run: RunOnMaze) -> None:
        super().__init__(every, total, folder)
        self.run = run

    def show(self) -> None:
        """An episode."""
        log_animation(self.model, self.run)

    def _on_rollout_start(self) -> None:
        self.save_when_due()


def log_animation(agent: Any, run: RunOnMaze) -> None:
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

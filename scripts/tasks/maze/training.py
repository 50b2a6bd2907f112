"""A training on the maze: the agent, and the callbacks that watch it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import safe_mean
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

from plasticrl.agents.common.finite_checks import NonFiniteError
from plasticrl.agents.common.tensorboard import EpisodeInfo, MatrixPictures, tensorboard_writer
from plasticrl.envs import oracle_share
from plasticrl.scripts.runs.callbacks import LogHyperparameters, ReportProgress, SaveCheckpoints
from plasticrl.scripts.runs.checkpoints import CheckpointFolder
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.setup import keep_freed_memory
from plasticrl.scripts.runs.terminal import Report, percent
from plasticrl.scripts.tasks.maze.animation import gif, play
from plasticrl.scripts.tasks.maze.evaluation import Evaluation, evaluate
from plasticrl.scripts.tasks.maze.setup import check_run, load_learner, make_learner, make_mazes, maze_config
from plasticrl.scripts.tasks.task import EVALUATION_SEEDS, MOST_ROWS, Trainer

if TYPE_CHECKING:
    from torch import Tensor

    from plasticrl.agents import RecurrentA2C


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

    def __init__(self, every: int, total: int, folder: CheckpointFolder, run: Run) -> None:
        super().__init__(every, total, folder)
        self.run = run

    def show(self) -> None:
        """An episode."""
        log_animation(self.model, self.run)

    def _on_rollout_start(self) -> None:
        self.save_when_due()


def log_animation(agent: Any, run: Run) -> None:
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


_METRICS = ("rollout/ep_rew_mean", "maze/oracle_share", "eval/mean_reward")


class MazeTrainer(Trainer):
    """Trains an agent on the maze.

    Args:
        run: what to train.
        device: what computes the network.

    Attributes:
        what: is not finite where a training diverged.
        remedy: what to try then.

    Raises:
        UserError: a setting is not allowed.
    """

    what = "weights"
    remedy = "a lower learning rate"

    def __init__(self, run: Run, device: str) -> None:
        check_run(run)
        self.run, self.device = run, device
        self.config = maze_config(run.maze)
        with ExitStack() as stack:
            self.env = stack.enter_context(closing(make_mazes(run.maze, run.training.n_envs, run.seed)))
            self.learner = make_learner(run, self.env, device)
            stack.pop_all()

    def go_on(self, checkpoint: Path) -> None:
        """Load the agent; the mazes go on within their episodes where its file holds them."""
        self.learner = load_learner(self.run, checkpoint, self.env, self.device)

    def learn(self, checkpoints: CheckpointFolder, report: Callable[[Report], None]) -> None:
        """Train with everything that watches."""
        run, total = self.run, self.run.total

        def share(reward: float) -> float:
            return oracle_share(reward, self.config)

        every = max(1, total // run.training.checkpoints)
        infos = ("rewards_found", "wall_hits", "first_reward_step", "mean_steps_later")
        self._learn(
            LogHyperparameters(run, _METRICS),
            EpisodeInfo("maze", infos, {"oracle_share": share}),
            *self.pictures(every),
            MazeCheckpoints(every, total, checkpoints, run),
            MazeProgress(run.label, total, share, report),
        )

    def pictures(self, every: int) -> Iterable[BaseCallback]:
        """Return callbacks that show the network in TensorBoard every ``every`` steps; none by default."""
        return ()

    def assist(self) -> None:
        """Train with nothing that watches."""
        self._learn()

    def _learn(self, *callbacks: BaseCallback) -> None:
        run, total = self.run, self.run.total
        keep_freed_memory()
        self.learner.learn(
            total - self.learner.num_timesteps,
            callback=list(callbacks),
            reset_num_timesteps=False,
            log_interval=max(1, total // (self.learner.n_steps * run.training.n_envs) // MOST_ROWS),
        )

    def evaluate(self) -> Evaluation:
        """Play the last episodes."""
        run = self.run
        return evaluate(self.learner, run.maze, episodes=run.eval_episodes, seed=run.seed + EVALUATION_SEEDS)

    def show(self) -> None:
        """Put an episode into TensorBoard."""
        log_animation(self.learner, self.run)

    def divergence(self, error: Exception) -> str | None:
        """The agent says so itself, unless torch, before it, says that it cannot draw an action."""
        undrawn = isinstance(error, (RuntimeError, ValueError)) and (
            "invalid values" in str(error) or not all(one.isfinite().all() for one in self.tensors())
        )
        if not undrawn and not isinstance(error, NonFiniteError):
            return None
        return (
            f"the training diverged after {self.learner.num_timesteps:,} steps ({self.what} are not finite): "
            f"try {self.remedy}"
        )

    def tensors(self) -> Iterable[Tensor]:
        """Return the tensors that are checked for NaN and infinity after an error."""
        parameters: Iterable[Tensor] = self.learner.policy.parameters()
        return parameters

    def close(self) -> None:
        """Close the mazes."""
        self.env.close()


class A2CTrainer(MazeTrainer):
    """Trains RecurrentA2C, which has matrices to show and perhaps a trace."""

    learner: RecurrentA2C
    what = "weights or trace"
    remedy = "a lower --learning-rate, --eta or --max-grad-norm, or --bound-eta"

    def pictures(self, every: int) -> Iterable[BaseCallback]:
        """The matrices of a plastic core."""
        return (MatrixPictures(every),)

    def tensors(self) -> Iterable[Tensor]:
        """Weights and state."""
        return (*super().tensors(), *(self.learner.core_state or ()))


def make_trainer(run: Run, device: str) -> MazeTrainer:
    """Build the mazes and the agent; see :class:`plasticrl.scripts.tasks.registry.Task`."""
    return A2CTrainer(run, device) if run.learner == "a2c" else MazeTrainer(run, device)

"""A training on the maze: the agent, and what watches it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from plasticrl.agents.episode_info import EpisodeInfo
from plasticrl.agents.finite_checks import NonFiniteError
from plasticrl.agents.freed_memory import keep_freed_memory
from plasticrl.agents.matrix_pictures import MatrixPictures
from plasticrl.envs import oracle_share
from plasticrl.scripts.checkpoint_folder import CheckpointFolder
from plasticrl.scripts.evaluated import EVALUATION_SEEDS
from plasticrl.scripts.evaluation import Evaluation, evaluate
from plasticrl.scripts.maze_callbacks import MazeCheckpoints, MazeProgress, log_animation
from plasticrl.scripts.maze_setup import check_run, make_mazes, maze_config
from plasticrl.scripts.progress_display import Report
from plasticrl.scripts.trainer import MOST_ROWS, Trainer
from plasticrl.scripts.training_callbacks import LogHyperparameters

if TYPE_CHECKING:
    from stable_baselines3.common.callbacks import BaseCallback
    from torch import Tensor

    from plasticrl.agents import RecurrentA2C
    from plasticrl.scripts.run_on_maze import RunOnMaze

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

    def __init__(self, run: RunOnMaze, device: str) -> None:
        check_run(run)
        self.run, self.device = run, device
        self.config = maze_config(run.maze)
        with ExitStack() as stack:
            self.env = stack.enter_context(closing(make_mazes(run.maze, run.training.n_envs, run.seed)))
            self.learner = run.untrained(self.env, device)
            stack.pop_all()

    def go_on(self, checkpoint: Path) -> None:
        """Load the agent; the mazes go on within their episodes where its file holds them."""
        self.learner = self.run.load(checkpoint, self.env, self.device)

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
        """What shows the network in TensorBoard every so many steps: nothing, unless a subclass does."""
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
        """What is not finite where a training diverged."""
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

"""A run of sb3-contrib's RecurrentPPO on the maze, as used by the commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from plasticrl.scripts.processes import process_count
from plasticrl.scripts.run_on_maze import RunOnMaze
from plasticrl.scripts.set_up import check_at_least, check_learning_rates
from plasticrl.scripts.typed_settings import settings_from, value_of
from plasticrl.scripts.user_error import UserError, blame_user

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from plasticrl.agents.recurrent_ppo import PlainRecurrentPPO
    from plasticrl.scripts.maze_training import MazeTrainer

RECURRENT_PPO = "recurrent_ppo"


@dataclass(frozen=True)
class PPOSettings:
    """Network and learning algorithm of RecurrentPPO; settings not listed here are sb3-contrib's defaults."""

    hidden_size: int
    """Number of LSTM cells."""
    learning_rate: float
    """Initial learning rate of Adam."""
    final_learning_rate: float
    """Final learning rate, approached linearly."""
    n_steps: int
    """Steps of each environment per rollout."""
    batch_size: int
    """Minibatch size, in steps."""
    n_epochs: int
    """Number of passes over the rollout per update."""
    gamma: float
    """Discount factor."""
    gae_lambda: float
    """Lambda of generalised advantage estimation: trade-off between bias and variance."""
    ent_coef: float
    """Weight of the entropy bonus."""
    vf_coef: float
    """Weight of the value loss."""
    max_grad_norm: float
    """Clip the gradient to this norm."""


@dataclass(frozen=True)
class PPORun(RunOnMaze):
    """A seed, and all settings of the maze, the agent and the training."""

    ppo: PPOSettings

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PPORun:
        """Restore a run from :meth:`as_dict`; see :class:`Run`."""
        return cls(
            core=value_of(Literal["recurrent_ppo"], "core", data["core"]),
            **cls._shared_arguments(data),
            ppo=settings_from(PPOSettings, data["ppo"]),
        )

    def trainer(self, device: str) -> MazeTrainer:
        """Build the mazes and the agent; see :class:`Run`."""
        from plasticrl.scripts.maze_training import MazeTrainer

        return MazeTrainer(self, device)

    def check_agent(self) -> None:
        """Check all settings, since sb3-contrib checks few of them; see :class:`RunOnMaze`."""
        from plasticrl.agents.argument_checks import check_number

        ppo = self.ppo
        check_learning_rates(ppo.learning_rate, ppo.final_learning_rate, ppo.max_grad_norm)
        check_at_least(1, hidden_size=ppo.hidden_size, n_steps=ppo.n_steps, n_epochs=ppo.n_epochs)
        check_at_least(2, batch_size=ppo.batch_size)
        with blame_user(ValueError):
            check_number("gamma", ppo.gamma, most=1)
            check_number("gae_lambda", ppo.gae_lambda, most=1)
            check_number("ent_coef", ppo.ent_coef)
            check_number("vf_coef", ppo.vf_coef)
        steps = ppo.n_steps * self.training.n_envs
        if steps % ppo.batch_size == 1:  # the advantages of a single step have no standard deviation
            raise UserError(
                f"batch_size {ppo.batch_size} with {steps} steps leaves a batch of one: change it"
            )
        if process_count() > 1:
            raise UserError(f"{RECURRENT_PPO} trains in a single process: start it without torchrun")

    def untrained(self, env: VecEnv, device: str) -> PlainRecurrentPPO:
        """Build an untrained agent; see :class:`RunOnMaze`."""
        from plasticrl.agents.recurrent_ppo import PlainRecurrentPPO

        with blame_user(ValueError, TypeError, AssertionError):
            return PlainRecurrentPPO(env=env, device=device, **self.arguments())

    def load(self, checkpoint: Path, env: VecEnv, device: str) -> PlainRecurrentPPO:
        """Load an agent from a checkpoint; see :class:`RunOnMaze`."""
        from plasticrl.agents.recurrent_ppo import PlainRecurrentPPO
        from plasticrl.scripts.checkpoint_files import blame_checkpoint

        with blame_checkpoint(checkpoint):
            return PlainRecurrentPPO.load(checkpoint, env, device, **self.arguments())

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the learner's constructor, except the environment and the device."""
        from plasticrl.scripts.maze_setup import learning_rate

        same = ("n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "ent_coef", "vf_coef")
        return {
            "policy": "MlpLstmPolicy",
            "learning_rate": learning_rate(self.ppo),
            "max_grad_norm": self.ppo.max_grad_norm,
            "policy_kwargs": {"lstm_hidden_size": self.ppo.hidden_size},
            "seed": self.seed,
            **{name: getattr(self.ppo, name) for name in same},
        }

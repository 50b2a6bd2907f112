"""A training of sb3-contrib's RecurrentPPO on the maze, as the commands see it."""

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
    """The network and the learning rule of RecurrentPPO; what is not here is sb3-contrib's default."""

    hidden_size: int
    """Cells of the LSTM."""
    learning_rate: float
    """Learning rate of Adam at the start."""
    final_learning_rate: float
    """Learning rate at the end, reached in a straight line."""
    n_steps: int
    """Steps of each environment between two updates."""
    batch_size: int
    """Steps of one gradient."""
    n_epochs: int
    """How often each step is used in an update."""
    gamma: float
    """Discount factor."""
    gae_lambda: float
    """Bias-variance trade-off of the advantages."""
    ent_coef: float
    """Weight of the entropy bonus."""
    vf_coef: float
    """Weight of the value loss."""
    max_grad_norm: float
    """The gradient is clipped to this norm."""


@dataclass(frozen=True)
class PPORun(RunOnMaze):
    """A seed, and all settings of the maze, the agent and the training."""

    ppo: PPOSettings

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PPORun:
        """The inverse of :meth:`as_dict`; see :class:`Run`."""
        return cls(
            core=value_of(Literal["recurrent_ppo"], "core", data["core"]),
            **cls._shared_arguments(data),
            ppo=settings_from(PPOSettings, data["ppo"]),
        )

    def trainer(self, device: str) -> MazeTrainer:
        """The mazes and the agent, ready to train; see :class:`Run`."""
        from plasticrl.scripts.maze_training import MazeTrainer

        return MazeTrainer(self, device)

    def check_agent(self) -> None:
        """Everything, since sb3-contrib checks little; see :class:`RunOnMaze`."""
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
        if steps % ppo.batch_size == 1:  # its advantages have no standard deviation
            raise UserError(f"batch_size {ppo.batch_size} leaves a batch of one of {steps} steps: change it")
        if process_count() > 1:
            raise UserError(f"{RECURRENT_PPO} trains in one process: start it without torchrun")

    def untrained(self, env: VecEnv, device: str) -> PlainRecurrentPPO:
        """A new agent; see :class:`RunOnMaze`."""
        from plasticrl.agents.recurrent_ppo import PlainRecurrentPPO

        with blame_user(ValueError, TypeError, AssertionError):
            return PlainRecurrentPPO(env=env, device=device, **self.arguments())

    def load(self, checkpoint: Path, env: VecEnv, device: str) -> PlainRecurrentPPO:
        """A saved agent; see :class:`RunOnMaze`."""
        from plasticrl.agents.recurrent_ppo import PlainRecurrentPPO
        from plasticrl.scripts.checkpoint_files import blame_checkpoint

        with blame_checkpoint(checkpoint):
            return PlainRecurrentPPO.load(checkpoint, env, device, **self.arguments())

    def arguments(self) -> dict[str, Any]:
        """Of the learner's constructor, without the environment and the device."""
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

"""A run of RecurrentA2C on the maze, as used by the commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticrl.scripts.run_on_maze import RunOnMaze
from plasticrl.scripts.settings import AgentSettings, CoreChoice
from plasticrl.scripts.typed_settings import settings_from, value_of

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from plasticrl.agents import RecurrentA2C
    from plasticrl.scripts.maze_training import A2CTrainer


@dataclass(frozen=True)
class MazeRun(RunOnMaze):
    """A core, a seed, and all settings of the maze, the agent and the training."""

    agent: AgentSettings

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> MazeRun:
        """Restore a run from :meth:`as_dict`; see :class:`Run`."""
        return cls(
            core=value_of(CoreChoice, "core", data["core"]),
            **cls._shared_arguments(data),
            agent=settings_from(AgentSettings, data["agent"]),
        )

    def trainer(self, device: str) -> A2CTrainer:
        """Build the mazes and the agent; see :class:`Run`."""
        from plasticrl.scripts.maze_training import A2CTrainer

        return A2CTrainer(self, device)

    def check_agent(self) -> None:
        """Check learning rates and clipping; see :class:`RunOnMaze`."""
        from plasticrl.scripts.maze_setup import check_agent

        check_agent(self.agent)

    def untrained(self, env: VecEnv, device: str) -> RecurrentA2C:
        """Build an untrained agent; see :class:`RunOnMaze`."""
        from plasticrl.scripts.maze_setup import make_agent

        return make_agent(self, env, device)

    def load(self, checkpoint: Path, env: VecEnv, device: str) -> RecurrentA2C:
        """A saved agent; see :class:`RunOnMaze`."""
        from plasticrl.scripts.checkpoint_files import check_network, load_agent
        from plasticrl.scripts.maze_setup import policy_kwargs

        agent = load_agent(checkpoint, env, device)
        check_network(checkpoint, policy_kwargs(self), agent.policy_kwargs)
        return agent

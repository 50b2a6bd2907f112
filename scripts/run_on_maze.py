"""A training on the maze, whatever learns: what it is to the commands."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticrl.scripts.run import EvaluationChoices, Run, also
from plasticrl.scripts.settings import MazeSettings, TrainingSettings
from plasticrl.scripts.shown_metric import ShownMetric
from plasticrl.scripts.typed_settings import settings_from, value_of
from plasticrl.scripts.user_error import UserError

if TYPE_CHECKING:
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

    from plasticrl.scripts.evaluated import Evaluated
    from plasticrl.scripts.maze_comparison import MazeComparison


@dataclass(frozen=True)
class RunOnMaze(Run):
    """A seed, the maze, and how long something is trained there."""

    maze: MazeSettings
    training: TrainingSettings

    @staticmethod
    def _shared_arguments(data: dict[str, Any]) -> dict[str, Any]:
        """The arguments that all runs on the maze have, out of what :meth:`as_dict` gave.

        Returns:
            ``seed``, ``maze`` and ``training``.

        Raises:
            KeyError: one is missing.
            TypeError: a value is of another type.
        """
        return {
            "seed": value_of(int, "seed", data["seed"]),
            "maze": settings_from(MazeSettings, data["maze"]),
            "training": settings_from(TrainingSettings, data["training"]),
        }

    @property
    def task(self) -> str:
        """Name of the task."""
        return "maze"

    @property
    def total(self) -> int:
        """Environment steps of the training."""
        return self.training.total_timesteps

    @property
    def eval_episodes(self) -> int:
        """Episodes of the evaluation at the end."""
        return self.training.eval_episodes

    @property
    def counter(self) -> str:
        """Environment steps."""
        return "time/total_timesteps"

    @property
    def main_metric(self) -> ShownMetric:
        """Points per episode."""
        return ShownMetric("mean_reward", "points per episode", "{:.1f}".format, 1)

    def score(self, evaluation: dict[str, Any]) -> float:
        """Points per episode; see :class:`Run`."""
        return float(evaluation["mean_reward"])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"task": self.task, **asdict(self)}

    @abstractmethod
    def untrained(self, env: VecEnv, device: str) -> OnPolicyAlgorithm:
        """The agent as it begins, in the shape of Stable-Baselines3, with ``n_steps``.

        Raises:
            UserError: a setting is not allowed.
        """

    @abstractmethod
    def load(self, checkpoint: Path, env: VecEnv, device: str) -> OnPolicyAlgorithm:
        """The agent as it was saved, to act or to go on in ``env``.

        Raises:
            UserError: the file is not a checkpoint of this run's kind, or is one for other spaces.
        """

    def load_to_act(self, checkpoint: Path, device: str) -> OnPolicyAlgorithm:
        """The agent as it was saved, with its own environment closed: it can act, but not go on.

        Raises:
            UserError: as :meth:`load`.
        """
        from plasticrl.scripts.maze_setup import make_mazes

        with closing(make_mazes(self.maze, 1, self.seed)) as env:
            return self.load(checkpoint, env, device)

    @abstractmethod
    def check_agent(self) -> None:
        """Check of the agent's settings what the agent itself does not.

        Raises:
            UserError: a setting is out of its range.
        """

    def evaluate(self, checkpoint: Path, episodes: int, seed: int, choices: EvaluationChoices) -> Evaluated:
        """Play episodes, perhaps in another maze; see :class:`Run`."""
        from plasticrl.scripts.evaluated import Evaluated
        from plasticrl.scripts.evaluation import evaluate
        from plasticrl.scripts.lesion import LesionedAgent
        from plasticrl.scripts.maze_setup import make_mazes, maze_config

        elsewhere = ("env", "size", "episode_length", "relocate_every", "layout_seed")
        given = self.options_for(choices, "deterministic", "lesion", "lesion_step", *elsewhere)
        deterministic = given.pop("deterministic", False)
        lesion, lesion_step = given.pop("lesion", None), given.pop("lesion_step", None)
        maze = replace(self.maze, **given)
        config = maze_config(maze)
        if lesion_step is not None and lesion is None:
            raise UserError("--lesion-step needs --lesion")
        if not 0 <= (lesion_step or 0) < config.episode_length:
            raise UserError(
                f"lesion_step must be from 0 to {config.episode_length - 1}, the episode's last step, not "
                f"{lesion_step}"
            )
        agent = self.load_to_act(checkpoint, choices.device)
        with closing(make_mazes(maze, 1, seed)) as env:
            _check_sight(agent, env)
        player = agent if lesion is None else LesionedAgent(agent, lesion, lesion_step or 0)
        scores = evaluate(player, maze, episodes=episodes, seed=seed, deterministic=deterministic)
        about = {"deterministic": deterministic, "lesion": lesion, "lesion_step": lesion_step, **given}
        trained = f"{agent.num_timesteps:,} steps" + also(given)
        if lesion is not None:
            trained += f", trace {lesion} from step {lesion_step or 0}"
        return Evaluated(scores, trained, about)

    def compare(self, runs: Sequence[RunOnMaze], root: Path) -> MazeComparison:
        """Sum up finished runs on this maze; see :class:`Run`."""
        from plasticrl.scripts.maze_comparison import compare_mazes

        return compare_mazes(runs, root)


def _check_sight(agent: OnPolicyAlgorithm, env: VecEnv) -> None:
    """Another maze may pay otherwise, but the agent must see as many numbers as it was trained with."""
    seen, shown = agent.observation_space.shape, env.observation_space.shape
    if seen != shown:
        raise UserError(
            f"the agent was trained to see {seen} numbers, but that maze shows {shown}: give one that shows "
            "as many"
        )

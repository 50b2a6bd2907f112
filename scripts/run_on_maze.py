"""A run on the maze with any learner, as used by the commands."""

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
    """A core, a seed, the maze, and the length of the training."""

    maze: MazeSettings
    training: TrainingSettings

    @staticmethod
    def _shared_arguments(data: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments shared by all runs on the maze from the result of :meth:`as_dict`.

        Returns:
            ``seed``, ``maze`` and ``training``.

        Raises:
            KeyError: one of them is missing.
            TypeError: a value has the wrong type.
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
        """Number of environment steps of the training."""
        return self.training.total_timesteps

    @property
    def eval_episodes(self) -> int:
        """Number of episodes of the final evaluation."""
        return self.training.eval_episodes

    @property
    def counter(self) -> str:
        """Column of ``progress.csv`` that counts the environment steps."""
        return "time/total_timesteps"

    @property
    def main_metric(self) -> ShownMetric:
        """The metric points per episode."""
        return ShownMetric("mean_reward", "points per episode", "{:.1f}".format, 1)

    def score(self, evaluation: dict[str, Any]) -> float:
        """Return the points per episode; see :class:`Run`."""
        return float(evaluation["mean_reward"])

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {"task": self.task, **asdict(self)}

    @abstractmethod
    def untrained(self, env: VecEnv, device: str) -> OnPolicyAlgorithm:
        """Build an untrained agent with the interface of Stable-Baselines3 and ``n_steps``.

        Raises:
            UserError: a setting is invalid.
        """

    @abstractmethod
    def load(self, checkpoint: Path, env: VecEnv, device: str) -> OnPolicyAlgorithm:
        """Load an agent from a checkpoint, for playing or further training in ``env``.

        Raises:
            UserError: the file is not a checkpoint of this kind of run, or has other spaces.
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
        """Check the settings that the agent itself does not check.

        Raises:
            UserError: a setting is out of its range.
        """

    def evaluate(self, checkpoint: Path, episodes: int, seed: int, choices: EvaluationChoices) -> Evaluated:
        """Play episodes, possibly in another maze; see :class:`Run`."""
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
        """Compare finished runs on this maze; see :class:`Run`."""
        from plasticrl.scripts.maze_comparison import compare_mazes

        return compare_mazes(runs, root)


def _check_sight(agent: OnPolicyAlgorithm, env: VecEnv) -> None:
    """Check that the maze has observations of the size that the agent was trained with."""
    seen, shown = agent.observation_space.shape, env.observation_space.shape
    if seen != shown:
        raise UserError(
            f"the agent was trained on observations of shape {seen}, but that maze has {shown}: "
            "choose a maze with the same shape"
        )

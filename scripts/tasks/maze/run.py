"""Trainings on the maze: RecurrentA2C and sb3-contrib's RecurrentPPO."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from plasticrl.scripts.errors import UserError, blame_user
from plasticrl.scripts.runs.processes import process_count
from plasticrl.scripts.runs.run import EvaluationChoices, Run, ShownMetric, also
from plasticrl.scripts.runs.setup import check_at_least, check_learning_rates
from plasticrl.scripts.settings.maze import AgentSettings, CoreChoice, MazeSettings, TrainingSettings
from plasticrl.scripts.settings.reading import settings_from, value_of

if TYPE_CHECKING:
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

    from plasticrl.agents import RecurrentA2C
    from plasticrl.agents.ppo.contrib import PlainRecurrentPPO
    from plasticrl.scripts.reports.comparison import MazeComparison
    from plasticrl.scripts.tasks.maze.training import A2CTrainer, MazeTrainer
    from plasticrl.scripts.tasks.task import Evaluated


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
        from plasticrl.scripts.tasks.maze.setup import make_mazes

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
        from plasticrl.scripts.tasks.maze.evaluation import LesionedAgent, evaluate
        from plasticrl.scripts.tasks.maze.setup import make_mazes, maze_config
        from plasticrl.scripts.tasks.task import Evaluated

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
        from plasticrl.scripts.reports.comparison import compare_mazes

        return compare_mazes(runs, root)


def _check_sight(agent: OnPolicyAlgorithm, env: VecEnv) -> None:
    """Check that the maze has observations of the size that the agent was trained with."""
    seen, shown = agent.observation_space.shape, env.observation_space.shape
    if seen != shown:
        raise UserError(
            f"the agent was trained on observations of shape {seen}, but that maze has {shown}: "
            "choose a maze with the same shape"
        )


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
        from plasticrl.scripts.tasks.maze.training import A2CTrainer

        return A2CTrainer(self, device)

    def check_agent(self) -> None:
        """Check learning rates and clipping; see :class:`RunOnMaze`."""
        from plasticrl.scripts.tasks.maze.setup import check_agent

        check_agent(self.agent)

    def untrained(self, env: VecEnv, device: str) -> RecurrentA2C:
        """Build an untrained agent; see :class:`RunOnMaze`."""
        from plasticrl.scripts.tasks.maze.setup import make_agent

        return make_agent(self, env, device)

    def load(self, checkpoint: Path, env: VecEnv, device: str) -> RecurrentA2C:
        """A saved agent; see :class:`RunOnMaze`."""
        from plasticrl.scripts.runs.checkpoints import check_network, load_agent
        from plasticrl.scripts.tasks.maze.setup import policy_kwargs

        agent = load_agent(checkpoint, env, device)
        check_network(checkpoint, policy_kwargs(self), agent.policy_kwargs)
        return agent


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
        from plasticrl.scripts.tasks.maze.training import MazeTrainer

        return MazeTrainer(self, device)

    def check_agent(self) -> None:
        """Check all settings, since sb3-contrib checks few of them; see :class:`RunOnMaze`."""
        from plasticrl.arguments import check_number

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
        from plasticrl.agents.ppo.contrib import PlainRecurrentPPO

        with blame_user(ValueError, TypeError, AssertionError):
            return PlainRecurrentPPO(env=env, device=device, **self.arguments())

    def load(self, checkpoint: Path, env: VecEnv, device: str) -> PlainRecurrentPPO:
        """Load an agent from a checkpoint; see :class:`RunOnMaze`."""
        from plasticrl.agents.ppo.contrib import PlainRecurrentPPO
        from plasticrl.scripts.runs.checkpoints import blame_checkpoint

        with blame_checkpoint(checkpoint):
            return PlainRecurrentPPO.load(checkpoint, env, device, **self.arguments())

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the learner's constructor, except the environment and the device."""
        from plasticrl.scripts.tasks.maze.setup import learning_rate

        same = ("n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "ent_coef", "vf_coef")
        return {
            "policy": "MlpLstmPolicy",
            "learning_rate": learning_rate(self.ppo),
            "max_grad_norm": self.ppo.max_grad_norm,
            "policy_kwargs": {"lstm_hidden_size": self.ppo.hidden_size},
            "seed": self.seed,
            **{name: getattr(self.ppo, name) for name in same},
        }

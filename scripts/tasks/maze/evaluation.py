"""Evaluation of an agent on the maze, intact or with a lesioned trace."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.evaluation import evaluate_policy
from torch import Tensor

from plasticrl.agents import RecurrentA2C
from plasticrl.envs import maze_bracket, oracle_share
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import percent
from plasticrl.scripts.settings.maze import LesionChoice, MazeSettings
from plasticrl.scripts.tasks.maze.setup import load_to_act, make_mazes, maze_config
from plasticrl.scripts.tasks.task import Evaluated, EvaluationChoices, Scores, also, options_for
from plasticrl.state import PlasticState

if TYPE_CHECKING:
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
    from stable_baselines3.common.type_aliases import PolicyPredictor
    from stable_baselines3.common.vec_env import VecEnv


MOST_ENVS = 50
_PARTS = 5


@dataclass(frozen=True)
class Evaluation(Scores):
    """Means over episodes; None where no episode had such a value.

    Attributes:
        episodes: how many were played.
        mean_reward: points per episode.
        std_reward: standard deviation over the episodes.
        oracle_share: 0 is acting at random, 1 is knowing the reward's place and walking shortest paths.
        rewards_found: rewards per episode.
        wall_hits: steps into a wall per episode.
        first_reward_step: step of the first find, over the episodes that have one.
        mean_steps_later: steps from one find to the next, over the episodes that have two.
        points_by_fifth: points in each fifth of the episode: an agent that learns within it earns more later.
        random_reward: what acting at random is expected to score.
        oracle_reward: what the oracle is expected to score.
    """

    episodes: int
    mean_reward: float
    std_reward: float
    oracle_share: float
    rewards_found: float | None
    wall_hits: float | None
    first_reward_step: float | None
    mean_steps_later: float | None
    points_by_fifth: tuple[float, ...]
    random_reward: float
    oracle_reward: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def summary(self) -> str:
        """Points, oracle share, and acting at random."""
        return (
            f"{self.mean_reward:.1f} points per episode, {percent(self.oracle_share)} of the oracle's "
            f"{self.oracle_reward:.0f} (random: {self.random_reward:.1f})"
        )

    def scalars(self) -> dict[str, float]:
        """Points and oracle share."""
        return {"mean_reward": self.mean_reward, "oracle_share": self.oracle_share}

    def rows(self) -> list[tuple[str, str]]:
        """Return all scores with their names, for a table."""

        def number(value: float | None) -> str:
            return "-" if value is None else f"{value:.1f}"

        return [
            ("points per episode", f"{self.mean_reward:.1f} ± {self.std_reward:.1f}"),
            ("acting at random", number(self.random_reward)),
            ("oracle", number(self.oracle_reward)),
            ("share of the oracle", f"{self.oracle_share:.1%}"),
            ("rewards found", number(self.rewards_found)),
            ("steps to the first", number(self.first_reward_step)),
            ("steps to a later one", number(self.mean_steps_later)),
            ("wall hits", number(self.wall_hits)),
            ("points in each fifth of the episode", "  ".join(map(number, self.points_by_fifth))),
        ]


class OwnRandomNumbers:
    """A seeded stream of torch's random numbers, drawn from inside ``with``; outside, all goes on without it.

    Args:
        seed: of the stream. It goes on where the block before ended.
    """

    def __init__(self, seed: int) -> None:
        before = _torch_states()
        torch.manual_seed(seed)
        self._own = _torch_states()
        _set_torch_states(before)

    def __enter__(self) -> None:
        self._others = _torch_states()
        _set_torch_states(self._own)

    def __exit__(self, *_: object) -> None:
        self._own = _torch_states()
        _set_torch_states(self._others)


def _torch_states() -> list[Tensor]:
    """Of the CPU's generator, then of every GPU's."""
    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def _set_torch_states(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    torch.cuda.set_rng_state_all(states[1:])


def mean_of_those_that_happened(values: list[float]) -> float | None:
    """Mean of the values that are not negative: the maze tells "never" as -1. None where none is."""
    happened = [value for value in values if value >= 0]
    return float(np.mean(happened)) if happened else None


def evaluate(
    agent: PolicyPredictor,
    maze: MazeSettings,
    *,
    episodes: int,
    seed: int,
    deterministic: bool = False,
) -> Evaluation:
    """Play episodes and sum them up; the same seed gives the same numbers.

    Args:
        agent: acts; its training is not disturbed.
        maze: where.
        episodes: how many.
        seed: of the mazes and of the actions' draws.
        deterministic: the most probable action instead of a draw.
    """
    config = maze_config(maze)
    finals: list[dict[str, Any]] = []
    points = np.zeros(config.episode_length)

    def note(step_locals: dict[str, Any], _: dict[str, Any]) -> None:
        points[step_locals["current_lengths"][step_locals["i"]] - 1] += step_locals["reward"]
        if step_locals["done"]:
            finals.append(step_locals["info"])

    with closing(make_mazes(maze, min(episodes, MOST_ENVS), seed)) as env, OwnRandomNumbers(seed):
        rewards, _ = evaluate_policy(
            agent, env, episodes, deterministic, callback=note, return_episode_rewards=True
        )
    bracket, mean = maze_bracket(config), float(np.mean(rewards))

    def mean_info(name: str) -> float | None:
        return mean_of_those_that_happened([info[name] for info in finals])

    return Evaluation(
        episodes=len(finals),
        mean_reward=mean,
        std_reward=float(np.std(rewards)),
        oracle_share=oracle_share(mean, config),
        rewards_found=mean_info("rewards_found"),
        wall_hits=mean_info("wall_hits"),
        first_reward_step=mean_info("first_reward_step"),
        mean_steps_later=mean_info("mean_steps_later"),
        points_by_fifth=tuple(float(part.sum()) / len(finals) for part in np.array_split(points, _PARTS)),
        random_reward=bracket.random,
        oracle_reward=bracket.oracle,
    )


class LesionedAgent:
    """Acts as an agent does, but from one step of each episode on its trace is not its own.

    Args:
        agent: has a trace.
        lesion: "frozen": the trace stays as it is then. "cleared": it is zero then, and goes on from there.
            "silenced": it is zero from then on, so that alpha is without effect.
        step: of the episode, from 0.

    Raises:
        UserError: the agent has no trace.
    """

    def __init__(self, agent: Any, lesion: LesionChoice, step: int) -> None:
        state = agent.policy.initial_state(1) if isinstance(agent, RecurrentA2C) else None
        if not isinstance(state, PlasticState) or not state.trace.numel():
            raise UserError("--lesion: only a plastic agent has a trace, leave it out")
        self.agent: RecurrentA2C = agent
        self.lesion, self.step = lesion, step
        self._done: NDArray[np.int64] | None = None  # steps of each episode so far
        self._frozen: NDArray[np.float32] | None = None

    def predict(
        self,
        observation: Any,
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """As :meth:`plasticrl.agents.RecurrentA2C.predict`; all episodes from their start to their end."""
        assert episode_start is not None
        done = np.zeros(len(episode_start), np.int64) if self._done is None else self._done + 1
        self._done = np.where(episode_start, 0, done)
        if state is not None:
            hidden, trace = state  # of a PlasticState, as arrays
            state = hidden, self._tampered(np.array(trace), self._done)
        return self.agent.predict(observation, state, episode_start, deterministic)

    def _tampered(self, trace: NDArray[Any], done: NDArray[np.int64]) -> NDArray[Any]:
        trace[done == 0] = 0  # the agent clears it itself, but only once it is given
        if self._frozen is None:
            self._frozen = np.zeros_like(trace)
        now, later = done == self.step, done > self.step
        if self.lesion == "frozen":
            self._frozen[now] = trace[now]
            trace[later] = self._frozen[later]
        else:
            trace[now if self.lesion == "cleared" else now | later] = 0
        return trace


_ELSEWHERE = ("env", "size", "episode_length", "relocate_every", "layout_seed")  # another maze


def evaluate_checkpoint(
    run: Run, checkpoint: Path, episodes: int, seed: int, choices: EvaluationChoices
) -> Evaluated:
    """Evaluate a checkpoint, perhaps in another maze; see :class:`plasticrl.scripts.tasks.registry.Task`."""
    given = options_for(run, choices, "deterministic", "lesion", "lesion_step", *_ELSEWHERE)
    deterministic = given.pop("deterministic", False)
    lesion, lesion_step = given.pop("lesion", None), given.pop("lesion_step", None)
    maze = replace(run.maze, **given)
    config = maze_config(maze)
    if lesion_step is not None and lesion is None:
        raise UserError("--lesion-step needs --lesion")
    if not 0 <= (lesion_step or 0) < config.episode_length:
        raise UserError(
            f"lesion_step must be from 0 to {config.episode_length - 1}, the episode's last step, not "
            f"{lesion_step}"
        )
    agent = load_to_act(run, checkpoint, choices.device)
    with closing(make_mazes(maze, 1, seed)) as env:
        _check_sight(agent, env)
    player = agent if lesion is None else LesionedAgent(agent, lesion, lesion_step or 0)
    scores = evaluate(player, maze, episodes=episodes, seed=seed, deterministic=deterministic)
    about = {"deterministic": deterministic, "lesion": lesion, "lesion_step": lesion_step, **given}
    trained = f"{agent.num_timesteps:,} steps" + also(given)
    if lesion is not None:
        trained += f", trace {lesion} from step {lesion_step or 0}"
    return Evaluated(scores, trained, about)


def _check_sight(agent: OnPolicyAlgorithm, env: VecEnv) -> None:
    """Check that the maze has observations of the size that the agent was trained with."""
    seen, shown = agent.observation_space.shape, env.observation_space.shape
    if seen != shown:
        raise UserError(
            f"the agent was trained on observations of shape {seen}, but that maze has {shown}: "
            "choose a maze with the same shape"
        )

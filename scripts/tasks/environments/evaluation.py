"""Evaluation of an agent in the maze, intact or with a lesioned trace, and in other environments."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import PolicyPredictor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from plasticrl.agents import evaluate_policy
from plasticrl.agents.common import tags
from plasticrl.agents.recurrent.on_policy_algorithm import RecurrentOnPolicyAlgorithm
from plasticrl.envs import belief_points, belief_share, maze_bracket, oracle_share
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import percent
from plasticrl.scripts.settings.environments import EnvironmentEvaluation
from plasticrl.scripts.settings.maze import LesionChoice, MazeEvaluation, MazeSettings
from plasticrl.scripts.tasks.environments.setup import load_to_act, make_mazes, make_test_envs, maze_config
from plasticrl.scripts.tasks.task import Evaluated, Scores, changed_settings, in_words
from plasticrl.state import RecurrentState

MOST_ENVS = 50
_PARTS = 5


@dataclass(frozen=True)
class EpisodePoints(Scores):
    """Points and lengths of episodes in any environment.

    Attributes:
        episodes: number of episodes.
        mean_reward: points per episode.
        std_reward: standard deviation over the episodes.
        median_length: median of the episodes' lengths, in steps.
    """

    episodes: int
    mean_reward: float
    std_reward: float
    median_length: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)

    def summary(self) -> str:
        """Return points and length, in half a line."""
        return f"{self.mean_reward:.2f} ± {self.std_reward:.2f} points per episode"

    def scalars(self) -> dict[str, float]:
        """Return points and length for TensorBoard."""
        return {"mean_reward": self.mean_reward, "median_length": self.median_length}

    def rows(self) -> list[tuple[str, str]]:
        """Return all scores with their names, for a table."""
        return [
            ("points per episode", f"{self.mean_reward:.2f} ± {self.std_reward:.2f}"),
            ("steps per episode, median", f"{self.median_length:g}"),
        ]


@dataclass(frozen=True)
class Evaluation(Scores):
    """Means over episodes; None if no episode has such a value.

    Attributes:
        episodes: number of episodes.
        mean_reward: points per episode.
        std_reward: standard deviation over the episodes.
        belief_share: 0 for random actions, 1 for the belief agent; None if that is not better than random, or
            layouts are random.
        oracle_share: 0 for random actions, 1 for shortest paths to the reward, whose place is known.
        rewards_found: rewards per episode.
        wall_hits: steps into a wall per episode.
        first_reward_step: step of the first find, over the episodes that have one.
        mean_steps_later: steps from one find to the next, over the episodes that have two.
        points_by_fifth: points in each fifth of the episode; they grow if the agent learns within it.
        random_reward: expected points of random actions.
        belief_reward: mean points of the belief agent; None as above.
        oracle_reward: expected points of the oracle.
    """

    episodes: int
    mean_reward: float
    std_reward: float
    belief_share: float | None
    oracle_share: float
    rewards_found: float | None
    wall_hits: float | None
    first_reward_step: float | None
    mean_steps_later: float | None
    points_by_fifth: tuple[float, ...]
    random_reward: float
    belief_reward: float | None
    oracle_reward: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)

    def summary(self) -> str:
        """Return points and shares, in a line."""
        belief = ""
        if self.belief_reward is not None and self.belief_share is not None:
            belief = f"{percent(self.belief_share)} of the belief agent's {self.belief_reward:.0f}, "
        return (
            f"{self.mean_reward:.1f} points per episode, {belief}{percent(self.oracle_share)} of "
            f"the oracle's {self.oracle_reward:.0f} (random: {self.random_reward:.1f})"
        )

    def scalars(self) -> dict[str, float]:
        """Return points and shares for TensorBoard."""
        belief = {} if self.belief_share is None else {"belief_share": self.belief_share}
        return {"mean_reward": self.mean_reward, **belief, "oracle_share": self.oracle_share}

    def rows(self) -> list[tuple[str, str]]:
        """Return all scores with their names, for a table."""

        def number(value: float | None) -> str:
            return "-" if value is None else f"{value:.1f}"

        return [
            ("points per episode", f"{self.mean_reward:.1f} ± {self.std_reward:.1f}"),
            ("acting at random", number(self.random_reward)),
            ("belief agent", number(self.belief_reward)),
            ("oracle", number(self.oracle_reward)),
            ("share of the belief agent", "-" if self.belief_share is None else f"{self.belief_share:.1%}"),
            ("share of the oracle", f"{self.oracle_share:.1%}"),
            ("rewards found", number(self.rewards_found)),
            ("steps to the first", number(self.first_reward_step)),
            ("steps to a later one", number(self.mean_steps_later)),
            ("wall hits", number(self.wall_hits)),
            ("points in each fifth of the episode", "  ".join(map(number, self.points_by_fifth))),
        ]


class OwnRandomNumbers:
    """Context manager with a stream of torch's random numbers of its own; other code keeps the global one.

    The stream continues in the next block.

    Args:
        seed: seed of the stream.
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
    """Return the state of the CPU's generator, then those of the GPUs'."""
    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def _set_torch_states(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    torch.cuda.set_rng_state_all(states[1:])


def mean_info(infos: list[dict[str, Any]], name: str) -> float | None:
    """Return the mean of a number of the maze over episodes; -1 means "never" and is left out.

    Args:
        infos: the last ``info`` of each episode.
        name: name of the number.
    """
    values = [info[name] for info in infos if info[name] >= 0]
    return float(np.mean(values)) if values else None


def _played(
    agent: PolicyPredictor, env: VecEnv, episodes: int, seed: int, deterministic: bool, **note: Any
) -> tuple[list[float], list[int]]:
    """Play episodes with random numbers of their own, and close ``env``.

    Returns:
        The points and the length of each episode.
    """
    with closing(env), OwnRandomNumbers(seed):
        rewards, lengths = evaluate_policy(
            agent, env, episodes, deterministic, return_episode_rewards=True, **note
        )
    return rewards, lengths


def evaluate_in_env(
    agent: Any, run: Run, episodes: int, seed: int, deterministic: bool = True
) -> EpisodePoints:
    """Play episodes in a run's environment; the arguments are those of :func:`evaluate`."""
    env = make_test_envs(agent, run, min(episodes, run.training.n_envs), seed)
    rewards, lengths = _played(agent, env, episodes, seed, deterministic)
    return EpisodePoints(
        len(rewards), float(np.mean(rewards)), float(np.std(rewards)), float(np.median(lengths))
    )


def evaluate(
    agent: PolicyPredictor,
    maze: MazeSettings,
    *,
    episodes: int,
    seed: int,
    deterministic: bool = False,
) -> Evaluation:
    """Play episodes and return their scores; the same seed gives the same numbers.

    Args:
        agent: the agent; its training is not affected.
        maze: settings of the maze.
        episodes: number of episodes.
        seed: seed of the mazes and of the actions.
        deterministic: take the most probable action instead of drawing one.
    """
    config = maze_config(maze)
    finals: list[dict[str, Any]] = []
    points = np.zeros(config.episode_length)

    def note(step_locals: dict[str, Any], _: dict[str, Any]) -> None:
        points[step_locals["current_lengths"][step_locals["i"]] - 1] += step_locals["reward"]
        if step_locals["done"]:
            finals.append(step_locals["info"])

    env = make_mazes(maze, min(episodes, MOST_ENVS), seed)
    rewards, _ = _played(agent, env, episodes, seed, deterministic, callback=note)
    bracket, mean = maze_bracket(config), float(np.mean(rewards))
    return Evaluation(
        episodes=len(finals),
        mean_reward=mean,
        std_reward=float(np.std(rewards)),
        belief_share=belief_share(mean, config),
        oracle_share=oracle_share(mean, config),
        **{name: mean_info(finals, name) for name in tags.MAZE_INFOS},
        points_by_fifth=tuple(float(part.sum()) / len(finals) for part in np.array_split(points, _PARTS)),
        random_reward=bracket.random,
        belief_reward=belief_points(config),
        oracle_reward=bracket.oracle,
    )


class LesionedAgent:
    """An agent whose trace is changed from one step of each episode on.

    Args:
        agent: a plastic agent.
        lesion: "frozen": the trace no longer changes. "cleared": it is set to zero once. "silenced": it stays
            zero, so that alpha has no effect.
        step: step of the episode, from 0.

    Raises:
        UserError: the agent has no trace.
    """

    def __init__(self, agent: Any, lesion: LesionChoice, step: int) -> None:
        state = agent.policy.initial_state(1) if isinstance(agent, RecurrentOnPolicyAlgorithm) else None
        if not isinstance(state, RecurrentState) or not state.trace.numel():
            raise UserError("--lesion: only a plastic agent has a trace, leave it out")
        self.agent: RecurrentOnPolicyAlgorithm = agent
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
        """Predict as the agent does; it must be called at every step of the episodes."""
        assert episode_start is not None
        done = np.zeros(len(episode_start), np.int64) if self._done is None else self._done + 1
        self._done = np.where(episode_start, 0, done)
        if state is not None:
            *others, trace = state  # of a RecurrentState, as arrays
            state = (*others, self._lesioned(np.array(trace), self._done))
        return self.agent.predict(observation, state, episode_start, deterministic)

    def _lesioned(self, trace: NDArray[Any], done: NDArray[np.int64]) -> NDArray[Any]:
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


def evaluate_checkpoint(
    run: Run, checkpoint: Path, episodes: int, seed: int, device: str, options: MazeEvaluation
) -> Evaluated:
    """Evaluate a checkpoint, perhaps in another maze; see ``TaskCode`` of ``experiments/training.py``."""
    lesion, step = options.lesion, options.lesion_step
    changed = changed_settings(options, "deterministic", "lesion", "lesion_step")
    maze = replace(run.maze, **changed)
    config = maze_config(maze)
    if step is not None and lesion is None:
        raise UserError("--lesion-step needs --lesion")
    if not 0 <= (step or 0) < config.episode_length:
        raise UserError(
            f"lesion_step must be from 0 to {config.episode_length - 1}, the episode's last step, not {step}"
        )
    agent = load_to_act(run, checkpoint, device)
    with closing(make_mazes(maze, 1, seed)) as env:
        trained, other = agent.observation_space.shape, env.observation_space.shape
    if trained != other:
        raise UserError(
            f"the agent was trained on observations of shape {trained}, but that maze has {other}: "
            "choose a maze with the same shape"
        )
    player = agent if lesion is None else LesionedAgent(agent, lesion, step or 0)
    scores = evaluate(player, maze, episodes=episodes, seed=seed, deterministic=options.deterministic)
    about = {"deterministic": options.deterministic, "lesion": lesion, "lesion_step": step, **changed}
    length = f"{agent.num_timesteps:,} steps" + in_words(changed)
    if lesion is not None:
        length += f", trace {lesion} from step {step or 0}"
    return Evaluated(scores, length, about)


def evaluate_checkpoint_in_env(
    run: Run,
    checkpoint: Path,
    episodes: int,
    seed: int,
    device: str,
    options: EnvironmentEvaluation,
    load: Callable[[Run, Path, str], Any] = load_to_act,
) -> Evaluated:
    """Evaluate a checkpoint in its environment; see ``TaskCode`` of ``experiments/training.py``.

    An agent that Python saved has another function that loads it.
    """
    agent = load(run, checkpoint, device)
    scores = evaluate_in_env(agent, run, episodes, seed, options.deterministic)
    return Evaluated(scores, f"{agent.num_timesteps:,} steps", asdict(options))

"""Measure what every core learns with a learner's default settings, and write the scores to a folder.

Run as ``python scripts/learning.py``. Scores of earlier calls are kept: only missing runs are trained.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np
import torch
import tyro
from gymnasium import spaces
from gymnasium.wrappers import TransformObservation
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import plasticrl.envs
from plasticrl.agents import CORE_NAMES, RecurrentA2C, RecurrentPPO
from plasticrl.nn.factory import CoreName
from plasticrl.scripts.runs.folder import write_json
from plasticrl.scripts.settings.groups import with_home


def without_velocities(env_id: str, keep: Sequence[int]) -> gym.Env[Any, Any]:
    """Return an environment whose observations have only the given columns."""
    env = gym.make(env_id)
    assert isinstance(env.observation_space, spaces.Box)
    low, high = (bound[list(keep)] for bound in (env.observation_space.low, env.observation_space.high))
    return TransformObservation(env, lambda seen: seen[list(keep)], spaces.Box(low, high, dtype=np.float32))


def _popgym(env_id: str) -> gym.Env[Any, Any]:
    return gym.make(f"popgym:popgym-{env_id}-v0")


class Task(NamedTuple):
    """A task of the benchmark.

    Attributes:
        make: makes one environment.
        steps: env steps of a training.
        needs: the package to install, if it is not one of plasticrl's.
        preset: id of the environment whose preset the agents have; empty for the general defaults.
    """

    make: Callable[[], gym.Env[Any, Any]]
    steps: int
    needs: str = ""
    preset: str = ""


_MAZE = "PlasticMaze-v0"
TASKS = {
    **{
        f"recall_{delay}": Task(partial(gym.make, "PlasticRecall-v0", delay=delay), 120_000)
        for delay in (5, 10, 20)
    },
    "cartpole": Task(partial(gym.make, "CartPole-v1"), 100_000),
    "cartpole_positions": Task(partial(without_velocities, "CartPole-v1", (0, 2)), 150_000),
    "maze": Task(partial(gym.make, _MAZE), 2_500_000, preset=_MAZE),
    "maze_5m": Task(partial(gym.make, _MAZE), 5_000_000, preset=_MAZE),
    "pendulum_positions": Task(partial(without_velocities, "Pendulum-v1", (0, 1)), 300_000),
    "repeat_first": Task(partial(_popgym, "RepeatFirstEasy"), 300_000, "popgym"),
    "repeat_previous": Task(partial(_popgym, "RepeatPreviousEasy"), 300_000, "popgym"),
}

FIRST_SEED = 2000  # the defaults were chosen with seeds below it
N_ENVS = 8
EPISODES = 100
LEARNERS: Mapping[str, type[RecurrentA2C] | type[RecurrentPPO]] = {"a2c": RecurrentA2C, "ppo": RecurrentPPO}


@dataclass(frozen=True)
class Learning:
    """Train every core on small tasks with the default settings, and print a table."""

    algo: Literal["a2c", "ppo"] = "a2c"
    """Learner; the scores of ppo go to a folder of that name."""
    tasks: tuple[str, ...] = tuple(name for name, task in TASKS.items() if not (task.needs or task.preset))
    """Tasks; repeat_first and repeat_previous need pip install popgym. The mazes have the settings of their \
preset."""
    cores: tuple[CoreName, ...] = CORE_NAMES
    """Cores of the policy."""
    seeds: int = 5
    """Runs per task and core."""
    first_seed: int = FIRST_SEED
    """The first of their seeds."""
    jobs: int = 2
    """Runs to train at the same time, one thread each."""
    out: Path = Path("results/learning")
    """Output folder: one file for each task."""


def score(algo: str, task: str, core: CoreName, seed: int) -> float:
    """Train one agent, and return its mean reward in new episodes.

    It takes its most probable actions, but for an env with a preset: there it draws them, as in training.
    """
    torch.set_num_threads(1)
    make, steps, _, preset = TASKS[task]
    if preset:
        agent = LEARNERS[algo].from_preset(preset, core=core, seed=seed, device="cpu")
        test = plasticrl.envs.make_vec_env(preset, n_envs=EPISODES, seed=seed + 500_000)
    else:
        env, learner = make_vec_env(make, N_ENVS, seed=seed), LEARNERS[algo]
        agent = learner(
            "PlasticPolicy",
            env,
            n_steps=learner.default_n_steps,  # even where an episode is shorter: one setting for all tasks
            policy_kwargs={"core": core},
            seed=seed,
            device="cpu",
        )
        test = make_vec_env(make, N_ENVS, seed=seed + 500_000)
    agent.learn(steps)
    rewards, _ = evaluate_policy(agent, test, EPISODES, deterministic=not preset, return_episode_rewards=True)
    return float(np.mean(rewards))


def main(settings: Learning) -> None:
    """Train the missing runs and print all scores."""
    for kind, given, known in (("task", settings.tasks, TASKS), ("core", settings.cores, CORE_NAMES)):
        if unknown := [name for name in given if name not in known]:
            sys.exit(f"there is no {kind} {unknown[0]}; there are {', '.join(known)}")
    for name in settings.tasks:
        if (needs := TASKS[name].needs) and find_spec(needs) is None:
            sys.exit(f"{name} needs {needs}: pip install {needs}")
    out = settings.out / settings.algo if settings.algo != "a2c" else settings.out
    out.mkdir(parents=True, exist_ok=True)
    files = {task: out / f"{task}.json" for task in settings.tasks}
    scores: dict[str, dict[str, dict[str, float]]] = {
        task: json.loads(file.read_text()) if file.exists() else {} for task, file in files.items()
    }
    seeds = range(settings.first_seed, settings.first_seed + settings.seeds)
    wanted = [
        (task, core, seed)
        for seed, task, core in product(seeds, settings.tasks, settings.cores)
        if str(seed) not in scores[task].get(core, {})
    ]
    with ProcessPoolExecutor(settings.jobs, mp_context=get_context("spawn")) as pool:
        runs = {pool.submit(score, settings.algo, *run): run for run in wanted}
        for count, run in enumerate(as_completed(runs), 1):
            task, core, seed = runs[run]
            scores[task].setdefault(core, {})[str(seed)] = run.result()
            write_json(files[task], scores[task])
            print(f"[{count}/{len(wanted)}] {task}, {core}, seed {seed}: {run.result():.2f}", flush=True)
    for task in settings.tasks:
        print(f"\n{task} ({TASKS[task].steps:,} steps)")
        for core in settings.cores:
            found = [scores[task].get(core, {})[str(seed)] for seed in seeds]
            print(f"    {core:14s} {np.mean(found):9.2f}   " + "  ".join(f"{one:.2f}" for one in found))


if __name__ == "__main__":
    main(with_home(tyro.cli(Learning, description=__doc__)))

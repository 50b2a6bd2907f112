"""Measure what every core learns with a learner's default settings, and write the scores to a folder.

Run as ``python scripts/learning.py``. Scores of earlier calls are kept: only missing runs are trained.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
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
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from plasticrl.agents import CORE_NAMES, RecurrentA2C, RecurrentPPO
from plasticrl.nn.factory import CoreName
from plasticrl.scripts.runs.folder import write_json
from plasticrl.scripts.settings.groups import with_home


def _popgym(env_id: str) -> gym.Env[Any, Any]:
    return gym.make(f"popgym:popgym-{env_id}-v0")


class Task(NamedTuple):
    """A task of the benchmark.

    Attributes:
        make: makes one environment.
        steps: env steps of a training.
        needs: the package to install, if it is not one of plasticrl's.
    """

    make: Callable[[], gym.Env[Any, Any]]
    steps: int
    needs: str = ""


TASKS = {
    **{
        f"recall_{delay}": Task(partial(gym.make, "PlasticRecall-v0", delay=delay), 120_000)
        for delay in (5, 10, 20)
    },
    "cartpole": Task(partial(gym.make, "CartPole-v1"), 100_000),
    "cartpole_positions": Task(partial(gym.make, "CartPolePositions-v0"), 150_000),
    "pendulum_positions": Task(partial(gym.make, "PendulumPositions-v0"), 300_000),
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
    tasks: tuple[str, ...] = tuple(name for name, task in TASKS.items() if not task.needs)
    """Tasks; repeat_first and repeat_previous need pip install popgym."""
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
    """Train one agent, and return its mean reward in new episodes, with its most probable actions."""
    torch.set_num_threads(1)
    make, steps, _ = TASKS[task]
    learner = LEARNERS[algo]
    agent = learner(
        "PlasticPolicy",
        make_vec_env(make, N_ENVS, seed=seed),
        n_steps=learner.default_n_steps,  # even where an episode is shorter: one setting for all tasks
        policy_kwargs={"core": core},
        seed=seed,
        device="cpu",
    )
    agent.learn(steps)
    test = make_vec_env(make, N_ENVS, seed=seed + 500_000)
    rewards, _ = evaluate_policy(agent, test, EPISODES, return_episode_rewards=True)
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

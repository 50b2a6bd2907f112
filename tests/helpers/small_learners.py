"""A trained learner of each kind, small, and how each is loaded."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from plasticrl.agents import EpisodeLearner, RecurrentA2C
from plasticrl.envs import make_task, make_vec_env

Load: TypeAlias = Callable[[Path], Any]


def _mazes() -> Any:
    return make_vec_env("PlasticMaze-v0", n_envs=2, seed=0, size=5, episode_length=10)


def _task() -> Any:
    return make_task("patterns", n_bits=6, n_patterns=2, n_cycles=1)


def save_agent(path: Path) -> None:
    kwargs = {"core": "plastic", "hidden_size": 5}
    RecurrentA2C("PlasticPolicy", _mazes(), policy_kwargs=kwargs, seed=0).learn(40).save(path)


def load_agent(path: Path) -> RecurrentA2C:
    return RecurrentA2C.load(path, env=_mazes(), device="cpu")


def save_learner(path: Path) -> None:
    EpisodeLearner("plastic", _task(), learning_rate=1e-3, seed=0).learn(4).save(path)


def load_learner(path: Path) -> EpisodeLearner:
    return EpisodeLearner.load(path, _task(), device="cpu")


LEARNERS: Mapping[str, tuple[Callable[[Path], None], Load]] = MappingProxyType(
    {"agent": (save_agent, load_agent), "learner": (save_learner, load_learner)}
)

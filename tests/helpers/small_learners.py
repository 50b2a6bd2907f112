"""Something of each kind that is saved, small and trained, and how each is loaded."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from plasticrl.agents import EpisodeLearner, PlasticPolicy, RecurrentA2C
from plasticrl.envs import make_task, make_vec_env

Load: TypeAlias = Callable[[Path], Any]


def _mazes() -> Any:
    return make_vec_env("PlasticMaze-v0", n_envs=2, seed=0, size=5, episode_length=10)


def _task() -> Any:
    return make_task("patterns", n_bits=6, n_patterns=2, n_cycles=1)


def _agent() -> RecurrentA2C:
    kwargs = {"core": "plastic", "hidden_size": 5}
    return RecurrentA2C("PlasticPolicy", _mazes(), policy_kwargs=kwargs, seed=0).learn(40)


def save_agent(path: Path) -> None:
    _agent().save(path)


def load_agent(path: Path) -> RecurrentA2C:
    return RecurrentA2C.load(path, env=_mazes(), device="cpu")


def save_policy(path: Path) -> None:
    _agent().policy.save(path)


def load_policy(path: Path) -> PlasticPolicy:
    return PlasticPolicy.load(path, device="cpu")


def save_learner(path: Path) -> None:
    EpisodeLearner("plastic", _task(), learning_rate=1e-3, seed=0).learn(4).save(path)


def load_learner(path: Path) -> EpisodeLearner:
    return EpisodeLearner.load(path, _task(), device="cpu")


LEARNERS: Mapping[str, tuple[Callable[[Path], None], Load]] = MappingProxyType(
    {
        "agent": (save_agent, load_agent),
        "policy": (save_policy, load_policy),
        "learner": (save_learner, load_learner),
    }
)

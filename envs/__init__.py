"""The maze and the supervised tasks as Gymnasium environments, single and batched.

Names are loaded when first used, so that importing this package needs neither torch nor Stable-Baselines3.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plasticrl.envs.common.vec_env import VectorEnvAdapter, make_vec_env
    from plasticrl.envs.data.cifar import load_cifar
    from plasticrl.envs.data.download import DataError
    from plasticrl.envs.maze.config import MazeConfig
    from plasticrl.envs.maze.env import PlasticMazeEnv, PlasticMazeVectorEnv
    from plasticrl.envs.maze.oracle import (
        MazeBracket,
        maze_bracket,
        oracle_policy,
        oracle_share,
        random_policy,
    )
    from plasticrl.envs.supervised.env import EpisodeEnv, EpisodeVectorEnv
    from plasticrl.envs.supervised.images import ImagesTask
    from plasticrl.envs.supervised.make_task import make_task
    from plasticrl.envs.supervised.one_shot import OmniglotTask, OneShotTask
    from plasticrl.envs.supervised.patterns import PATTERNS_PRESETS, PatternsTask
    from plasticrl.envs.supervised.references import (
        mean_image_reference,
        nearest_shown_reference,
        zero_reference,
    )
    from plasticrl.envs.supervised.task import Episode, EpisodeTask

__all__ = [
    "PATTERNS_PRESETS",
    "DataError",
    "Episode",
    "EpisodeEnv",
    "EpisodeTask",
    "EpisodeVectorEnv",
    "ImagesTask",
    "MazeBracket",
    "MazeConfig",
    "OmniglotTask",
    "OneShotTask",
    "PatternsTask",
    "PlasticMazeEnv",
    "PlasticMazeVectorEnv",
    "VectorEnvAdapter",
    "load_cifar",
    "make_task",
    "make_vec_env",
    "maze_bracket",
    "mean_image_reference",
    "nearest_shown_reference",
    "oracle_policy",
    "oracle_share",
    "random_policy",
    "zero_reference",
]

_HOME = {
    "DataError": "plasticrl.envs.data.download",
    "Episode": "plasticrl.envs.supervised.task",
    "EpisodeEnv": "plasticrl.envs.supervised.env",
    "EpisodeTask": "plasticrl.envs.supervised.task",
    "EpisodeVectorEnv": "plasticrl.envs.supervised.env",
    "ImagesTask": "plasticrl.envs.supervised.images",
    "MazeBracket": "plasticrl.envs.maze.oracle",
    "MazeConfig": "plasticrl.envs.maze.config",
    "OmniglotTask": "plasticrl.envs.supervised.one_shot",
    "OneShotTask": "plasticrl.envs.supervised.one_shot",
    "PATTERNS_PRESETS": "plasticrl.envs.supervised.patterns",
    "PatternsTask": "plasticrl.envs.supervised.patterns",
    "PlasticMazeEnv": "plasticrl.envs.maze.env",
    "PlasticMazeVectorEnv": "plasticrl.envs.maze.env",
    "VectorEnvAdapter": "plasticrl.envs.common.vec_env",
    "load_cifar": "plasticrl.envs.data.cifar",
    "make_task": "plasticrl.envs.supervised.make_task",
    "make_vec_env": "plasticrl.envs.common.vec_env",
    "maze_bracket": "plasticrl.envs.maze.oracle",
    "mean_image_reference": "plasticrl.envs.supervised.references",
    "nearest_shown_reference": "plasticrl.envs.supervised.references",
    "oracle_policy": "plasticrl.envs.maze.oracle",
    "oracle_share": "plasticrl.envs.maze.oracle",
    "random_policy": "plasticrl.envs.maze.oracle",
    "zero_reference": "plasticrl.envs.supervised.references",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'plasticrl.envs' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

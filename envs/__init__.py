"""The worlds: the maze and the supervised tasks, as Gymnasium environments, single and batched.

Names load when first used, so that importing this package needs neither torch nor Stable-Baselines3.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plasticrl.envs.cifar import load_cifar
    from plasticrl.envs.data_error import DataError
    from plasticrl.envs.episode import Episode, EpisodeTask
    from plasticrl.envs.episode_env import EpisodeEnv
    from plasticrl.envs.episode_vector_env import EpisodeVectorEnv
    from plasticrl.envs.image_references import (
        mean_image_reference,
        nearest_shown_reference,
        zero_reference,
    )
    from plasticrl.envs.images import ImagesTask
    from plasticrl.envs.maze import PlasticMazeEnv
    from plasticrl.envs.maze_config import MazeConfig
    from plasticrl.envs.maze_vector import PlasticMazeVectorEnv
    from plasticrl.envs.omniglot import OmniglotTask
    from plasticrl.envs.one_shot import OneShotTask
    from plasticrl.envs.oracle import MazeBracket, maze_bracket, oracle_policy, oracle_share, random_policy
    from plasticrl.envs.patterns import PATTERNS_PRESETS, PatternsTask
    from plasticrl.envs.sb3_vec_env import VectorEnvAdapter, make_vec_env
    from plasticrl.envs.tasks import make_task

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
    "DataError": "plasticrl.envs.data_error",
    "Episode": "plasticrl.envs.episode",
    "EpisodeEnv": "plasticrl.envs.episode_env",
    "EpisodeTask": "plasticrl.envs.episode",
    "EpisodeVectorEnv": "plasticrl.envs.episode_vector_env",
    "ImagesTask": "plasticrl.envs.images",
    "MazeBracket": "plasticrl.envs.oracle",
    "MazeConfig": "plasticrl.envs.maze_config",
    "OmniglotTask": "plasticrl.envs.omniglot",
    "OneShotTask": "plasticrl.envs.one_shot",
    "PATTERNS_PRESETS": "plasticrl.envs.patterns",
    "PatternsTask": "plasticrl.envs.patterns",
    "PlasticMazeEnv": "plasticrl.envs.maze",
    "PlasticMazeVectorEnv": "plasticrl.envs.maze_vector",
    "VectorEnvAdapter": "plasticrl.envs.sb3_vec_env",
    "load_cifar": "plasticrl.envs.cifar",
    "make_task": "plasticrl.envs.tasks",
    "make_vec_env": "plasticrl.envs.sb3_vec_env",
    "maze_bracket": "plasticrl.envs.oracle",
    "mean_image_reference": "plasticrl.envs.image_references",
    "nearest_shown_reference": "plasticrl.envs.image_references",
    "oracle_policy": "plasticrl.envs.oracle",
    "oracle_share": "plasticrl.envs.oracle",
    "random_policy": "plasticrl.envs.oracle",
    "zero_reference": "plasticrl.envs.image_references",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'plasticrl.envs' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""The worlds: the maze as a Gymnasium environment, single and batched, and as an SB3 ``VecEnv``.

Names load when first used, so that importing this package needs neither torch nor Stable-Baselines3.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plasticrl.envs.maze import PlasticMazeEnv
    from plasticrl.envs.maze_config import MazeConfig
    from plasticrl.envs.maze_vector import PlasticMazeVectorEnv
    from plasticrl.envs.oracle import MazeBracket, maze_bracket, oracle_policy, oracle_share, random_policy
    from plasticrl.envs.sb3_vec_env import VectorEnvAdapter, make_vec_env

__all__ = [
    "MazeBracket",
    "MazeConfig",
    "PlasticMazeEnv",
    "PlasticMazeVectorEnv",
    "VectorEnvAdapter",
    "make_vec_env",
    "maze_bracket",
    "oracle_policy",
    "oracle_share",
    "random_policy",
]

_HOME = {
    "MazeBracket": "plasticrl.envs.oracle",
    "MazeConfig": "plasticrl.envs.maze_config",
    "PlasticMazeEnv": "plasticrl.envs.maze",
    "PlasticMazeVectorEnv": "plasticrl.envs.maze_vector",
    "VectorEnvAdapter": "plasticrl.envs.sb3_vec_env",
    "make_vec_env": "plasticrl.envs.sb3_vec_env",
    "maze_bracket": "plasticrl.envs.oracle",
    "oracle_policy": "plasticrl.envs.oracle",
    "oracle_share": "plasticrl.envs.oracle",
    "random_policy": "plasticrl.envs.oracle",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'plasticrl.envs' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""Registers the environments; importing this module needs Gymnasium only."""

import gymnasium as gym

_MAZES = {
    "PlasticMaze-v0": {},
    "PlasticMazeICLR-v0": {"size": 11, "episode_length": 200, "wall_penalty": 0.0},
}


def register_envs() -> None:
    """Register the package's environments with Gymnasium (done by ``import plasticrl``).

    ``PlasticMaze-v0`` is the maze of Miconi et al. (2018), ``PlasticMazeICLR-v0`` that of the follow-up of
    2019: 11 x 11, 200 steps, no wall penalty. Registering twice does nothing. No time limit is set: the
    maze itself ends its episodes with ``terminated``.
    """
    for env_id, settings in _MAZES.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point="plasticrl.envs.maze:PlasticMazeEnv",
                vector_entry_point="plasticrl.envs.maze_vector:PlasticMazeVectorEnv",
                kwargs=dict(settings),
            )

"""Registration of the environments with Gymnasium, the only package that this module needs."""

from typing import Any

import gymnasium as gym

_MAZES: dict[str, dict[str, Any]] = {
    "PlasticMaze-v0": {},
    "PlasticMazeICLR-v0": {"size": 11, "episode_length": 200, "wall_penalty": 0.0},
    "PlasticMazeMoving-v0": {"relocate_every": 50},
    "PlasticMazeRandom-v0": {"random_layout": True},
}
# Gymnasium's environments without velocities, with its limits of their episodes.
_POSITIONS = {"CartPolePositions-v0": 500, "PendulumPositions-v0": 200}
_TASKS: dict[str, dict[str, Any]] = {
    "PlasticPatterns-v0": {"task": "patterns"},
    "PlasticImages-v0": {"task": "images"},
    "PlasticOmniglot-v0": {"task": "omniglot"},
}


def register_envs() -> None:
    """Register the package's environments with Gymnasium (done by ``import plasticrl``).

    ``PlasticMaze-v0`` is the maze of Miconi et al. (2018), ``PlasticMazeICLR-v0`` that of the follow-up of
    2019: 11 x 11, 200 steps, no wall penalty; in ``PlasticMazeMoving-v0``, the first maze, the reward moves
    every 50 steps, and in ``PlasticMazeRandom-v0`` every episode has other pillars. ``PlasticRecall-v0`` is
    the smallest test of memory, ``plasticrl.envs.RecallEnv``, and ``CueReward-v0`` the cue-reward association
    of 2019, ``plasticrl.envs.CueRewardEnv``. ``CartPolePositions-v0`` and ``PendulumPositions-v0`` are
    Gymnasium's ``CartPole-v1`` and ``Pendulum-v1`` without velocities.
    ``PlasticPatterns-v0``, ``PlasticImages-v0`` and ``PlasticOmniglot-v0`` are the paper's supervised tasks
    as ``plasticrl.envs.EpisodeEnv``; ``gym.make`` takes the options of ``plasticrl.envs.make_task``, such as
    ``n_bits``, ``n_way`` or ``data_dir``.

    A second call has no effect. Only those without velocities have a time limit: the others end their
    episodes with ``terminated``. A limit can be given as ``max_episode_steps``, also for batches.
    """
    maze, supervised = "plasticrl.envs.maze.env", "plasticrl.envs.supervised.env"
    recall, cue_reward = "plasticrl.envs.memory.recall", "plasticrl.envs.memory.cue_reward"
    for env_id, settings in _MAZES.items():
        _register(env_id, f"{maze}:PlasticMazeEnv", f"{maze}:make_maze_vector_env", settings)
    for env_id, settings in _TASKS.items():
        _register(
            env_id,
            f"{supervised}:make_episode_env",
            f"{supervised}:make_episode_vector_env",
            settings,
        )
    _register("PlasticRecall-v0", f"{recall}:RecallEnv", f"{recall}:make_recall_vector_env", {})
    _register("CueReward-v0", f"{cue_reward}:CueRewardEnv", f"{cue_reward}:make_cue_reward_vector_env", {})
    for env_id, limit in _POSITIONS.items():
        if env_id not in gym.registry:
            kind = f"{env_id.partition('-')[0]}Env"
            gym.register(env_id, f"plasticrl.envs.memory.observations:{kind}", max_episode_steps=limit)


def _register(env_id: str, entry_point: str, vector_entry_point: str, settings: dict[str, Any]) -> None:
    if env_id not in gym.registry:
        gym.register(
            env_id, entry_point=entry_point, vector_entry_point=vector_entry_point, kwargs=dict(settings)
        )

"""The length of an env's episodes, as far as it tells."""

from numbers import Integral
from typing import Any

from stable_baselines3.common.vec_env import VecEnv

UNKNOWN_EPISODE_LENGTH = 128  # RecurrentPPO's default number of steps per update


def episode_length(env: VecEnv) -> int:
    """The smaller of the env's attribute ``episode_length`` and its time limit; 128 where it has neither.

    The time limit is that of Gymnasium's wrapper ``TimeLimit``, else the spec's ``max_episode_steps``.
    """
    limit = _attribute(env, "_max_episode_steps")
    if limit is None:
        limit = getattr(_attribute(env, "spec"), "max_episode_steps", None)
    told = (_attribute(env, "episode_length"), limit)
    lengths = [int(number) for number in told if isinstance(number, Integral)]
    return min((length for length in lengths if length > 0), default=UNKNOWN_EPISODE_LENGTH)


def _attribute(env: VecEnv, name: str) -> Any:
    # Asked for what it lacks, a worker of SubprocVecEnv would end.
    return env.get_attr(name)[0] if env.has_attr(name) else None

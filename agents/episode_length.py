"""How long an env's episodes are, as far as it says."""

from stable_baselines3.common.vec_env import VecEnv

UNKNOWN_EPISODE_LENGTH = 128  # RecurrentPPO's default number of steps per update


def episode_length(env: VecEnv) -> int:
    """The env's attribute ``episode_length``, else its spec's ``max_episode_steps``, else 128."""
    for attribute in ("episode_length", "spec"):
        if not env.has_attr(attribute):  # asked for what it lacks, a worker of SubprocVecEnv would end
            continue
        found = env.get_attr(attribute)[0]
        length = getattr(found, "max_episode_steps", None) if attribute == "spec" else found
        if isinstance(length, int) and length > 0:
            return length
    return UNKNOWN_EPISODE_LENGTH

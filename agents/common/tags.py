"""Tags of everything that trainings log to TensorBoard, most of them columns of ``progress.csv``, too.

Loggers and reports take them from here. The module loads no library.
"""

TIMESTEPS = "time/total_timesteps"  # logged by SB3, as are the next two
TIME_ELAPSED = "time/time_elapsed"
REWARD = "rollout/ep_rew_mean"
EPISODES = "time/episodes"
EPISODES_PER_SECOND = "time/episodes_per_second"

N_UPDATES = "train/n_updates"
LEARNING_RATE = "train/learning_rate"
LOSS = "train/loss"
POLICY_LOSS = "train/policy_loss"
VALUE_LOSS = "train/value_loss"
ENTROPY_LOSS = "train/entropy_loss"
CONCENTRATION = "train/concentration"
EXPLAINED_VARIANCE = "train/explained_variance"
GRAD_NORM = "train/grad_norm"
SKIPPED_UPDATES = "train/skipped_updates"
STD = "train/std"

ORACLE_SHARE = "maze/oracle_share"
MAZE_EPISODE = "maze/episode"
MAZE_INFOS = {
    name: f"maze/{name}" for name in ("rewards_found", "wall_hits", "first_reward_step", "mean_steps_later")
}
"""Tag of each number that the maze reports at the end of an episode."""

HYPERPARAMETERS = "hparams"
EVALUATION = "eval/"
"""Beginning of the tags of a final evaluation."""
AGGREGATES = ("aggregate/median", "aggregate/lower_quartile", "aggregate/upper_quartile")
"""Curves over several runs."""


def trained(metric: str) -> str:
    """Return the tag of a supervised task's metric in training."""
    return f"train/{metric}"


def evaluated(metric: str) -> str:
    """Return the tag of a metric of the final evaluation."""
    return EVALUATION + metric


def plastic(name: str) -> str:
    """Return the tag of a number or a picture of a plastic core, such as ``plastic/eta``."""
    return f"plastic/{name}"


def episodes(kind: str) -> str:
    """Return the tag of a picture of supervised episodes."""
    return f"episodes/{kind}"

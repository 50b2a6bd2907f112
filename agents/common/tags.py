"""Tags of everything that trainings log to TensorBoard, most of them columns of ``progress.csv``, too.

Loggers and reports take them from here. The settings of the tasks spell their counters themselves, since
the package of this module loads torch.
"""

TIMESTEPS = "time/total_timesteps"  # logged by SB3, as are the next two
TIME_ELAPSED = "time/time_elapsed"
REWARD = "rollout/ep_rew_mean"
SECONDS = "time/seconds"
"""Time in training, of all processes that trained the run one after another."""
EPISODES = "time/episodes"
EPISODES_PER_SECOND = "time/episodes_per_second"

N_UPDATES = "train/n_updates"
LEARNING_RATE = "train/learning_rate"
LOSS = "train/loss"
POLICY_LOSS = "train/policy_loss"
POLICY_GRADIENT_LOSS = "train/policy_gradient_loss"
VALUE_LOSS = "train/value_loss"
ENTROPY_LOSS = "train/entropy_loss"
CONCENTRATION = "train/concentration"
EXPLAINED_VARIANCE = "train/explained_variance"
GRAD_NORM = "train/grad_norm"
SKIPPED_UPDATES = "train/skipped_updates"
STD = "train/std"
APPROX_KL = "train/approx_kl"
CLIP_FRACTION = "train/clip_fraction"
CLIP_RANGE = "train/clip_range"
CLIP_RANGE_VF = "train/clip_range_vf"

BELIEF_SHARE = "maze/belief_share"
ORACLE_SHARE = "maze/oracle_share"
MAZE_EPISODE = "maze/episode"
MAZE_INFOS = {
    name: f"maze/{name}" for name in ("rewards_found", "wall_hits", "first_reward_step", "mean_steps_later")
}
"""Tag of each number that the maze reports at the end of an episode."""

HYPERPARAMETERS = "hparams"
# Beginnings of the tags of a supervised task's metrics in training, of the metrics of a final evaluation, of
# numbers and pictures of a plastic core, and of pictures of supervised episodes.
TRAINING, EVALUATION, PLASTIC, PICTURES = "train/", "eval/", "plastic/", "episodes/"
AGGREGATES = ("aggregate/median", "aggregate/lower_quartile", "aggregate/upper_quartile")
"""Curves over several runs."""

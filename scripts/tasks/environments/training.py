"""A training in an environment: the agent, its callbacks, and its scores."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import safe_mean
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

from plasticrl.agents.common import tags
from plasticrl.agents.common.tensorboard import log_matrices, tensorboard_writer
from plasticrl.agents.recurrent.on_policy_algorithm import RecurrentOnPolicyAlgorithm
from plasticrl.envs import MazeConfig, belief_share, oracle_share
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import percent
from plasticrl.scripts.settings.maze import MazeSettings
from plasticrl.scripts.settings.tasks import CONTRIB
from plasticrl.scripts.tasks.environments.animation import gif, play
from plasticrl.scripts.tasks.environments.evaluation import evaluate, evaluate_in_env, mean_info
from plasticrl.scripts.tasks.environments.setup import (
    check_run,
    load_learner,
    make_envs,
    make_learner,
    maze_config,
)
from plasticrl.scripts.tasks.task import EVALUATION_SEEDS, Scores, Trainer, log_interval

_ANIMATION_SIZE, _ANIMATION_FPS = 192, 12
_REMEDY = "a lower --learning-rate, --eta or --max-grad-norm, or --bound-eta"


class MazeInfo(BaseCallback):
    """Callback that logs means over the episodes that ended since the last update.

    Args:
        config: the maze, for the shares of the belief agent's and the oracle's reward.
    """

    def __init__(self, config: MazeConfig) -> None:
        super().__init__()
        self.config = config
        self._infos: list[dict[str, Any]] = []

    def _on_step(self) -> bool:
        if self.locals["dones"].any():
            self._infos += [info for info in self.locals["infos"] if "episode" in info]
        return True

    def _on_rollout_end(self) -> None:
        if not self._infos:
            return
        for name, tag in tags.MAZE_INFOS.items():
            mean = mean_info(self._infos, name)
            if mean is not None:
                self.logger.record(tag, mean)
        reward = float(np.mean([info["episode"]["r"] for info in self._infos]))
        share = belief_share(reward, self.config)
        if share is not None:
            self.logger.record(tags.BELIEF_SHARE, share)
        self.logger.record(tags.ORACLE_SHARE, oracle_share(reward, self.config))
        self._infos.clear()


def log_pictures(run: Run, agent: Any) -> None:
    """Log the matrices of an agent's core to TensorBoard, and one episode in the maze as a moving picture."""
    writer = tensorboard_writer(agent.logger)
    if writer is None:
        return
    if isinstance(agent, RecurrentOnPolicyAlgorithm):
        log_matrices(writer, agent.policy.core, agent.core_state, agent.num_timesteps)
    if not isinstance(run.settings, MazeSettings):
        return
    frames = list(play(agent, run.maze, mode="rgb_array", seed=run.seed, size=_ANIMATION_SIZE))
    image = Summary.Image(
        height=_ANIMATION_SIZE,
        width=_ANIMATION_SIZE,
        colorspace=3,
        encoded_image_string=gif(frames, _ANIMATION_FPS),
    )
    # A summary of its own, since the writer's own way to add a video needs moviepy.
    summary = Summary(value=[Summary.Value(tag=tags.MAZE_EPISODE, image=image)])
    assert writer.file_writer is not None
    writer.file_writer.add_summary(summary, agent.num_timesteps)


def make_trainer(run: Run, device: str) -> Trainer:
    """Build the environments and the agent; see ``TaskCode`` of ``experiments/training.py``."""
    check_run(run)
    episodes, seed = run.eval_episodes, run.seed + EVALUATION_SEEDS
    evaluation: Callable[[Any], Scores]
    score_text: Callable[[float], str] = _reward_text
    shares: tuple[str, ...] = ()
    callbacks: list[BaseCallback] = []
    if isinstance(run.settings, MazeSettings):
        config = maze_config(run.settings)
        shares = (tags.BELIEF_SHARE, tags.ORACLE_SHARE)
        callbacks, score_text = [MazeInfo(config)], partial(_share_text, config)
        evaluation = partial(evaluate, maze=run.settings, episodes=episodes, seed=seed)
    else:
        evaluation = partial(evaluate_in_env, run=run, episodes=episodes, seed=seed)
    with ExitStack() as stack:
        env = stack.enter_context(closing(make_envs(run, run.training.n_envs, run.seed)))
        agent: Any = make_learner(run, env, device)
        stack.pop_all()
    return Trainer(
        run,
        agent,
        unit="steps",
        load=lambda checkpoint: load_learner(run, checkpoint, env, device),
        score=_mean_reward,
        score_text=score_text,
        evaluation=evaluation,
        metrics=(tags.REWARD, *shares, tags.EVALUATION + "mean_reward"),
        callbacks=lambda _: list(callbacks),
        log_interval=log_interval(run.total, agent.n_steps * run.training.n_envs),
        counter_option="reset_num_timesteps",
        remedy="a lower learning rate" if run.learner == CONTRIB else _REMEDY,
        show=partial(log_pictures, run),
        close=env.close,
    )


def _reward_text(reward: float) -> str:
    return f"reward {reward:8.2f}"


def _share_text(config: MazeConfig, reward: float) -> str:
    share = belief_share(reward, config)
    name, share = ("oracle", oracle_share(reward, config)) if share is None else ("belief", share)
    return f"reward {reward:6.1f}  {name} {percent(share):>4}"


def _mean_reward(agent: Any) -> float | None:
    """Return the mean reward of the last episodes; None before the first is over."""
    episodes = agent.ep_info_buffer
    return float(safe_mean([episode["r"] for episode in episodes])) if episodes else None

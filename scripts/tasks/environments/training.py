"""A training in an environment: checks of its settings, the agent, its callbacks, and its scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from functools import partial
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import safe_mean
from stable_baselines3.common.vec_env import VecEnv
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

from plasticrl.agents.common import tags
from plasticrl.agents.common.tensorboard import log_matrices, tensorboard_writer
from plasticrl.agents.recurrent.on_policy_algorithm import RecurrentOnPolicyAlgorithm
from plasticrl.arguments import check_number
from plasticrl.envs import MazeConfig, belief_share, oracle_share
from plasticrl.scripts.errors import UserError, as_user_error
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import percent
from plasticrl.scripts.settings.environments import EnvironmentSettings
from plasticrl.scripts.settings.maze import A2CSettings, AgentSettings, MazeSettings
from plasticrl.scripts.settings.tasks import CONTRIB
from plasticrl.scripts.tasks.environments.animation import gif, play
from plasticrl.scripts.tasks.environments.evaluation import evaluate, evaluate_in_env, mean_info
from plasticrl.scripts.tasks.environments.setup import (
    load_learner,
    make_envs,
    make_learner,
    maze_config,
    take_network,
)
from plasticrl.scripts.tasks.task import (
    EVALUATION_SEEDS,
    Scores,
    Trainer,
    check_at_least,
    check_learning_rates,
    check_seed,
    check_shares,
    log_interval,
    process_count,
)

_ANIMATION_SIZE, _ANIMATION_FPS = 192, 12
_REMEDY = "a lower --learning-rate, --eta or --max-grad-norm, or --bound-eta"


def check_run(run: Run) -> None:
    """Check the settings that neither the environment nor the agent checks.

    Raises:
        UserError: a setting is out of its range.
    """
    check_seed(run.seed)
    training = run.training
    check_at_least(
        1,
        total_timesteps=training.total_timesteps,
        n_envs=training.n_envs,
        eval_episodes=training.eval_episodes,
        checkpoints=training.checkpoints,
    )
    check_shares(n_envs=training.n_envs)
    if isinstance(run.settings, EnvironmentSettings):
        check_at_least(1, frame_stack=run.settings.frame_stack)
    if run.learner == CONTRIB:
        _check_contrib(run)
    else:
        _check_agent(run.agent)


def _check_agent(agent: AgentSettings) -> None:
    """Check the settings that the learners do not.

    Raises:
        UserError: a setting is out of its range.
    """
    check_learning_rates(agent.learning_rate, agent.final_learning_rate, agent.max_grad_norm)
    if agent.n_steps is not None:
        check_at_least(1, n_steps=agent.n_steps)
    if not isinstance(agent, A2CSettings):
        return
    if agent.max_grad_ratio is not None and not 1 < agent.max_grad_ratio < math.inf:
        raise UserError(
            "max_grad_ratio must be finite and above 1, or None to leave no update out, not "
            f"{agent.max_grad_ratio}"
        )
    if agent.max_grad_ratio is not None and agent.max_grad_norm is None:
        raise UserError("max_grad_ratio needs a max_grad_norm: give --max-grad-ratio None, too")


def _check_contrib(run: Run) -> None:
    """Check all settings, since sb3-contrib checks few of them.

    Raises:
        UserError: a setting is out of its range.
    """
    ppo = run.ppo
    check_learning_rates(ppo.learning_rate, ppo.final_learning_rate, ppo.max_grad_norm)
    check_at_least(1, hidden_size=ppo.hidden_size, n_steps=ppo.n_steps, n_epochs=ppo.n_epochs)
    check_at_least(2, batch_size=ppo.batch_size)
    with as_user_error(ValueError):
        check_number("gamma", ppo.gamma, most=1)
        check_number("gae_lambda", ppo.gae_lambda, most=1)
        check_number("ent_coef", ppo.ent_coef)
        check_number("vf_coef", ppo.vf_coef)
    steps = ppo.n_steps * run.training.n_envs
    if steps % ppo.batch_size == 1:  # the advantages of a single step have no standard deviation
        raise UserError(f"batch_size {ppo.batch_size} with {steps} steps leaves a batch of one: change it")
    if process_count() > 1:
        raise UserError("RecurrentPPO trains in a single process: start it without torchrun")


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
    frames = list(play(agent, run, mode="rgb_array", seed=run.seed, size=_ANIMATION_SIZE))
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
        take_network=take_network,
        show=partial(log_pictures, run),
        close=partial(_close, env),
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


def _close(env: VecEnv) -> None:
    """Close environments, also those whose processes have ended."""
    with suppress(EOFError, ConnectionError):
        env.close()

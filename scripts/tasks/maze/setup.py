"""From settings to objects: the environments, the agent, and the bracket of a run's scores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from plasticrl.scripts.errors import UserError, blame_user
from plasticrl.scripts.runs.processes import check_shares
from plasticrl.scripts.runs.setup import check_at_least, check_learning_rates, check_seed
from plasticrl.scripts.settings.cores import MAZE_OPTIONS
from plasticrl.scripts.settings.maze import AgentSettings, MazeSettings

if TYPE_CHECKING:
    from stable_baselines3.common.utils import LinearSchedule
    from stable_baselines3.common.vec_env import VecEnv

    from plasticrl.agents import RecurrentA2C
    from plasticrl.envs import MazeConfig
    from plasticrl.scripts.tasks.maze.run import MazeRun, PPOSettings, RunOnMaze


def check_run(run: RunOnMaze) -> None:
    """Check what neither the environment nor the agent checks.

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
    run.check_agent()


def check_agent(agent: AgentSettings) -> None:
    """Check what RecurrentA2C does not.

    Raises:
        UserError: a setting is out of its range.
    """
    check_learning_rates(agent.learning_rate, agent.final_learning_rate, agent.max_grad_norm)
    if agent.max_grad_ratio is not None and not 1 < agent.max_grad_ratio < math.inf:
        raise UserError(
            "max_grad_ratio must be finite and above 1, or None to leave no update out, not "
            f"{agent.max_grad_ratio}"
        )
    if agent.max_grad_ratio is not None and agent.max_grad_norm is None:
        raise UserError("max_grad_ratio needs a max_grad_norm: give --max-grad-ratio None, too")


def make_mazes(maze: MazeSettings, n_envs: int, seed: int, **more: Any) -> VecEnv:
    """Mazes side by side; ``more`` goes to the environment, such as ``render_mode``.

    Raises:
        UserError: a setting is not allowed.
    """
    import plasticrl.envs.registration  # noqa: F401  (registers the mazes)
    from plasticrl.envs import make_vec_env

    with blame_user(ValueError, TypeError):
        return make_vec_env(maze.env, n_envs=n_envs, seed=seed, **maze.env_kwargs(), **more)


def maze_config(maze: MazeSettings) -> MazeConfig:
    """The maze's checked configuration, the environment's own defaults filled in.

    Raises:
        UserError: a setting is not allowed, or results would have no bracket.
    """
    import gymnasium as gym

    import plasticrl.envs.registration  # noqa: F401  (registers the mazes)
    from plasticrl.envs import MazeConfig, maze_bracket

    with blame_user(ValueError, TypeError):
        config = MazeConfig(**{**gym.spec(maze.env).kwargs, **maze.env_kwargs()})
        maze_bracket(config)
    return config


def make_agent(run: MazeRun, env: VecEnv, device: str) -> RecurrentA2C:
    """An untrained agent.

    Raises:
        UserError: a setting is not allowed.
    """
    from plasticrl.agents import RecurrentA2C

    agent = run.agent
    with blame_user(ValueError, TypeError):
        return RecurrentA2C(
            "PlasticPolicy",
            env,
            learning_rate=learning_rate(agent),
            gamma=agent.gamma,
            gae_lambda=agent.gae_lambda,
            ent_coef=agent.ent_coef,
            concentration_coef=agent.concentration_coef,
            vf_coef=agent.vf_coef,
            max_grad_norm=math.inf if agent.max_grad_norm is None else agent.max_grad_norm,
            max_grad_ratio=math.inf if agent.max_grad_ratio is None else agent.max_grad_ratio,
            normalize_advantage=agent.normalize_advantage,
            policy_kwargs=policy_kwargs(run),
            seed=run.seed,
            device=device,
        )


def policy_kwargs(run: MazeRun) -> dict[str, Any]:
    """The core and its settings."""
    own = {name: getattr(run.agent, name) for name in MAZE_OPTIONS[run.core]}
    return {"core": run.core, "hidden_size": run.agent.hidden_size, **own}


def learning_rate(agent: AgentSettings | PPOSettings) -> float | LinearSchedule:
    """A number where it stays the same."""
    from stable_baselines3.common.utils import LinearSchedule

    if agent.final_learning_rate == agent.learning_rate:
        return agent.learning_rate
    return LinearSchedule(agent.learning_rate, agent.final_learning_rate, end_fraction=1.0)

"""From settings to objects: the environments, the agent, and the bracket of a run's scores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from plasticrl.scripts.settings import AgentSettings, CoreChoice, MazeRun, MazeSettings
from plasticrl.scripts.user_error import UserError, blame_user

if TYPE_CHECKING:
    from stable_baselines3.common.utils import LinearSchedule
    from stable_baselines3.common.vec_env import VecEnv

    from plasticrl.agents import RecurrentA2C
    from plasticrl.envs import MazeConfig

LARGEST_SEED = 2**31 - 1
TRACE_OPTIONS = ("rule", "eta", "bound_eta")
INIT_OPTIONS = ("init", "init_scale")


def core_options(core: CoreChoice) -> tuple[str, ...]:
    """The settings, beside the size, that a core has."""
    if core in ("plastic", "homogeneous"):
        return (*TRACE_OPTIONS, *INIT_OPTIONS)
    return INIT_OPTIONS if core == "rnn" else ()


def check_core_options(cores: tuple[CoreChoice, ...], agent: AgentSettings, preset: AgentSettings) -> None:
    """Refuse an option that was changed from the preset but that none of the cores has.

    Raises:
        UserError: there is such an option.
    """
    had = {name for core in cores for name in core_options(core)}
    for name in (*TRACE_OPTIONS, *INIT_OPTIONS):
        if name not in had and getattr(agent, name) != getattr(preset, name):
            flag = "--" + name.replace("_", "-")
            owners = "plastic and homogeneous" + (" and rnn" if name in INIT_OPTIONS else "")
            raise UserError(f"{flag} is for the cores {owners}, not for {', '.join(cores)}: leave it out")


def check_seed(seed: int) -> int:
    """The seed itself.

    Raises:
        UserError: it is negative or too large for the generators.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"seed must be from 0 to {LARGEST_SEED}, not {seed}")
    return seed


def check_run(run: MazeRun) -> None:
    """Check what neither the environment nor the agent checks.

    Raises:
        UserError: a setting is out of its range.
    """
    check_seed(run.seed)
    for name, least in (("total_timesteps", 1), ("n_envs", 1), ("eval_episodes", 1), ("checkpoints", 1)):
        value = getattr(run.training, name)
        if value < least:
            raise UserError(f"{name} must be at least {least}, not {value}")
    rates = (
        ("learning_rate", run.agent.learning_rate),
        ("final_learning_rate", run.agent.final_learning_rate),
    )
    for name, rate in rates:
        if not 0 <= rate < math.inf or (name == "learning_rate" and rate == 0):
            raise UserError(f"{name} must be finite and {'above' if rate == 0 else 'at least'} 0, not {rate}")
    norm = run.agent.max_grad_norm
    if norm is not None and not 0 < norm < math.inf:
        raise UserError(f"max_grad_norm must be finite and above 0, or None for no clipping, not {norm}")


def set_up_torch(device: str, threads: int | None) -> None:
    """Choose the number of threads, and check that the device is there.

    Raises:
        UserError: it is not, or the number is below 1.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda is not available on this machine: use --device cpu or auto")
    if threads is not None:
        if threads < 1:
            raise UserError(f"threads must be at least 1, or None for torch's own choice, not {threads}")
        torch.set_num_threads(threads)


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
    policy_kwargs = {name: getattr(agent, name) for name in core_options(run.core)}
    with blame_user(ValueError, TypeError):
        return RecurrentA2C(
            "PlasticPolicy",
            env,
            learning_rate=_learning_rate(agent),
            gamma=agent.gamma,
            gae_lambda=agent.gae_lambda,
            ent_coef=agent.ent_coef,
            concentration_coef=agent.concentration_coef,
            vf_coef=agent.vf_coef,
            max_grad_norm=math.inf if agent.max_grad_norm is None else agent.max_grad_norm,
            normalize_advantage=agent.normalize_advantage,
            policy_kwargs={"core": run.core, "hidden_size": agent.hidden_size, **policy_kwargs},
            seed=run.seed,
            device=device,
        )


def _learning_rate(agent: AgentSettings) -> float | LinearSchedule:
    from stable_baselines3.common.utils import LinearSchedule

    if agent.final_learning_rate == agent.learning_rate:
        return agent.learning_rate
    return LinearSchedule(agent.learning_rate, agent.final_learning_rate, end_fraction=1.0)

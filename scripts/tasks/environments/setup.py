"""Building, loading and checking the environments and the learner of a run."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import gymnasium as gym
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import (
    SubprocVecEnv,
    VecEnv,
    VecFrameStack,
    VecNormalize,
    unwrap_vec_normalize,
)

import plasticrl.envs.registration  # noqa: F401  (registers the mazes)
from plasticrl.agents import RecurrentA2C, RecurrentPPO
from plasticrl.agents.checkpoint import tensor_file
from plasticrl.agents.checkpoint.env_state import means_in
from plasticrl.agents.ppo.contrib import PlainRecurrentPPO
from plasticrl.agents.presets import check_packages
from plasticrl.agents.recurrent import checkpoint as agent_files
from plasticrl.agents.recurrent.spaces import check_spaces
from plasticrl.envs import MazeConfig, make_vec_env
from plasticrl.scripts.errors import UserError, as_user_error, one_line
from plasticrl.scripts.runs.checkpoints import (
    check_network,
    checkpoint_errors,
    find_checkpoint,
    find_saved_agent,
)
from plasticrl.scripts.runs.folder import CONFIG, read_run
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.settings.environments import NO_SETTINGS, EnvironmentSettings
from plasticrl.scripts.settings.maze import AgentSettings, ContribSettings, MazeSettings
from plasticrl.scripts.settings.tasks import CONTRIB, task_named
from plasticrl.signals import FROM_TERMINAL

_LEARNERS: Mapping[str, type[RecurrentA2C] | type[RecurrentPPO]] = {"a2c": RecurrentA2C, "ppo": RecurrentPPO}
# Settings that are arguments of the learner's constructor under the same name.
_ARGUMENTS = ("gamma", "gae_lambda", "ent_coef", "vf_coef", "max_grad_norm", "normalize_advantage")
_OWN_ARGUMENTS = {
    "a2c": ("concentration_coef", "max_grad_ratio"),
    "ppo": ("batch_size", "n_epochs", "clip_range", "target_kl"),
}
_PATIENCE = 600  # seconds that a process of an environment leaves the training to save and to close it
_LIMITS = {"max_grad_norm", "max_grad_ratio"}  # None for no limit


def make_envs(run: Run, n_envs: int, seed: int, **more: Any) -> VecEnv:
    """Build the vectorized environments of a run.

    Args:
        run: the run.
        n_envs: number of environments.
        seed: seed of the environments.
        **more: further arguments of the environment, such as ``render_mode``.

    Raises:
        UserError: there is no such environment, or a setting is not allowed.
    """
    if isinstance(run.settings, MazeSettings):
        return make_mazes(run.settings, n_envs, seed, **more)
    given: EnvironmentSettings = run.env
    if "render_mode" in given.env_kwargs:
        raise UserError("render_mode is chosen by watch: leave it out of --env-kwargs")
    arguments = {**given.env_kwargs, **more}
    with closing(make_one(run.task, given, **arguments)) as one, as_user_error(ValueError, about=run.task):
        # With others, the vectorized environments would fail in words of their own.
        check_spaces(one.observation_space, one.action_space)
    in_processes = given.vec == "subproc" and n_envs > 1
    maker: Any = registered(run.task, given)
    if given.wrapper or in_processes or gym.spec(maker).vector_entry_point is None:
        maker = partial(_make_in_process if in_processes else make_one, run.task, given)
    kind: Any = {"vec_env_cls": SubprocVecEnv} if in_processes else {}
    with _construction_errors(run.task):
        env = make_vec_env(maker, n_envs=n_envs, seed=seed, env_kwargs=arguments, **kind)
    if given.normalize:
        with _vec_errors("--normalize", env):
            env = VecNormalize(env, gamma=run.agent.gamma)
    if given.frame_stack > 1:
        with _vec_errors("--frame-stack", env):
            env = VecFrameStack(env, given.frame_stack)
    return env


def make_test_envs(agent: Any, run: Run, n_envs: int, seed: int, **more: Any) -> VecEnv:
    """Build environments in which a run's agent is evaluated: its running moments stay as they are.

    The arguments are those of :func:`make_envs`, after the agent.
    """
    env = make_envs(run, n_envs, seed, **more)
    here, trained = unwrap_vec_normalize(env), unwrap_vec_normalize(agent.get_env())
    if here is not None and trained is not None:
        here.obs_rms, here.training, here.norm_reward = trained.obs_rms, False, False
    return env


@contextmanager
def _vec_errors(option: str, env: VecEnv) -> Iterator[None]:
    """Turn the error of a vectorized wrapper into a UserError, and close what it cannot wrap."""
    try:
        yield
    except (AssertionError, TypeError, ValueError) as error:
        env.close()
        raise UserError(f"{option}: {one_line(error)}: leave it out") from error


def make_one(task: str, settings: EnvironmentSettings, **arguments: Any) -> gym.Env[Any, Any]:
    """Make one environment with its wrappers.

    Raises:
        UserError: it cannot be made, or a wrapper does not fit.
    """
    env_id = registered(task, settings)
    kinds = [(name, _wrapper(name)) for name in settings.wrapper]
    with _construction_errors(env_id):
        env = gym.make(env_id, **arguments)
    for name, kind in kinds:
        try:
            env = kind(env)
        except Exception as error:  # whatever its code raises
            env.close()
            raise UserError(
                f"--wrapper {name} cannot wrap {env_id}: {_in_words(error)}: give a class that takes the "
                "environment alone, or write one in a module in the current folder"
            ) from error
        if not isinstance(env, gym.Env):
            raise UserError(f"--wrapper {name} makes no environment: give a subclass of gymnasium.Wrapper")
    return env


def _make_in_process(task: str, settings: EnvironmentSettings, **arguments: Any) -> gym.Env[Any, Any]:
    """Make one environment in a process of its own, which ends only when the training closes it."""
    for number in FROM_TERMINAL:
        signal.signal(number, signal.SIG_IGN)  # the update under way is completed first
    if hasattr(signal, "alarm"):  # SIGTERM, which may be for the training alone, ends it only later
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_PATIENCE))
    return make_one(task, settings, **arguments)


def _wrapper(name: str) -> Any:
    module, _, kind = name.partition(":")
    if not (module and kind):
        raise UserError(
            f"--wrapper {name}: write MODULE:CLASS, such as gymnasium.wrappers:FlattenObservation"
        )
    found = getattr(_import("--wrapper", module), kind, None)
    if found is None:
        close = get_close_matches(kind, dir(import_module(module)), n=1)
        perhaps = f": perhaps you meant {close[0]}" if close else ", see its documentation"
        raise UserError(f"--wrapper {name}: {module} has no {kind}{perhaps}")
    return found


def registered(task: str, settings: EnvironmentSettings) -> str:
    """Import the modules that register a run's environment, and return its id without a module.

    Args:
        task: the run's task, an id or ``module:id``.
        settings: the run's own modules.

    Raises:
        UserError: a module cannot be imported, or no environment with this id is registered then.
    """
    module, colon, env_id = task.rpartition(":")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # where a program that is installed does not look
    with as_user_error(ValueError):
        check_packages(env_id, settings.imports)
    for name in (*settings.imports, *([module] if colon else [])):
        _import("--import", name)
    if env_id in gym.registry:
        return env_id
    close = get_close_matches(env_id, gym.registry, n=2)
    perhaps = f"perhaps you meant {' or '.join(close)}; " if close else ""
    namespace, slash, _ = env_id.rpartition("/")
    known = not slash or any(name.startswith(f"{namespace}/") for name in gym.registry)
    origin = "otherwise " if known else f"{namespace} is the namespace of a package: install it and "
    raise UserError(
        f"no environment {env_id} is registered: {perhaps}{origin}give the module that registers it, as in "
        "--import ale_py for the games of ale-py"
    )


def _import(option: str, name: str) -> ModuleType:
    """Import a module that an option names.

    Raises:
        UserError: it cannot be imported.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise UserError(
                f"{option} {name}: there is no module {error.name}: give the name of an installed module, or "
                "of a file in the current folder, without .py"
            ) from error
        raise UserError(
            f"{option} {name}: it needs the module {error.name}, which is missing: pip install {error.name}"
        ) from error
    except Exception as error:  # whatever its code raises
        raise UserError(f"{option} {name}: it fails: {_in_words(error)}: repair it") from error


@contextmanager
def package_errors(env_id: str) -> Iterator[None]:
    """Turn the error of an environment whose package is missing into a UserError."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"{env_id} needs the module {error.name}, which is missing: pip install {error.name}"
        ) from error
    except gym.error.DependencyNotInstalled as error:
        raise UserError(f"{env_id} needs a package that is missing: {one_line(error)}") from error


@contextmanager
def _construction_errors(env_id: str) -> Iterator[None]:
    """Turn the error of an environment that cannot be made into a UserError."""
    try:
        with package_errors(env_id):
            yield
    except TypeError as error:
        cause = one_line(str(error).partition(" was raised from")[0])
        raise UserError(f"{env_id} refuses its arguments: {cause}: see --env-kwargs") from error
    except (AssertionError, LookupError, OSError, ValueError, gym.error.Error) as error:
        raise UserError(f"{env_id} cannot be made: {_in_words(error)}: see --env-kwargs") from error


def _in_words(error: Exception) -> str:
    return one_line(f"{error} ({type(error).__name__})" if str(error) else type(error).__name__)


def make_mazes(maze: MazeSettings, n_envs: int, seed: int, **more: Any) -> VecEnv:
    """Build vectorized mazes.

    Args:
        maze: settings of the maze.
        n_envs: number of mazes.
        seed: seed of the mazes.
        **more: further arguments of the environment, such as ``render_mode``.

    Raises:
        UserError: a setting is not allowed.
    """
    with as_user_error(ValueError, TypeError):
        return make_vec_env(maze.env, n_envs=n_envs, seed=seed, **_env_kwargs(maze), **more)


def _env_kwargs(maze: MazeSettings) -> dict[str, Any]:
    """Return the arguments of the environment that differ from its own defaults."""
    return {name: value for name, value in asdict(maze).items() if name != "env" and value is not None}


def maze_config(maze: MazeSettings) -> MazeConfig:
    """Return the maze's checked configuration, with the environment's defaults filled in.

    Raises:
        UserError: a setting is not allowed, or results would have no bracket.
    """
    with as_user_error(ValueError, TypeError):
        config = MazeConfig(**{**gym.spec(maze.env).kwargs, **_env_kwargs(maze)})
        config.check_bracket()
    return config


def make_learner(run: Run, env: VecEnv, device: str) -> OnPolicyAlgorithm:
    """Build an untrained agent with the interface of Stable-Baselines3 and ``n_steps``.

    Raises:
        UserError: a setting is invalid.
    """
    if run.learner == CONTRIB:
        with as_user_error(ValueError, TypeError, AssertionError):
            return PlainRecurrentPPO(env=env, device=device, **contrib_arguments(run))
    agent = run.agent
    given = {name: getattr(agent, name) for name in (*_ARGUMENTS, *_OWN_ARGUMENTS[run.learner])}
    unlimited = {name: math.inf for name in _LIMITS & given.keys() if given[name] is None}
    with as_user_error(ValueError, TypeError):
        return _LEARNERS[run.learner](
            "PlasticPolicy",
            env,
            learning_rate=learning_rate(agent),
            n_steps=_n_steps(run),
            policy_kwargs=policy_kwargs(run),
            seed=run.seed,
            device=device,
            **{**given, **unlimited},
        )


def _n_steps(run: Run) -> int | None:
    """Return the steps of a rollout; None for the learner's own choice."""
    given: int | None = run.agent.n_steps
    if not isinstance(run.settings, MazeSettings):
        return given
    episode = maze_config(run.settings).episode_length
    return min(episode, given or episode)


def load_learner(run: Run, checkpoint: Path, env: VecEnv, device: str) -> OnPolicyAlgorithm:
    """Load an agent from a checkpoint, for playing or further training in ``env``.

    Raises:
        UserError: the file is not a checkpoint of this kind of run, or has other spaces.
    """
    if run.learner == CONTRIB:
        with checkpoint_errors(checkpoint):
            return PlainRecurrentPPO.load(checkpoint, env, device, **contrib_arguments(run))
    with checkpoint_errors(checkpoint):
        agent = _LEARNERS[run.learner].load(checkpoint, env=env, device=device)
    check_network(checkpoint, policy_kwargs(run), agent.policy_kwargs)
    return agent


def take_network(agent: OnPolicyAlgorithm, path: Path) -> None:
    """Give an agent the network that another agent has saved, of A2C or PPO.

    Raises:
        UserError: the file is not that of an agent, or holds another network.
    """
    with checkpoint_errors(path):
        agent_files.take_network(agent, kind_of_agent(path).file_format.load(path))


def kind_of_agent(path: Path) -> type[RecurrentA2C] | type[RecurrentPPO]:
    """Return the class of the agent in a file.

    Raises:
        ValueError, OSError: it cannot be read, or is not the file of an agent.
    """
    kinds = {kind.file_format.name: kind for kind in _LEARNERS.values()}
    _, data = tensor_file.read_tensors(path)
    name = data.get("format")
    if name not in kinds:
        raise ValueError(f"it holds {name!r}, not the agent of RecurrentA2C.save or RecurrentPPO.save")
    return kinds[name]


def load_to_act(run: Run, checkpoint: Path, device: str) -> OnPolicyAlgorithm:
    """Load the agent as it was saved and close its environment: it can act, but not be trained.

    Raises:
        UserError: as :func:`load_learner`.
    """
    with closing(make_envs(run, 1, run.seed)) as env:
        return load_learner(run, checkpoint, env, device)


class FoundAgent(NamedTuple):
    """An agent that a command was given.

    Attributes:
        run: its run, or one made for it.
        checkpoint: its file.
        load: loads it, from run, checkpoint and device.
        is_saved: True if it has no run, since Python saved it.
    """

    run: Run
    checkpoint: Path
    load: Callable[[Run, Path, str], OnPolicyAlgorithm]
    is_saved: bool


def find_agent(path: Path, env_id: str | None, place: EnvironmentSettings) -> FoundAgent:
    """Return the agent for a path: a run's folder, a checkpoint in one, or a file that Python saved.

    Args:
        path: the path.
        env_id: id of the environment of an agent that Python saved; None: it is in a run.
        place: the settings of that environment.

    Raises:
        UserError: there is no such agent, or settings are given for a run, which has its own.
    """
    saved = None if env_id is None else find_saved_agent(path)
    if env_id is not None and saved is not None:
        return FoundAgent(_run_of_agent(saved, env_id, place), saved, load_saved, is_saved=True)
    folder, checkpoint = find_checkpoint(path)
    if place != NO_SETTINGS:
        raise UserError(
            f"{folder} is a run, whose environment has the settings in its {CONFIG}: leave out --env-kwargs "
            "and the others, which are for an agent that Python saved"
        )
    return FoundAgent(read_run(folder), checkpoint, load_to_act, is_saved=False)


def _run_of_agent(path: Path, env_id: str, place: EnvironmentSettings) -> Run:
    """Return a run for an agent that Python saved: its environment, and otherwise the usual settings.

    Args:
        path: file of the agent.
        env_id: id of its environment.
        place: the settings of the environment.

    Raises:
        UserError: the file is not that of an agent, or this is no id.
    """
    with as_user_error(TypeError, about="--env"):
        task = task_named(env_id)
    if task.kind != "environment":
        raise UserError(f"--env {env_id}: give the id of an environment, such as CartPole-v1")
    with checkpoint_errors(path):
        kind = kind_of_agent(path)
        parts = kind.file_format.load(path)
        core = parts["settings"]["policy_kwargs"].get("core")
    if means_in(parts.get("env")) is not None and not place.normalize:
        raise UserError(f"{path} was trained with VecNormalize: add --normalize")
    name = next(name for name, one in _LEARNERS.items() if one is kind)
    learner = task.learners[name]
    groups = {**next(iter(learner.presets.values())).groups, task.own_group: place}
    return Run(task.name, name, core if core in learner.cores else next(iter(learner.cores)), 0, groups)


def load_saved(run: Run, path: Path, device: str) -> OnPolicyAlgorithm:
    """Load an agent that Python saved, to act in the environment of the run that was made for it.

    Raises:
        UserError: it cannot be loaded, or has other spaces.
    """
    with closing(make_envs(run, 1, run.seed)) as env, checkpoint_errors(path):
        return _LEARNERS[run.learner].load(path, env=env, device=device)


def untrained(agent: OnPolicyAlgorithm, env: VecEnv) -> OnPolicyAlgorithm:
    """Return an agent that Python saved as it was before its training, up to random numbers."""
    kind: Any = type(agent)
    fresh: OnPolicyAlgorithm = kind(
        agent.policy_class, env, policy_kwargs=agent.policy_kwargs, seed=agent.seed, device=agent.device
    )
    return fresh


def policy_kwargs(run: Run) -> dict[str, Any]:
    """Return the arguments of the policy: the core, its settings, and the normalization."""
    names = ("hidden_size", *run.core_options, "normalize_observations", "normalize_returns")
    return {"core": run.core, **{name: getattr(run.agent, name) for name in names}}


def contrib_arguments(run: Run) -> dict[str, Any]:
    """Return the arguments of sb3-contrib's RecurrentPPO, except the environment and the device."""
    ppo = run.ppo
    same = ("n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "ent_coef", "vf_coef")
    return {
        "policy": "MlpLstmPolicy",
        "learning_rate": learning_rate(ppo),
        "max_grad_norm": ppo.max_grad_norm,
        "policy_kwargs": {"lstm_hidden_size": ppo.hidden_size},
        "seed": run.seed,
        **{name: getattr(ppo, name) for name in same},
    }


def learning_rate(agent: AgentSettings | ContribSettings) -> float | LinearSchedule:
    """Return a number if it is constant, else a schedule."""
    if agent.final_learning_rate == agent.learning_rate:
        return agent.learning_rate
    return LinearSchedule(agent.learning_rate, agent.final_learning_rate, end_fraction=1.0)

"""Checkpoints of agents and learners: the one place that knows their names and formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticrl.scripts.run_folder import CHECKPOINTS, CONFIG, has_file, refuse_checkpoints, refuse_linked
from plasticrl.scripts.user_error import UserError, one_line

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from plasticrl.agents import EpisodeLearner, RecurrentA2C
    from plasticrl.envs.episode import EpisodeTask
    from plasticrl.scripts.episode_run import EpisodeRun

SUFFIX = ".safetensors"
CHECKPOINT_NAMES = f"step_*{SUFFIX}"


def checkpoint_path(folder: Path, done: int) -> Path:
    """``folder/step_NNNNNNNNNNNN.safetensors``: the checkpoint of a learner with so many steps behind it."""
    return folder / f"step_{done:012d}{SUFFIX}"


def find_checkpoint(path: Path) -> tuple[Path, Path]:
    """The run's folder and the checkpoint that ``path`` means: a file, or the newest one of a run.

    Raises:
        UserError: there is none.
    """
    if path.is_file():
        folder = path.parent.parent if path.parent.name == CHECKPOINTS else path.parent
        if path.suffix != SUFFIX or not (folder / CONFIG).is_file():
            raise UserError(
                f"{path} is not a checkpoint in a run's folder: give RUN, or a file in RUN/{CHECKPOINTS}"
            )
        return folder, path
    if not path.exists():
        raise UserError(
            f"{path} does not exist: give a run's folder, such as runs/maze/plastic/seed_0, or a file"
        )
    refuse_checkpoints(path)
    refuse_linked(path / CHECKPOINTS)
    found = checkpoints_in(path / CHECKPOINTS)
    if not found:
        raise UserError(
            f"{path} holds no checkpoint ({CHECKPOINTS}/step_N): give the folder of a run that was trained, "
            "runs/TASK/CORE/seed_K"
        )
    has_file(found[-1])
    return path, found[-1]


def has_checkpoint(folder: Path) -> bool:
    """Whether a run keeps one."""
    return bool(checkpoints_in(folder / CHECKPOINTS))


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, whole or not, the earliest first."""
    return sorted(folder.glob(CHECKPOINT_NAMES))


@contextmanager
def blame_checkpoint(path: Path) -> Iterator[None]:
    """Inside, an error says that the file at ``path`` cannot be loaded.

    Raises:
        UserError: there was one.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        cause = " ".join(str(error).split())
        if "spaces do not match" in cause:
            raise UserError(
                f"{path} was trained for other spaces ({cause}): give a run of its own maze"
            ) from error
        raise UserError(f"{path} cannot be loaded as a checkpoint ({cause}): choose another one") from error


def load_agent(path: Path, env: VecEnv, device: str) -> RecurrentA2C:
    """Load an agent to act in ``env``.

    Raises:
        UserError: the file is not a checkpoint, or is one for other spaces.
    """
    from plasticrl.agents import RecurrentA2C

    with blame_checkpoint(path):
        return RecurrentA2C.load(path, env=env, device=device)


def load_learner(
    path: Path, run: EpisodeRun, device: str, task: EpisodeTask, eval_task: EpisodeTask | None = None
) -> EpisodeLearner:
    """Load a learner of a supervised task.

    Args:
        path: the checkpoint.
        run: that it is of.
        device: what computes the network.
        task: what it was trained on.
        eval_task: what it is evaluated on; None: the same.

    Raises:
        UserError: the file is not a checkpoint, or is one for another task or of another network.
    """
    from plasticrl.agents import EpisodeLearner
    from plasticrl.scripts.episode_setup import learning_rate, network_kwargs

    with blame_checkpoint(path):  # the learning rate may be a function, which no file can hold
        learner = EpisodeLearner.load(path, task, eval_task, device, learning_rate=learning_rate(run))
    found = {"core": learner.network_name, **(learner.network_kwargs or {})}
    check_network(path, {"core": run.core, **network_kwargs(run)}, found)
    return learner


def check_network(path: Path, told: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Compare the network in a checkpoint with that of the run whose folder it is in.

    Args:
        path: of the checkpoint.
        told: the network's settings in ``config.json``.
        found: those in the checkpoint.

    Raises:
        UserError: they differ.
    """
    for name, value in told.items():
        if found.get(name) != value:
            raise UserError(
                f"{path} holds another network than the run's {CONFIG} tells of ({name} is "
                f"{one_line(found.get(name))}, not {value}): restore the one or the other"
            )

"""Checkpoints of an agent: the one place that knows their format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

from plasticrl.scripts.run_folder import CHECKPOINTS, CONFIG, written_whole
from plasticrl.scripts.user_error import UserError

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from plasticrl.agents import RecurrentA2C

SUFFIX = ".zip"


def save_checkpoint(agent: RecurrentA2C, folder: Path) -> Path:
    """Write ``folder/step_NNNNNNNNNNNN.zip``, whole or not at all."""
    path = folder / f"step_{agent.num_timesteps:012d}{SUFFIX}"
    with written_whole(path) as temporary:
        agent.save(temporary)
    return path


def find_checkpoint(path: Path) -> tuple[Path, Path]:
    """The run's folder and the checkpoint that ``path`` means: a file, or the newest one of a run.

    Raises:
        UserError: there is none.
    """
    if path.is_file():
        folder = path.parent.parent if path.parent.name == CHECKPOINTS else path.parent
        if path.suffix != SUFFIX or not (folder / CONFIG).is_file():
            raise UserError(
                f"{path} is not a checkpoint in a run's folder: give RUN, or RUN/{CHECKPOINTS}/step_N{SUFFIX}"
            )
        return folder, path
    if not path.exists():
        raise UserError(
            f"{path} does not exist: give a run's folder, such as runs/maze/plastic/seed_0, or a file"
        )
    found = sorted((path / CHECKPOINTS).glob(f"step_*{SUFFIX}"))
    if not found:
        raise UserError(f"{path} holds no checkpoint ({CHECKPOINTS}/step_*{SUFFIX}): train a run there first")
    return path, found[-1]


def load_checkpoint(path: Path, env: VecEnv, device: str) -> RecurrentA2C:
    """Load an agent to act in ``env``.

    Raises:
        UserError: the file is not a checkpoint, or is one for other spaces.
    """
    from plasticrl.agents import RecurrentA2C

    try:
        return RecurrentA2C.load(path, env=env, device=device)
    except (ValueError, KeyError, EOFError, BadZipFile, OSError, AssertionError, RuntimeError) as error:
        cause = " ".join(str(error).split())
        if "spaces do not match" in cause:
            raise UserError(
                f"{path} was trained for other spaces ({cause}): give a run of its own maze"
            ) from error
        raise UserError(f"{path} cannot be loaded as a checkpoint ({cause}): choose another one") from error

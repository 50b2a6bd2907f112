"""A run's checkpoints: their names and formats, how many are kept, and the time spent."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from plasticrl.scripts.errors import UserError, one_line
from plasticrl.scripts.runs.folder import (
    CHECKPOINTS,
    CONFIG,
    has_file,
    read_json,
    refuse_checkpoints,
    refuse_linked,
    remove_whole,
    write_json,
)
from plasticrl.whole_files import UnfitFileError, kind_of, temporary_name

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from plasticrl.agents import EpisodeLearner, RecurrentA2C
    from plasticrl.envs.supervised.task import EpisodeTask
    from plasticrl.scripts.tasks.supervised.run import EpisodeRun


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
    from plasticrl.scripts.tasks.supervised.setup import learning_rate, network_kwargs

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


SPENT = "spent.json"


class Spent(NamedTuple):
    """Time in training, and what was done in it.

    Attributes:
        seconds: of all processes. What one did after its last checkpoint and had to be done again is not
            counted, nor is the evaluation.
        steps: taken in that time; episodes of a supervised task.
    """

    seconds: float = 0.0
    steps: int = 0


class TimeSpent:
    """A clock that starts with a process's part of a training, from the time of those before it.

    That is in the run's folder as ``spent.json``, for each checkpoint. It is not in the checkpoint, which
    would else be another file each time; nor in ``progress.csv``, whose rows may be far between.

    Args:
        folder: of the run.
        checkpoint: where the training goes on; None: it begins. Where nothing tells the time until then, as
            beside one that an older version wrote, that part is not counted, neither its time nor its steps.
        done: steps that it has behind it.
    """

    def __init__(self, folder: Path, checkpoint: Path | None, done: int) -> None:
        self._path = folder / SPENT
        self._before = Spent() if checkpoint is None else self._told().get(checkpoint.name, Spent())
        self._began, self._done = monotonic(), done

    def until_now(self, done: int) -> Spent:
        """The time until now.

        Args:
            done: steps that the training has behind it.
        """
        seconds, steps = self._before
        return Spent(seconds + monotonic() - self._began, steps + done - self._done)

    def tell(self, checkpoint: Path, done: int) -> None:
        """Write it down for whoever goes on from this checkpoint, which need not be there yet.

        Raises:
            OSError: the file cannot be written.
        """
        kept = {path.name for path in checkpoint.parent.iterdir()}
        told = {name: spent for name, spent in self._told().items() if name in kept}
        told[checkpoint.name] = self.until_now(done)
        write_json(self._path, {name: spent._asdict() for name, spent in told.items()})

    def forget(self) -> None:
        """Remove the file: the run's result tells the time now."""
        remove_whole(self._path)

    def _told(self) -> dict[str, Spent]:
        """By the checkpoint's name; nothing where there is no such file, or a damaged one."""
        try:
            found = read_json(self._path)
            return {name: Spent(float(one["seconds"]), int(one["steps"])) for name, one in found.items()}
        except (UserError, KeyError, TypeError, ValueError, OverflowError):
            return {}


DAMAGED = ".damaged"


@dataclass(frozen=True)
class CheckpointFolder:
    """The checkpoints of one run; only the process that trains it may use this.

    Attributes:
        path: the folder.
        keep: how many stay, the newest; None: all.
        time: tells of each checkpoint how long it took; None: nothing does.
    """

    path: Path
    keep: int | None
    time: TimeSpent | None = None

    def save(self, learner: Any) -> Path:
        """Write a checkpoint, whole or not at all, and only then remove those that are too many.

        Args:
            learner: has ``num_timesteps`` and ``save``.
        """
        saved = checkpoint_path(self.path, learner.num_timesteps)
        if self.time is not None:
            self.time.tell(saved, learner.num_timesteps)
        learner.save(saved)
        if self.keep is not None:
            for path in [path for path in self.newest_first() if kind_of(path) is None][self.keep :]:
                path.unlink()
        return saved

    def newest_first(self) -> list[Path]:
        """The checkpoints, whole or not."""
        return checkpoints_in(self.path)[::-1]

    def usable(self) -> Path | None:
        """The newest checkpoint that is whole; None where there is none.

        Each damaged one is told on stderr and set aside under another name, so that it does not count as
        one of those to keep. So is a link or a pipe, which is never opened. What a killed process left
        unfinished is removed.

        Raises:
            UserError: the folder is a link.
        """
        from plasticrl.agents.checkpoint.tensor_file import TensorFileError, read_tensors

        refuse_linked(self.path)
        for left in self.path.glob(temporary_name(CHECKPOINT_NAMES)):
            if kind_of(left) is None:
                left.unlink()
        found = self.newest_first()
        for path in found:
            try:
                if (kind := kind_of(path)) is not None:
                    raise UnfitFileError(path, f"{kind}, not a regular file")
                read_tensors(path)
            except (TensorFileError, OSError) as error:
                aside = path.rename(path.with_name(path.name + DAMAGED))
                instead = "the training begins anew" if path is found[-1] else "the one before it is used"
                print(
                    f"plasticrl: warning: {error}; it is set aside as {aside.name}, and {instead}",
                    file=sys.stderr,
                )
            else:
                return path
        return None

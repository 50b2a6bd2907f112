"""The time of a training is that of all processes that trained it, on a clock of updates."""

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

from plasticrl.scripts.experiments.paper import EXPERIMENTS
from plasticrl.scripts.experiments.training import train
from plasticrl.scripts.runs.logs import CSV
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import Report
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.scripts.settings.supervised import PatternsSettings

PAUSE = 1000.0  # between two processes


class Clock:
    """A second passes with each step of an optimiser, and none but for that."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def tick(self, *_: Any) -> None:
        self.now += 1


class Killed(BaseException):
    """As kill -9: nothing is saved after it."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr("plasticrl.scripts.experiments.training.time.monotonic", clock)
    monkeypatch.setattr("plasticrl.scripts.experiments.training._SHARE_BETWEEN_REPORTS", 0.0)
    hook = register_optimizer_step_post_hook(clock.tick)
    yield clock
    hook.remove()


def on_maze(name: str) -> Run:
    run = EXPERIMENTS["maze", "quick"].condition(name).run
    assert run.task == "maze"
    training = replace(run.training, total_timesteps=800, n_envs=4, eval_episodes=4, checkpoints=5)
    return run.with_groups(maze=replace(run.maze, size=5, episode_length=20), training=training)


@cache
def small(name: str) -> Run:
    """Ten updates, or so many episodes of ten patterns."""
    if name == "patterns":
        run = EXPERIMENTS["patterns", "quick"].condition("plastic").run
        assert run.learner == "supervised"
        assert isinstance(run.settings, PatternsSettings)
        training = replace(run.training, total_episodes=10, eval_episodes=2, checkpoints=5)
        return run.with_groups(patterns=replace(run.settings, n_bits=12, n_cycles=1), training=training)
    run = on_maze(name)
    if run.learner == "sb3_contrib":
        return run.with_groups(ppo=replace(run.ppo, hidden_size=6, n_steps=20, batch_size=40, n_epochs=2))
    assert run.learner == "a2c"
    return run.with_groups(agent=replace(run.agent, hidden_size=6))


def trained(run: Run, root: Path, report: Callable[[Report], None] = lambda _: None) -> Path:
    train(run, OutputSettings(root=root, threads=1, device="cpu", quiet=True), report)
    return run.folder(root)


def time_of(folder: Path) -> tuple[float, float]:
    result = json.loads((folder / "result.json").read_text())
    return result["seconds"], result["steps_per_second"]


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def kill() -> None:
    raise Killed


def ending(end: Callable[[], None], after: int) -> Callable[[Report], None]:
    reports = count(1)

    def report(_: Report) -> None:
        if next(reports) == after:
            end()

    return report


@pytest.mark.parametrize("ends", [[interrupt], [kill], [interrupt, kill, interrupt], [kill, kill, interrupt]])
@pytest.mark.parametrize("name", ["plastic", "recurrent_ppo", "patterns"])
def test_it_is_the_same_however_often_a_training_is_stopped(
    name: str, ends: list[Callable[[], None]], tmp_path: Path, clock: Clock
) -> None:
    run = small(name)
    whole = trained(run, tmp_path / "whole")
    assert time_of(whole) == (clock.now, pytest.approx(run.total / clock.now, abs=0.1))
    for end in ends:
        with pytest.raises((KeyboardInterrupt, Killed)):
            trained(run, tmp_path / "stopped", ending(end, after=3))
        clock.now += PAUSE
    seconds, speed = time_of(trained(run, tmp_path / "stopped"))
    # RecurrentPPO writes the row of a rollout before its update, whose time is lost if a process ends then.
    lost = time_of(whole)[0] - seconds
    assert lost == 0 or (name == "recurrent_ppo" and 0 < lost <= len(ends) * time_of(whole)[0] / 10)
    assert speed == pytest.approx(run.total / seconds, abs=0.1)


@pytest.mark.parametrize("stops", [[], [3], [2, 3]])
def test_without_the_time_in_its_log_only_later_steps_are_counted(
    stops: list[int], tmp_path: Path, clock: Clock
) -> None:
    """An older version wrote the checkpoint, and the time to another file."""
    run = small("patterns")
    with pytest.raises(KeyboardInterrupt):
        trained(run, tmp_path, ending(interrupt, after=4))
    folder = run.folder(tmp_path)
    header, *rows = [line.split(",") for line in (folder / CSV).read_text().splitlines()]
    place = header.index("time/seconds")
    (folder / CSV).write_text("".join(",".join(r[:place] + r[place + 1 :]) + "\n" for r in [header, *rows]))
    (folder / "spent.json").write_text('{"step_000000000004.safetensors": {"seconds": 4.0, "steps": 4}}')
    for after in stops:
        with pytest.raises(KeyboardInterrupt):
            trained(run, tmp_path, ending(interrupt, after))
        clock.now += PAUSE
    assert time_of(trained(run, tmp_path)) == (6.0, 1.0)


def test_lost_work_is_not_counted(tmp_path: Path, clock: Clock) -> None:
    run = small("patterns")
    with pytest.raises(KeyboardInterrupt):
        trained(run, tmp_path, ending(interrupt, after=7))
    newest = max((run.folder(tmp_path) / "checkpoints").glob("step_*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    seconds, speed = time_of(trained(run, tmp_path))
    assert 9.0 <= seconds <= 10.0
    assert speed == pytest.approx(10 / seconds, abs=0.1)

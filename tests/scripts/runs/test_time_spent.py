"""The time of a training is that of all processes that had a part in it, on a clock of updates."""

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
from plasticrl.scripts.runs import callbacks as training_callbacks
from plasticrl.scripts.runs import checkpoints as time_spent
from plasticrl.scripts.runs.checkpoints import SPENT, Spent, TimeSpent
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
    monkeypatch.setattr(time_spent, "monotonic", clock)
    monkeypatch.setattr(training_callbacks, "_SECONDS_BETWEEN_REPORTS", 0.0)
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
    if run.learner == "ppo":
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
    stopped = trained(run, tmp_path / "stopped")
    assert time_of(stopped) == time_of(whole)
    assert not (stopped / SPENT).exists()  # the result tells it now


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"step": 3}', "half of {"])
def test_what_nothing_tells_is_not_counted_neither_its_time_nor_its_steps(
    content: str | None, tmp_path: Path, clock: Clock
) -> None:
    """As where an older version wrote the checkpoint."""
    run = small("patterns")
    with pytest.raises(KeyboardInterrupt):
        trained(run, tmp_path, ending(interrupt, after=4))
    path = run.folder(tmp_path) / SPENT
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert time_of(trained(run, tmp_path)) == (6.0, 1.0)


def test_after_a_damaged_checkpoint_it_is_that_of_the_one_before(tmp_path: Path, clock: Clock) -> None:
    run = small("patterns")
    with pytest.raises(KeyboardInterrupt):
        trained(run, tmp_path, ending(interrupt, after=7))
    newest = max((run.folder(tmp_path) / "checkpoints").glob("step_*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    assert time_of(trained(run, tmp_path)) == (10.0, 1.0)


def test_only_checkpoints_that_are_kept_are_told(tmp_path: Path, clock: Clock) -> None:
    spent = TimeSpent(tmp_path, None, 0)
    places = [tmp_path / "checkpoints" / f"step_{number}" for number in range(4)]
    places[0].parent.mkdir()
    for number, place in enumerate(places):
        spent.tell(place, 10 * number)
        place.touch()
        clock.tick()
    places[1].unlink()
    spent.tell(places[0], 40)
    assert list(json.loads((tmp_path / SPENT).read_text())) == ["step_0", "step_2", "step_3"]
    assert TimeSpent(tmp_path, places[3], 30).until_now(35) == Spent(3.0, 35)

import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from plasticrl.envs import PlasticMazeVectorEnv
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.folder import read_run
from plasticrl.scripts.tasks.environments.animation import play
from plasticrl.scripts.tasks.environments.setup import load_to_act
from plasticrl.scripts.tasks.environments.training import make_trainer


def test_gif(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "episode.gif"
    assert main(["watch", str(trained), "--gif", str(path), "--fps", "10"]) == 0
    assert str(path) in capsys.readouterr().out
    assert [found.name for found in tmp_path.iterdir()] == ["episode.gif"]
    assert path.stat().st_size < 2_000_000
    with Image.open(path) as image:
        assert image.format == "GIF"
        assert image.size == (384, 384)
        assert image.info["duration"] == 100
        assert image.info["loop"] == 0


def test_gif_of_the_papers_maze_stays_small(tmp_path: Path, tiny: list[str]) -> None:
    options = [*tiny, "--size", "9", "--episode-length", "250", "--total-timesteps", "1"]
    assert main(["train", "maze", "--root", str(tmp_path), *options]) == 0
    path = tmp_path / "episode.gif"
    assert main(["watch", str(tmp_path / "maze" / "plastic" / "seed_0"), "--gif", str(path)]) == 0
    assert path.stat().st_size < 2_000_000


def test_text(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(trained), "--seed", "5"]) == 0
    shown = capsys.readouterr().out
    frames = shown.strip().split("\n\n")
    assert [frame.split()[1] for frame in frames] == [f"{step}/20" for step in range(20)]
    assert all(frame.count("A") == 1 for frame in frames)
    assert main(["watch", str(trained), "--seed", "5"]) == 0
    assert capsys.readouterr().out == shown


def test_before_and_after_are_shown_in_the_same_maze(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = ["--learning-rate", "0.3", "--max-grad-norm", "100"]  # so that the agent does something else
    assert main(["train", "maze", "--root", str(tmp_path), *tiny, *fast]) == 0
    trained = tmp_path / "maze" / "plastic" / "seed_0"
    path = tmp_path / "both.gif"
    assert main(["watch", str(trained), "--gif", str(path), "--before", "--seed", "5"]) == 0
    with Image.open(path) as picture:
        assert picture.size == (576, 302)
        pictures = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)]
    assert np.array_equal(pictures[0][14:, :288], pictures[0][14:, 288:])  # both start at the same place
    assert not np.array_equal(pictures[-1][14:, :288], pictures[-1][14:, 288:])
    capsys.readouterr()
    assert main(["watch", str(trained), "--seed", "5"]) == 0
    after = capsys.readouterr().out.split("\n\n")
    assert main(["watch", str(trained), "--seed", "5", "--before"]) == 0
    both = capsys.readouterr().out.split("\n\n")
    assert len(both) == len(after)
    for frame, right in zip(both, after, strict=True):
        captions, *lines = frame.splitlines()
        assert captions.split() == ["before", "training", "after"]
        for line, end in zip(lines, right.splitlines(), strict=True):
            assert line.endswith(end)
    untrained = make_trainer(read_run(trained), "cpu").learner  # type: ignore[arg-type]
    with_left = play(untrained, read_run(trained).maze, mode="ansi", seed=5)  # type: ignore[attr-defined]
    for frame, left in zip(both, with_left, strict=True):
        for line, start in zip(frame.splitlines()[1:], left.splitlines(), strict=True):
            assert line.startswith(start)


def steps_before_frames(words: list[str], terminal: bool, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps the mazes had taken when each frame was written."""
    taken, found, step = [0], list[int](), PlasticMazeVectorEnv.step

    def stepped(env: PlasticMazeVectorEnv, actions: Any) -> Any:
        taken[0] += 1
        return step(env, actions)

    class Output(StringIO):
        def isatty(self) -> bool:
            return terminal

        def flush(self) -> None:
            frames = self.getvalue().count("/20  rewards") // (2 if "--before" in words else 1)
            found.extend(taken * (frames - len(found)))

    monkeypatch.setattr(PlasticMazeVectorEnv, "step", stepped)
    monkeypatch.setattr(sys, "stdout", Output())
    assert main(words) == 0
    return found


@pytest.mark.parametrize("terminal", [False, True])
def test_the_episode_is_shown_while_it_is_played(
    terminal: bool, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["watch", str(trained), "--fps", "1000"]
    with monkeypatch.context() as patch:
        assert steps_before_frames(words, terminal, patch) == list(range(20))
    with monkeypatch.context() as patch:
        both = steps_before_frames([*words, "--before"], terminal, patch)
    assert both == list(range(0, 40, 2))


def test_random_numbers_of_ones_own_are_left_alone_between_frames(trained: Path) -> None:
    """The episode is the same whatever is drawn meanwhile, and what is drawn is, too."""
    run = read_run(trained)
    assert run.task == "maze"
    agent = load_to_act(run, next((trained / "checkpoints").iterdir()), "cpu")
    whole = list(play(agent, run.maze, mode="ansi", seed=5))
    torch.manual_seed(1)
    frames, drawn = [], []
    for frame in play(agent, run.maze, mode="ansi", seed=5):
        frames.append(frame)
        drawn.append(torch.rand(3))
    assert frames == whole
    torch.manual_seed(1)
    assert all(torch.equal(numbers, torch.rand(3)) for numbers in drawn)

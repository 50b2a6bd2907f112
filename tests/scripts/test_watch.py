import sys
from io import StringIO
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from refusals import check_refused

from plasticrl.envs import PlasticMazeVectorEnv
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.folder import read_run
from plasticrl.scripts.tasks.environments.animation import in_step, mp4, play, side_by_side
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


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # of the pipes of imageio_ffmpeg
@pytest.mark.parametrize("option", [[], ["--before"]], ids=["alone", "both"])
def test_video(option: list[str], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="videos need the extra 'render'")
    path = tmp_path / "episode.mp4"
    assert main(["watch", str(trained), "--mp4", str(path), "--fps", "10", *option]) == 0
    assert capsys.readouterr().out == f"video: {path}\n"
    assert [found.name for found in tmp_path.iterdir()] == ["episode.mp4"]
    assert ffmpeg.count_frames_and_secs(path) == (20, pytest.approx(2.0, abs=0.15))
    frames = ffmpeg.read_frames(path)
    about = next(frames)
    assert about["size"] == about["source_size"] == ((576, 302) if option else (384, 384))
    assert about["fps"] == 10


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # of the pipes of imageio_ffmpeg
def test_video_of_what_a_gif_shows(trained: Path, tmp_path: Path) -> None:
    """Up to the losses of both formats, and in a size with odd sides."""
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="videos need the extra 'render'")
    pictures = [np.full((31, 45, 3), (20 * i, 100, 200 - 20 * i), dtype=np.uint8) for i in range(5)]
    (tmp_path / "a.mp4").write_bytes(mp4(pictures, 7.5))
    frames = ffmpeg.read_frames(tmp_path / "a.mp4")
    assert next(frames)["source_size"] == (46, 32)
    shown = [np.frombuffer(frame, np.uint8).reshape(32, 46, 3) for frame in frames]
    assert len(shown) == 5
    for picture, frame in zip(pictures, shown, strict=True):
        assert np.abs(frame.astype(int) - picture[0, 0]).max() < 16


def test_video_without_the_package(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("plasticrl.scripts.tasks.environments.animation.find_spec", lambda _: None)
    words = ["watch", str(trained), "--mp4", str(tmp_path / "a.mp4")]
    check_refused(words, "pip install 'plasticrl[render]'", capsys)
    assert list(tmp_path.iterdir()) == []


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
    with_left = play(untrained, read_run(trained), mode="ansi", seed=5)  # type: ignore[attr-defined]
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
    whole = list(play(agent, run, mode="ansi", seed=5))
    torch.manual_seed(1)
    frames, drawn = [], []
    for frame in play(agent, run, mode="ansi", seed=5):
        frames.append(frame)
        drawn.append(torch.rand(3))
    assert frames == whole
    torch.manual_seed(1)
    assert all(torch.equal(numbers, torch.rand(3)) for numbers in drawn)


SMALL = [
    *["--n-envs", "2", "--n-steps", "8", "--hidden-size", "4", "--eval-episodes", "2"],
    *["--total-timesteps", "32", "--checkpoints", "1", "--threads", "1", "--quiet"],
]


@pytest.mark.parametrize("options", [[], ["--normalize"]], ids=" ".join)
def test_an_environment_is_watched_as_a_gif(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It draws pictures, and no text; where one agent is over, its last picture stays."""
    pytest.importorskip("pygame")
    words = ["train", "CartPole-v1", "--env-kwargs", "max_episode_steps=9", *options]
    assert main([*words, *SMALL, "--root", str(tmp_path)]) == 0
    folder, path = tmp_path / "CartPole-v1" / "plastic" / "seed_0", tmp_path / "episode.gif"
    assert main(["watch", str(folder), "--gif", str(path)]) == 0
    with Image.open(path) as picture:
        assert picture.size == (600, 400)
        assert 1 < getattr(picture, "n_frames", 1) <= 9
    assert main(["watch", str(folder), "--gif", str(path), "--before"]) == 0
    with Image.open(path) as picture:
        assert picture.size == (1200, 414)
    capsys.readouterr()
    assert main(["watch", str(folder)]) == 2
    assert "CartPole-v1 shows itself only as pictures: give --gif FILE" in capsys.readouterr().err


def test_an_environment_is_watched_in_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "FrozenLake-v1", "--env-kwargs", "is_slippery=false", "max_episode_steps=5"]
    assert main([*words, *SMALL, "--root", str(tmp_path)]) == 0
    folder = tmp_path / "FrozenLake-v1" / "plastic" / "seed_0"
    capsys.readouterr()
    assert main(["watch", str(folder)]) == 0
    alone = capsys.readouterr().out
    assert 1 <= alone.count("FHFH") <= 5
    assert main(["watch", str(folder), "--before"]) == 0
    both = capsys.readouterr().out
    assert both.count("before training") == max(both.count("FHFH") // 2, 1)


class Blind(gym.Env[Any, Any]):
    """An environment that cannot be drawn."""

    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        return 1, 0.0, True, False, {}


def test_an_environment_that_shows_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gym.register("Blind-v0", Blind)
    try:
        assert main(["train", "Blind-v0", *SMALL, "--root", str(tmp_path)]) == 0
        folder = tmp_path / "Blind-v0" / "plastic" / "seed_0"
        capsys.readouterr()
        for options in ([], ["--gif", str(tmp_path / "a.gif")]):
            assert main(["watch", str(folder), *options]) == 2
            told = capsys.readouterr().err
            assert "Blind-v0 cannot be watched: an environment needs the render mode rgb_array or " in told
            assert told.endswith("and it has none\n")
    finally:
        del gym.registry["Blind-v0"]


def test_frames_side_by_side() -> None:
    assert list(in_step([["a", "b", "c"], ["d"]])) == [("a", "d"), ("b", "d"), ("c", "d")]
    colored = "\x1b[41mA\x1b[0m"
    assert side_by_side(f"x{colored}\ny", "z") == f"x{colored}   z\ny"

"""Commands close the environments that they make, also where they fail or are interrupted."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plasticrl.envs import PlasticMazeVectorEnv
from plasticrl.scripts.experiments.executors import InProcess
from plasticrl.scripts.experiments.experiment import Trial
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.folder import read_run
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.scripts.tasks.environments.animation import play
from plasticrl.scripts.tasks.environments.setup import load_to_act


class Envs:
    """Those made since, and of them those that are open; may stop whoever takes the next steps."""

    def __init__(self) -> None:
        self.made = 0
        self.open: set[int] = set()
        self.steps_left: int | None = None
        self.stop: BaseException = KeyboardInterrupt()


@pytest.fixture
def envs(monkeypatch: pytest.MonkeyPatch, trained: Path) -> Iterator[Envs]:
    """Ends with the check that something was made, and nothing is open."""
    counted = Envs()
    make, step = PlasticMazeVectorEnv.__init__, PlasticMazeVectorEnv.step

    def made(env: PlasticMazeVectorEnv, *args: Any, **options: Any) -> None:
        make(env, *args, **options)
        counted.made += 1
        counted.open.add(id(env))

    def stepped(env: PlasticMazeVectorEnv, actions: Any) -> Any:
        if counted.steps_left is not None:
            counted.steps_left -= 1
            if counted.steps_left < 0:
                raise counted.stop
        return step(env, actions)

    def closed(env: PlasticMazeVectorEnv, **_: Any) -> None:
        counted.open.remove(id(env))  # an env is closed once

    monkeypatch.setattr(PlasticMazeVectorEnv, "__init__", made)
    monkeypatch.setattr(PlasticMazeVectorEnv, "step", stepped)
    monkeypatch.setattr(PlasticMazeVectorEnv, "close_extras", closed)
    yield counted
    assert counted.made
    assert not counted.open


COMMANDS = {
    "train": ["train", "maze", "--root", "{root}", "{tiny}"],
    "compare": ["compare", "maze", "--root", "{root}", "--seeds", "1", "--jobs", "1", "{tiny}"],
    "evaluate": ["evaluate", "{run}"],
    "lesion": ["evaluate", "{run}", "--lesion", "frozen", "--lesion-step", "3"],
    "elsewhere": ["evaluate", "{run}", "--size", "7"],
    "watch": ["watch", "{run}"],
    "both": ["watch", "{run}", "--before"],
    "gif": ["watch", "{run}", "--before", "--gif", "{root}/episode.gif"],
}


def words(name: str, run: Path, root: Path, tiny: list[str]) -> list[str]:
    found = []
    for word in COMMANDS[name]:
        found += tiny if word == "{tiny}" else [word.format(run=run, root=root)]
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_after_a_command(name: str, envs: Envs, trained: Path, tmp_path: Path, tiny: list[str]) -> None:
    assert main(words(name, trained, tmp_path, tiny)) == 0


@pytest.mark.parametrize("steps", [0, 7])
@pytest.mark.parametrize("name", COMMANDS)
def test_after_ctrl_c(
    name: str, steps: int, envs: Envs, trained: Path, tmp_path: Path, tiny: list[str]
) -> None:
    envs.steps_left = steps
    assert main(words(name, trained, tmp_path, tiny)) == 130


@pytest.mark.parametrize("name", COMMANDS)
def test_after_an_error(name: str, envs: Envs, trained: Path, tmp_path: Path, tiny: list[str]) -> None:
    envs.steps_left, envs.stop = 3, LookupError("of the environment")
    if name == "compare":  # a run that fails does not stop the others
        assert main(words(name, trained, tmp_path, tiny)) == 2
    else:
        with pytest.raises(LookupError, match="of the environment"):
            main(words(name, trained, tmp_path, tiny))


def test_after_a_wrong_setting(envs: Envs, tmp_path: Path, tiny: list[str]) -> None:
    assert main(["train", "maze", "--root", str(tmp_path), *tiny, "--hidden-size", "0"]) == 2


@pytest.mark.parametrize("name", ["evaluate", "lesion", "watch", "both", "gif"])
def test_after_a_damaged_checkpoint(
    name: str, envs: Envs, trained: Path, tmp_path: Path, tiny: list[str]
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    for checkpoint in (run / "checkpoints").iterdir():
        checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    assert main(words(name, run, tmp_path, tiny)) == 2


def test_a_demo(envs: Envs, tmp_path: Path) -> None:
    options = ["--seeds", "1", "--jobs", "1", "--total-timesteps", "4000", "--quiet"]
    assert main(["demo", "--root", str(tmp_path), *options]) == 0


def test_a_reproduction(envs: Envs, trained: Path, tmp_path: Path) -> None:
    """Its trainings are those of an executor."""
    run = read_run(trained)
    output = OutputSettings(root=tmp_path, threads=1, device="cpu", quiet=True)
    assert InProcess(output).run([Trial(run, tmp_path, "a run")], lambda _: None) == {}


def test_an_episode_that_nobody_watches_to_its_end(envs: Envs, trained: Path) -> None:
    run = read_run(trained)
    assert run.task == "maze"
    agent = load_to_act(run, next((trained / "checkpoints").iterdir()), "cpu")
    frames = play(agent, run, mode="ansi", seed=0)
    next(frames)
    assert len(envs.open) == 1
    frames.close()

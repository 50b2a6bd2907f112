"""The benchmark of what the defaults learn: its tasks, its command, and the page with its numbers."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from plasticrl.scripts import learning

ROOT = Path(__file__).parents[2]
OWN = [name for name, task in learning.TASKS.items() if not task.needs]


@pytest.mark.parametrize("name", OWN)
def test_observations_of_every_task_are_in_their_space(name: str) -> None:
    env = learning.TASKS[name].make()
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    over = False
    while not over:
        assert env.observation_space.contains(observation)
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        over = terminated or truncated


def test_the_command_keeps_scores_and_trains_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(learning, "ProcessPoolExecutor", InProcess)
    monkeypatch.setattr(learning, "score", lambda algo, task, core, seed: float(len(core) + seed % 10))
    settings: dict[str, Any] = {"tasks": ("recall_5",), "cores": ("rnn", "gru"), "out": tmp_path}
    learning.main(learning.Learning(**settings, seeds=1))
    first = json.loads((tmp_path / "recall_5.json").read_text())
    assert first == {"rnn": {"2000": 3.0}, "gru": {"2000": 3.0}}
    (tmp_path / "recall_5.json").write_text(json.dumps({**first, "rnn": {"2000": 7.0}}))
    learning.main(learning.Learning(**settings, seeds=2))
    assert json.loads((tmp_path / "recall_5.json").read_text()) == {
        "rnn": {"2000": 7.0, "2001": 4.0},
        "gru": {"2000": 3.0, "2001": 4.0},
    }
    assert re.search(r"rnn +5\.50 +7\.00  4\.00", capsys.readouterr().out)


def test_the_scores_of_ppo_have_a_folder_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(learning, "ProcessPoolExecutor", InProcess)
    monkeypatch.setattr(learning, "score", lambda *run: seen.append(run) or 1.0)
    learning.main(learning.Learning("ppo", ("cartpole",), ("lstm",), seeds=2, first_seed=7, out=tmp_path))
    assert seen == [("ppo", "cartpole", "lstm", 7), ("ppo", "cartpole", "lstm", 8)]
    assert json.loads((tmp_path / "ppo" / "cartpole.json").read_text()) == {"lstm": {"7": 1.0, "8": 1.0}}


@pytest.mark.parametrize("algo", learning.LEARNERS)
def test_a_score_is_that_of_a_trained_agent(algo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single rollout teaches nothing: about half of the bits."""
    monkeypatch.setitem(learning.TASKS, "recall_5", learning.TASKS["recall_5"]._replace(steps=1))
    monkeypatch.setattr(learning, "EPISODES", 40)
    assert 0.1 < learning.score(algo, "recall_5", "lstm", 0) < 0.9


class InProcess:
    """Stands for the pool of processes, which cannot see a patched function."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, function: Any, *arguments: Any) -> Any:
        from concurrent.futures import Future

        done: Future[float] = Future()
        done.set_result(function(*arguments))
        return done


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tasks": ("chess",)}, "there is no task chess; there are recall_5"),
        ({"cores": ("transformer",)}, "there is no core transformer; there are plastic"),
    ],
)
def test_an_unknown_name_is_refused(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=message):
        learning.main(learning.Learning(**changed, out=tmp_path))


def test_the_page_has_the_scores_of_the_files() -> None:
    page = (ROOT / "docs/learning.md").read_text()
    rows = table(page.partition("## On the maze")[0])
    tasks = [cell.strip().strip("`") for cell in rows["core"]]
    for core in learning.CORE_NAMES:
        for task, cell in zip(tasks, rows[f"`{core}`"], strict=True):
            scores = json.loads((ROOT / f"results/learning/{task}.json").read_text())[core]
            assert len(scores) == 5
            mean, lowest = np.mean(list(scores.values())), min(scores.values())
            form = "{:.2f} ({:.2f})" if task.startswith("recall") else "{:.0f} ({:.0f})"
            assert cell.strip() == form.format(mean, lowest)


def test_the_page_has_the_scores_on_the_maze() -> None:
    rows = table((ROOT / "docs/learning.md").read_text().partition("## On the maze")[2])
    files = ("maze_ppo", "maze_ppo_random", "maze_ppo_128_envs", "maze_ppo_128_envs_5m")
    scores = [json.loads((ROOT / f"results/learning/{name}.json").read_text()) for name in files]
    cores = {core for one in scores for core in one}
    assert rows.keys() - {"core", "---"} == {f"`{core}`" for core in cores}
    for core in cores:
        cells = ["" if core not in one else spread(list(one[core].values())) for one in scores]
        assert rows[f"`{core}`"] == cells


def test_the_page_has_the_scores_of_long_trainings() -> None:
    scores = json.loads((ROOT / "results/learning/maze_ppo_64_envs_10m.json").read_text())
    found = {core: f"{runs['2000']:.1f}" for core, runs in scores.items()}
    page = " ".join((ROOT / "docs/learning.md").read_text().split())
    assert found["lstm"] == found["plastic_lstm"]
    assert f"with 64 environments both have {found['lstm']} points" in page
    assert f"the plain plastic network has {found['plastic']} (seed 2000" in page


def table(page: str) -> dict[str, list[str]]:
    """Return the cells of each row of a page's table by the first one."""
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in page.splitlines() if row[:1] == "|"]
    return {first: others for first, *others in rows}


def spread(scores: list[float]) -> str:
    return f"{np.mean(scores):.1f} ({min(scores):.1f}, {max(scores):.1f}; {len(scores)})"


@pytest.mark.parametrize(
    ("name", "cores"), [("5m", ("lstm", "plastic_lstm")), ("25m", ("plastic_lstm", "plastic"))]
)
def test_the_page_has_the_scores_of_a2c_on_the_maze(name: str, cores: tuple[str, ...]) -> None:
    page = (ROOT / "docs/learning.md").read_text()
    found = json.loads((ROOT / f"results/learning/maze_a2c_{name}.json").read_text())["cores"]
    means = {one["core"]: np.mean(one["scores"]) for one in found}
    assert means.keys() == set(cores)
    for mean in means.values():
        assert f"{mean:.1f}" in page
    if name == "5m":
        ours, other = (next(one["scores"] for one in found if one["core"] == core) for core in cores[::-1])
        assert f"p = {mannwhitneyu(ours, other).pvalue:.2f}" in page

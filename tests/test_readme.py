"""What the README shows must run as it is written."""

import json
import re
import runpy
from pathlib import Path
from statistics import fmean

import pytest
import torch

from plasticrl.agents.pretrained.registry import pretrained_folder

ROOT = Path(__file__).parents[1]


README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_it_is_short() -> None:
    lines = README.splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 110] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=["learns", "saves", "network"])
def test_examples_run_as_written(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len([line for line in example.splitlines() if line]) <= 15
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two wait for each other for minutes where other tests share the processors
    script = tmp_path / "example.py"
    script.write_text(example)
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    points = {core: int(found) for core, found in re.findall(r"^(\w+): (\d+) of 500 points$", printed, re.M)}
    assert ("of 500 points" in example) == (points.keys() == {"plastic", "feedforward"})
    if points:
        assert points["plastic"] > 400 > 100 > points["feedforward"]


def test_points_on_the_maze_are_those_of_the_runs() -> None:
    scores = {
        name: json.loads((ROOT / "results" / "learning" / f"{name}.json").read_text())
        for name in ("maze_ppo", "maze_ppo_random", "maze_ppo_128_envs")
    }

    def mean(name: str, core: str) -> str:
        return f"{fmean(scores[name][core].values()):.0f}"

    row = "plastic GRU {}, plastic LSTM {}, GRU {}, LSTM {} (3 seeds)"
    cores = ("plastic_gru", "plastic_lstm", "gru", "lstm")
    assert row.format(*(mean("maze_ppo", core) for core in cores)) in README
    few = (mean("maze_ppo_128_envs", core) for core in ("plastic_lstm", "lstm"))
    assert "128 envs: {} points, LSTM {} (10 seeds".format(*few) in README
    row = "GRU {}, plastic GRU {}, plastic LSTM {}, LSTM {} (3 seeds)"
    cores = ("gru", "plastic_gru", "plastic_lstm", "lstm")
    assert row.format(*(mean("maze_ppo_random", core) for core in cores)) in README
    card = json.loads((pretrained_folder("maze") / "result.json").read_text())["evaluation"]
    assert f"{card['mean_reward']:.0f} points per episode; acting at random: 0" in README


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "docs/architecture.md",
        "docs/commands.md",
        "docs/export.md",
        "docs/learning.md",
        "docs/memory-benchmark.md",
        "docs/networks.md",
        "docs/reliability.md",
        "docs/performance.md",
        "docs/results.md",
        "docs/scaling.md",
        "docs/supervised.md",
    ],
)
def test_links_and_pictures_exist(name: str) -> None:
    page = ROOT / name
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_make_commands_exist() -> None:
    shown = set(re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= shown <= targets


def test_modules_that_the_architecture_names_exist() -> None:
    tracked = [ROOT / folder for folder in ("plasticrl", "envs", "agents", "scripts", "tests")]
    modules = {str(path.relative_to(ROOT)) for folder in tracked for path in folder.rglob("*.py")}
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = [name for name in re.findall(r"`([\w/]+\.py)`", page) if "NAME" not in name]
    assert len(named) > 40
    assert [name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in modules)] == []

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from plasticrl.scripts.main import main
from plasticrl.scripts.reports.statistics import estimate
from plasticrl.scripts.settings.tasks import TASKS

CORES = ("plastic", "rnn")


def compare(root: Path, supervised: Any, *more: str, seeds: int = 2) -> int:
    options = ["--cores", *CORES, "--root", str(root), "--seeds", str(seeds), *supervised.options]
    return main(["compare", supervised.task, *options, *more])


@pytest.fixture(scope="module")
def compared(supervised: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("compared")
    assert compare(root, supervised, "--jobs", "1") == 0
    return root / supervised.task


def evaluations(folder: Path, core: str) -> list[dict[str, Any]]:
    paths = sorted(folder.glob(f"{core}/seed_*/result.json"))
    return [json.loads(path.read_text())["evaluation"] for path in paths]


def test_table_is_that_of_the_result_files(supervised: Any, compared: Path) -> None:
    data = json.loads((compared / "comparison.json").read_text())
    with (compared / "comparison.csv").open(newline="") as file:
        rows = {row["network"]: row for row in csv.DictReader(file)}
    assert set(rows) == {*CORES, *data["references"]}
    for metric in TASKS[supervised.task].metrics:
        for core in CORES:
            scores = [one["metrics"][metric.name]["mean"] for one in evaluations(compared, core)]
            found = data["cores"][core][metric.name]
            assert found["scores"] == scores
            assert tuple(found[name] for name in ("middle", "low", "high")) == pytest.approx(estimate(scores))
            columns = (metric.name, f"{metric.name}_low", f"{metric.name}_high")
            expected = [found[name] for name in ("middle", "low", "high")]
            assert [float(rows[core][column]) for column in columns] == pytest.approx(expected)
        for reference, values in data["references"].items():
            told = [one["references"][reference] for core in CORES for one in evaluations(compared, core)]
            each = [one[metric.name] for one in told]
            mean = None if None in each else pytest.approx(sum(each) / len(each))
            assert values[metric.name] == mean
            assert rows[reference][metric.name] == ("" if mean is None else str(values[metric.name]))


def test_best_comes_first(supervised: Any, compared: Path) -> None:
    data = json.loads((compared / "comparison.json").read_text())
    main_metric = TASKS[supervised.task].metrics[0]
    ranked = [one[main_metric.name]["middle"] * main_metric.sign for one in data["cores"].values()]
    assert ranked == sorted(ranked, reverse=True)


def test_picture(compared: Path) -> None:
    with Image.open(compared / "learning_curves.png") as image:
        assert image.format == "PNG"
        assert min(image.size) >= 400


def test_finished_runs_are_kept_and_shown_again(
    supervised: Any, compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in compared.glob("*/*/result.json")}
    assert compare(compared.parent, supervised, "--jobs", "1") == 0
    assert {path: path.stat().st_mtime_ns for path in compared.glob("*/*/result.json")} == before
    shown = capsys.readouterr().out
    data = json.loads((compared / "comparison.json").read_text())
    for metric in TASKS[supervised.task].metrics:
        assert metric.label in shown
        assert all(metric.form(one[metric.name]["middle"]) in shown for one in data["cores"].values())
    assert all(reference in shown for reference in data["references"])


def test_other_settings_are_refused(
    supervised: Any, compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(compared.parent, supervised, "--jobs", "1", "--learning-rate", "0.5") == 2
    assert "learning_rate was" in capsys.readouterr().err


@pytest.mark.parametrize("supervised", ["patterns"], indirect=True)
def test_side_by_side_gives_what_one_after_the_other_gives(
    supervised: Any, compared: Path, tmp_path: Path
) -> None:
    assert compare(tmp_path, supervised, "--jobs", "2", seeds=1) == 0
    for core in CORES:
        assert evaluations(tmp_path / "patterns", core) == evaluations(compared, core)[:1]

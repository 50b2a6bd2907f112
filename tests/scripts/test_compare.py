import csv
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from plasticrl.scripts.main import main
from plasticrl.scripts.reports.statistics import estimate, interquartile_mean


def compare(root: Path, *more: str) -> int:
    return main(["compare", "maze", "--root", str(root), "--seeds", "2", *more])


def results(root: Path, core: str) -> list[float]:
    paths = sorted((root / "maze" / core).glob("seed_*/result.json"))
    return [json.loads(path.read_text())["evaluation"]["mean_reward"] for path in paths]


def finished_at(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.glob("maze/*/*/result.json")}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, tiny: list[str]) -> Path:
    root = tmp_path_factory.mktemp("compared")
    assert compare(root, "--cores", "plastic", "rnn", "--jobs", "1", *tiny) == 0
    return root


def test_table_is_that_of_the_result_files(compared: Path) -> None:
    data = json.loads((compared / "maze" / "comparison.json").read_text())
    with (compared / "maze" / "comparison.csv").open(newline="") as file:
        rows = {row["agent"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"oracle", "belief agent", "random", "plastic", "rnn"}
    for core in data["cores"]:
        scores = results(compared, core["core"])
        assert core["scores"] == scores
        assert (core["reward"], core["low"], core["high"]) == pytest.approx(estimate(scores))
        scale = data["oracle"] - data["random"]
        assert core["share"] == pytest.approx((np.mean(scores) - data["random"]) / scale)
        row = rows[core["core"]]
        assert [float(row[name]) for name in ("reward", "low", "high", "share")] == pytest.approx(
            [core[name] for name in ("reward", "low", "high", "share")]
        )
    assert [core["reward"] for core in data["cores"]] == sorted(
        (core["reward"] for core in data["cores"]), reverse=True
    )


def test_first_seed_is_where_the_seeds_begin(tmp_path: Path, tiny: list[str]) -> None:
    assert compare(tmp_path, "--first-seed", "5", "--cores", "rnn", "--jobs", "1", *tiny) == 0
    assert sorted(one.name for one in (tmp_path / "maze" / "rnn").iterdir()) == ["seed_5", "seed_6"]
    data = json.loads((tmp_path / "maze" / "comparison.json").read_text())
    assert data["cores"][0]["scores"] == results(tmp_path, "rnn")


def test_picture(compared: Path) -> None:
    with Image.open(compared / "maze" / "learning_curves.png") as image:
        assert image.format == "PNG"
        assert min(image.size) >= 400


def test_finished_runs_are_kept_and_missing_ones_trained(
    compared: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = finished_at(compared)
    assert compare(compared, "--cores", "plastic", "gru", "--jobs", "1", *tiny) == 0
    after = finished_at(compared)
    assert {path: after[path] for path in before} == before
    assert len(results(compared, "gru")) == 2
    shown = capsys.readouterr().out
    assert f"{interquartile_mean(results(compared, 'gru')):.1f}" in shown
    assert f"tensorboard --logdir {compared}" in shown


def test_other_settings_are_refused_and_replaced_only_when_told(
    tmp_path: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--cores", "rnn", "--jobs", "1", *tiny]
    assert compare(tmp_path, *options) == 0
    before = finished_at(tmp_path)
    capsys.readouterr()
    assert compare(tmp_path, *options, "--gamma", "0.5") == 2
    assert "gamma was 0.9, now 0.5" in capsys.readouterr().err
    assert finished_at(tmp_path) == before

    unfinished, kept = (tmp_path / "maze" / "rnn" / f"seed_{seed}" / "result.json" for seed in (0, 1))
    unfinished.unlink()
    assert compare(tmp_path, *options, "--gamma", "0.5") == 2
    assert "unfinished" in capsys.readouterr().err
    assert compare(tmp_path, *options) == 0  # goes on where it stopped
    assert unfinished.is_file()
    assert kept.stat().st_mtime_ns == before[kept]


def test_side_by_side_gives_what_one_after_the_other_gives(
    compared: Path, tmp_path: Path, tiny: list[str]
) -> None:
    assert compare(tmp_path, "--cores", "plastic", "--jobs", "2", *tiny) == 0
    assert results(tmp_path, "plastic") == pytest.approx(results(compared, "plastic"))


def test_interrupt_while_drawing_waits_for_the_picture(
    compared: Path, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, draw = compared / "maze" / "learning_curves.png", Figure.savefig

    def interrupted(*args: Any, **kwargs: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        draw(*args, **kwargs)

    picture.unlink()
    monkeypatch.setattr(Figure, "savefig", interrupted)
    assert compare(compared, "--cores", "plastic", "rnn", "--jobs", "1", *tiny) == 130
    with Image.open(picture) as image:
        assert image.format == "PNG"

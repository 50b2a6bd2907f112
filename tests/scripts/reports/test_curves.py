from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plasticrl.scripts.errors import UserError
from plasticrl.scripts.experiments.experiment import Trial
from plasticrl.scripts.experiments.paper import EXPERIMENTS
from plasticrl.scripts.reports.curves import (
    CurveAxes,
    Curves,
    common_curves,
    draw_curves,
    quartiles,
    read_curve,
)

RUN = EXPERIMENTS["maze", "quick"].conditions[0].run
AXES = CurveAxes("", "time/total_timesteps", "rollout/ep_rew_mean", "steps", 1.0, "points")


def curves_of(root: Path, rows: Mapping[str, list[list[tuple[float, float]]]]) -> Curves:
    """The common curves of runs with these rows."""
    trials = []
    for condition, runs in rows.items():
        for seed, points in enumerate(runs):
            trial = Trial(replace(RUN, seed=seed), root / condition, condition)
            trial.folder.mkdir(parents=True)
            lines = [f"{step},{score}" for step, score in points]
            header = f"{AXES.steps},{AXES.score}"
            (trial.folder / "progress.csv").write_text("\n".join([header, *lines, ""]))
            trials.append(trial)
    return common_curves(trials, AXES)


def test_quartiles_of_straight_lines(tmp_path: Path) -> None:
    lines = [[(step, slope * step) for step in (0.0, 10.0)] for slope in range(5)]
    curve = curves_of(tmp_path, {"a": lines})["a"]
    low, middle, high = quartiles(curve)
    np.testing.assert_allclose(low, 1 * curve[0], atol=1e-9)
    np.testing.assert_allclose(middle, 2 * curve[0], atol=1e-9)
    np.testing.assert_allclose(high, 3 * curve[0], atol=1e-9)


def test_only_steps_that_every_run_has(tmp_path: Path) -> None:
    steady = [(step, 1.0) for step in range(2, 9)]
    other = [(step, 3.0) for step in range(7)]
    curve = curves_of(tmp_path, {"a": [steady, other]})["a"]
    assert curve[0, 0] == 2.0
    assert abs(curve[0, -1] - 6.0) < 6 / 199
    np.testing.assert_allclose(quartiles(curve)[1], 2.0)


def test_one_condition_is_not_cut_to_the_length_of_another(tmp_path: Path) -> None:
    long, short = [(step, 1.0) for step in range(101)], [(step, 1.0) for step in range(51)]
    curves = curves_of(tmp_path, {"long": [long], "short": [short]})
    assert curves["long"][0, -1] == 100
    assert abs(curves["short"][0, -1] - 50) < 100 / 199


def test_rows_without_an_episode_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "progress.csv"
    path.write_text("rollout/ep_rew_mean,time/total_timesteps\n,10\n1.5,20\n2.5,30\n")
    steps, rewards = read_curve(path)
    assert steps.tolist() == [20, 30]
    assert rewards.tolist() == [1.5, 2.5]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "rollout/ep_rew_mean,time/total_timesteps\n,10\n"])
def test_file_without_a_curve(text: str, tmp_path: Path) -> None:
    (tmp_path / "progress.csv").write_text(text)
    with pytest.raises(UserError, match="no learning curve"):
        read_curve(tmp_path / "progress.csv")


@pytest.mark.parametrize(("most", "drawn"), [(200.0, ["near", "far"]), (100.0, ["near"])])
def test_the_curves_fill_half_of_the_picture_and_the_legend_fits(
    most: float, drawn: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Any] = []
    monkeypatch.setattr("plasticrl.scripts.reports.figures.write_figure", lambda one, _: figures.append(one))
    curve = np.array([[0.0, 1.0, 2.0], [0.0, most / 2, most]])
    names = [f"a condition with a long name {k}" for k in range(5)]
    axes = replace(AXES, references=[("near", 90.0, "--"), ("far", 290.0, ":")], above=[("oracle", 405.0)])
    draw_curves(dict.fromkeys(names, curve), axes, dict.fromkeys(names, "C0"), [tmp_path / "curves.png"])
    (figure,) = figures
    figure.draw_without_rendering()
    (panel,), (legend,) = figure.axes, figure.legends
    low, high = panel.get_ylim()
    assert most >= (high - low) / 2
    lines = [line.get_label() for line in panel.lines if line.get_linestyle() in ("--", ":")]
    assert lines == drawn
    texts = [text.get_text() for text in legend.get_texts()]
    assert ("far: 290, above the axis" in texts) == ("far" not in drawn)
    assert "oracle: 405, above the axis" in texts
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width

"""The report on the benchmark of memory: aggregates over tasks, and what is written."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plasticrl.scripts.experiments.memory import TASKS
from plasticrl.scripts.reports.memory import MemorySummary, draw_memory, print_memory, report_memory
from plasticrl.scripts.reports.statistics import (
    aggregate,
    improvement,
    improvement_over_tasks,
    interquartile_mean,
)

SCORES = {
    "repeat_first": {
        "plastic_lstm": {0: 1.0, 1: 0.9, 2: 0.95},
        "lstm": {0: 0.4, 1: 0.5, 2: 0.6},
        "feedforward": {0: -0.5, 1: -0.4, 2: -0.45},
    },
    "cartpole_positions": {
        "plastic_lstm": {0: 400.0, 1: 500.0, 2: 450.0},
        "lstm": {0: 500.0, 1: 480.0, 2: 490.0},
        "feedforward": {0: 40.0, 1: 42.0, 2: 41.0},
    },
    "maze": {"plastic_lstm": {0: 240.0}},
}
SUMMARY = MemorySummary(SCORES, {"repeat_first": 10, "cartpole_positions": 20, "maze": 30})


def test_an_aggregate_is_the_interquartile_mean_of_all_runs() -> None:
    rng = np.random.default_rng(0)
    tasks = [rng.normal(size=5), rng.normal(size=5) + 3, rng.normal(size=5) * 2]
    found = aggregate(tasks)
    assert found.mean == pytest.approx(interquartile_mean(np.concatenate(tasks)))
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.mean < found.high
    resampled = [
        interquartile_mean(np.concatenate([rng.choice(task, len(task)) for task in tasks]))
        for _ in range(2000)
    ]  # runs are drawn again within their task
    np.testing.assert_allclose(
        [found.low, found.high], np.quantile(resampled, [0.025, 0.975]), atol=0.1, rtol=0
    )


def test_runs_are_drawn_again_within_their_task() -> None:
    """Tasks whose runs are equal leave nothing to chance, however much the tasks differ."""
    found = aggregate([[0.1] * 4, [0.5] * 4, [0.9] * 4])
    assert found.low == found.high == pytest.approx(found.mean) == pytest.approx(0.5)


def test_a_single_run_has_no_interval() -> None:
    assert aggregate([[0.5], [0.7]])[1:] == (None, None)


def test_improvement_over_tasks_is_the_mean_of_those_on_each() -> None:
    ours, theirs = [[1.0, 2.0, 3.0], [5.0, 1.0]], [[0.0, 2.0, 2.5], [3.0, 9.0]]
    each = [improvement(*pair).probability.mean for pair in zip(ours, theirs, strict=True)]
    found = improvement_over_tasks(ours, theirs)
    assert found.mean == pytest.approx(np.mean(each))
    assert improvement_over_tasks(theirs, ours).mean == pytest.approx(1 - found.mean)


def test_aggregates_are_over_the_tasks_that_all_cores_have() -> None:
    assert SUMMARY.shared == ["repeat_first", "cartpole_positions"]
    assert SUMMARY.normalized("lstm")[0] == pytest.approx([0.6, 2 / 3, 1.1 / 1.5])
    aggregates = SUMMARY.aggregates
    assert aggregates["plastic_lstm"].mean > aggregates["lstm"].mean > 0.5 > aggregates["feedforward"].mean
    assert SUMMARY.improvements.keys() == {"plastic_lstm"}
    assert SUMMARY.improvements["plastic_lstm"].mean == pytest.approx((1 + 2.5 / 9) / 2)


def test_a_core_is_not_judged_by_runs_that_others_lack() -> None:
    """Equal cores, each with more runs on another task, have equal aggregates."""
    first, second = (dict.fromkeys(range(n), 1.0) for n in (5, 1))
    zero, zeros = (dict.fromkeys(range(n), -0.5) for n in (1, 5))
    scores = {"repeat_first": {"lstm": first, "gru": second}, "repeat_previous": {"lstm": zero, "gru": zeros}}
    summary = MemorySummary(scores, {"repeat_first": 10, "repeat_previous": 10})
    assert summary.common == {"repeat_first": [0], "repeat_previous": [0]}
    found = summary.aggregates
    assert found["lstm"].mean == found["gru"].mean == pytest.approx(0.5)


def test_the_summary_holds_scores_bounds_and_intervals() -> None:
    data = json.loads(json.dumps(SUMMARY.as_dict(), allow_nan=False))
    first = data["tasks"]["repeat_first"]
    assert (first["env"], first["total_timesteps"]) == ("popgym-RepeatFirstEasy-v0", 10)
    assert first["bounds"] == [TASKS["repeat_first"].low, TASKS["repeat_first"].high]
    assert first["cores"]["lstm"]["scores"] == {"0": 0.4, "1": 0.5, "2": 0.6}
    assert first["cores"]["lstm"]["middle"] == pytest.approx(0.5)
    assert data["tasks"]["maze"]["cores"] == {
        "plastic_lstm": {"scores": {"0": 240.0}, "middle": 240.0, "low": None, "high": None}
    }
    assert data["aggregate"]["seeds"] == SUMMARY.common
    assert [*SUMMARY.common] == SUMMARY.shared
    assert data["improvement"]["plastic_lstm"]["over"] == "lstm"


def test_the_table_has_every_core_and_task(capsys: pytest.CaptureFixture[str]) -> None:
    print_memory(SUMMARY)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["repeat_first", "3", "0.95", "0.50", "-0.45"] in lines
    assert ["cartpole_positions", "3", "450.0", "490.0", "41.0"] in lines
    assert ["maze", "1", "240.0"] in lines
    assert next(line for line in lines if line[:1] == ["plastic_lstm"])[-1] == "lstm"


def test_the_figure_is_drawn_also_where_no_task_is_shared(tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "a.svg"]
    draw_memory(SUMMARY, paths)
    with Image.open(paths[0]) as picture:
        assert min(picture.size) > 300
    apart = {"maze": {"lstm": {0: 3.0}}, "repeat_first": {"gru": {0: 0.0}}}
    draw_memory(MemorySummary(apart, {}), paths)
    assert "<svg" in paths[1].read_text()


def test_without_a_finished_run_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report_memory([], tmp_path / "report")
    assert capsys.readouterr().out == "no run is finished yet\n"
    assert list(tmp_path.iterdir()) == []

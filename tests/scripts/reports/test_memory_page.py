"""The page on the benchmark of memory has the scores of its summary."""

import json
from pathlib import Path
from typing import Any

from plasticrl.scripts.experiments.memory import TASKS
from plasticrl.scripts.reports.memory import form_of

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "memory-benchmark.md").read_text(encoding="utf-8")
SUMMARY: dict[str, Any] = json.loads((ROOT / "results" / "memory" / "summary.json").read_text())


def test_each_task_is_a_row() -> None:
    cores = [*next(iter(SUMMARY["tasks"].values()))["cores"]]
    assert f"| task | {' | '.join(f'`{core}`' for core in cores)} |" in PAGE
    for task, told in SUMMARY["tasks"].items():
        assert told["bounds"] == [TASKS[task].low, TASKS[task].high]
        assert told["total_timesteps"] == 200_000
        cells = []
        for core in cores:
            scores, form = [*told["cores"][core]["scores"].values()], form_of(task)
            assert len(scores) == 2
            cells.append(f"{form(sum(scores) / 2)} ({form(min(scores))}, {form(max(scores))})")
        assert f"| `{task}` | {' | '.join(cells)} |" in PAGE


def test_the_text_has_the_aggregates() -> None:
    text = " ".join(PAGE.split())
    scores = {core: f"{100 * one['middle']:.0f} %" for core, one in SUMMARY["aggregate"]["cores"].items()}
    order = ("gru", "lstm", "plastic_lstm", "plastic_gru")
    assert "`gru` {}, `lstm` {}, `plastic_lstm` {}, `plastic_gru` {}".format(*map(scores.get, order)) in text
    for core, plain in (("plastic_lstm", "lstm"), ("plastic_gru", "gru")):
        one = SUMMARY["improvement"][core]
        low, middle, high = (f"{100 * one[key]:.0f}" for key in ("low", "middle", "high"))
        assert one["over"] == plain
        assert f"`{core}` is better than `{plain}` with probability {middle} % [{low}, {high}]" in text

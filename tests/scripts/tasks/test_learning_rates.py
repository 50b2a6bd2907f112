from dataclasses import replace

import pytest

from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.settings.supervised import OMNIGLOT_PRESETS
from plasticrl.scripts.tasks.supervised.setup import learning_rate


def rate_at(run: Run, episodes: int) -> float:
    schedule = learning_rate(run)
    return schedule(1 - episodes / run.total) if callable(schedule) else schedule


def omniglot(preset: str) -> Run:
    return Run("omniglot", "supervised", "plastic", 0, OMNIGLOT_PRESETS[preset].groups)


@pytest.mark.parametrize("millions", range(5))
def test_paper_falls_by_a_third_every_million_episodes(millions: int) -> None:
    run = omniglot("paper")
    expected = 3e-5 * (2 / 3) ** millions
    first, last = millions * 1_000_000, (millions + 1) * 1_000_000 - 1
    assert [rate_at(run, first), rate_at(run, last)] == pytest.approx([expected, expected])


def test_line_to_the_final_rate() -> None:
    run = omniglot("tuned")
    run = run.with_groups(descent=replace(run.descent, learning_rate=4e-3, final_learning_rate=1e-3))
    quarters = [rate_at(run, run.total * quarter // 4) for quarter in range(5)]
    assert quarters == pytest.approx([4e-3, 3.25e-3, 2.5e-3, 1.75e-3, 1e-3])


def test_constant() -> None:
    run = omniglot("tuned")
    run = run.with_groups(descent=replace(run.descent, learning_rate=2e-3, final_learning_rate=2e-3))
    assert learning_rate(run) == 2e-3

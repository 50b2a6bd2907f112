"""The numbers in the sentences of docs/results.md are those of results/reproduction."""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from plasticrl.scripts.reports.curves import read_curve
from plasticrl.scripts.reports.maze_details import block_means
from plasticrl.scripts.runs.logs import CSV

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "results" / "reproduction"
MAZE = RESULTS / "maze_quick"
EVALUATED = runpy.run_path(str(RESULTS / "transfer.py"))["evaluated"]
TEXT = " ".join((ROOT / "docs" / "results.md").read_text(encoding="utf-8").split())


def evaluations(folder: str) -> list[Any]:
    told: list[Any] = EVALUATED(f"maze_quick/{folder}")
    return told


def fifths(condition: str, maze: str) -> NDArray[np.float64]:
    """Points in each fifth of the episode; a row for each agent."""
    return np.array([one["points_by_fifth"] for one in evaluations(f"transfer/{condition}/{maze}")])


def test_in_longer_episodes() -> None:
    each = fifths("homogeneous", "steps_1000")
    assert all(each[:, 4] < each[:, 1] / 2), "all five"
    points = each.mean(axis=0)
    assert f"they earn {points[1]:.0f} points in the second fifth and {points[4]:.0f} in the last one" in TEXT


def test_in_a_smaller_maze() -> None:
    shares = [100 * one["oracle_share"] for one in evaluations("transfer/plastic/size_7")]
    assert f"({min(shares):.0f} to {max(shares):.0f} %)" in TEXT


def test_after_the_reward_has_moved() -> None:
    after = {name: fifths(name, "moves_once").mean(axis=0) for name in ("plastic", "lstm", "rnn")}
    own = {name: fifths(name, "own")[:, 4].mean() for name in after}
    plastic = (
        f"they earn {after['plastic'][3]:.1f} in the fourth fifth, hardly more than without any trace, and "
    )
    assert plastic + f"{after['plastic'][4]:.1f} in the last one, not the {own['plastic']:.0f} of" in TEXT
    assert f"({after['lstm'][3]:.1f} and {after['lstm'][4]:.1f})" in TEXT
    assert f"have {after['rnn'][3]:.1f} and {after['rnn'][4]:.1f}, of {own['rnn']:.0f} where it stays" in TEXT
    ppo = fifths("recurrent_ppo", "moves_once")
    fourth, last = ppo.mean(axis=0)[3:]
    assert f"({fourth:.1f} and {last:.1f}; one agent in five gets back to {ppo[:, 4].max():.0f})" in TEXT


def test_among_other_pillars() -> None:
    layouts = [f"layout_{number}" for number in range(4)]
    finds = [one["first_reward_step"] for name in layouts for one in evaluations(f"transfer/plastic/{name}")]
    assert f"after {min(finds):.0f} to {max(finds):.0f} steps" in TEXT
    for condition, words in (
        ("plastic", "{:.0f} to {:.0f} points in each"),
        ("lstm", "{:.0f} to {:.0f} points"),
    ):
        means = [fifths(condition, name).mean(axis=0) for name in layouts]
        assert words.format(np.min(means), np.max(means)) in TEXT


def test_without_a_trace() -> None:
    finds = [
        np.mean([one["first_reward_step"] for one in evaluations(folder)])
        for folder in ("lesions/silenced_from_0", "transfer/plastic/own")
    ]
    assert f"({finds[0]:.0f} in the mean of these episodes, {finds[1]:.0f} with it)" in TEXT


def test_from_find_to_find() -> None:
    told = json.loads((MAZE / "report" / "within_episode.json").read_text())
    searched, needed = told["plastic"]["first"], told["plastic"]["later"]
    assert f"search for {searched:.0f} steps, as those without plasticity do" in TEXT
    assert (
        f"then need {needed:.0f} from each find to the next where those need {told['rnn']['later']:.0f}."
        in TEXT
    )


def test_the_run_that_was_set_back() -> None:
    run = MAZE / "plastic" / "maze" / "plastic" / "seed_2"
    means = block_means(*read_curve(run / CSV))
    ends = 125_000 * np.arange(1, len(means) + 1)
    first, second = ((ends > start) & (ends < end) for start, end in ((8e6, 11.6e6), (16e6, 17.5e6)))
    fell = f"from {means[first].max():.0f} points to {means[first].min():.0f} and was back at 11,600,000"
    assert f"{fell}, fell to {means[second].min():.0f} at 17,000,000" in TEXT
    _, norms = read_curve(run / CSV, "time/total_timesteps", "train/grad_norm")
    assert max(norms) == pytest.approx(330e6, rel=0.01)
    assert "of a norm of up to 330,000,000" in TEXT

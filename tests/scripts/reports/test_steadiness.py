"""What counts as a dip, and how many updates were left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from plasticrl.scripts.experiments.experiment import Trial
from plasticrl.scripts.experiments.paper import EXPERIMENTS
from plasticrl.scripts.reports.maze_details import BLOCK, Steadiness, block_means, count_dips, steadiness
from plasticrl.scripts.reports.maze_details import steadiness_texts as texts

RUN = EXPERIMENTS["maze", "quick"].conditions[0].run


@pytest.mark.parametrize(
    ("points", "dips", "inside"),
    [
        ([], 0, False),
        ([0, 20, 40, 60], 0, False),
        ([100, 51, 100], 0, False),  # not below half
        ([100, 49, 100], 1, False),
        ([100, 49, 79, 30, 81], 1, False),  # not back between 49 and 30
        ([100, 49, 80, 49], 2, True),
        ([100, 49, 79], 1, True),
        ([100, 120, 59, 97], 1, False),  # of the best so far
        ([9, 1, 9, 1], 0, False),  # nothing had been learned
        ([10, 1, 100], 0, False),  # not more than the least
        ([11, 1, 100], 1, False),
    ],
)
def test_a_dip_is_below_half_of_the_best_until_four_fifths(
    points: list[float], dips: int, inside: bool
) -> None:
    assert count_dips(np.array(points, dtype=np.float64), least=10) == (dips, inside)


def test_a_block_is_the_mean_of_its_rows_counted_from_step_0() -> None:
    rows = [(1, 3.0), (BLOCK, 5.0), (BLOCK + 1, 7.0), (3 * BLOCK, 9.0), (3 * BLOCK + 1, 1.0)]
    steps, points = np.array(rows).T
    np.testing.assert_array_equal(block_means(steps, points), [4.0, 7.0, 9.0, 1.0])
    np.testing.assert_array_equal(block_means(steps[[0, 3]], points[[0, 3]]), [3.0, 6.0, 9.0])


Row = tuple[int, float, int | None]


def placed(root: Path, name: str, seed: int, rows: list[Row]) -> Trial:
    one = Trial(replace(RUN, seed=seed), root / name, name)
    one.folder.mkdir(parents=True)
    lines = [f"{step},{score},{'' if left_out is None else left_out}" for step, score, left_out in rows]
    header = "time/total_timesteps,rollout/ep_rew_mean,train/skipped_updates"
    (one.folder / "progress.csv").write_text("\n".join([header, *lines, ""]))
    return one


def test_conditions_are_counted_run_by_run(tmp_path: Path) -> None:
    runs = [
        placed(tmp_path, "a", 0, [(1, 50, None), (2 * BLOCK, 0, 0), (3 * BLOCK, 50, 2)]),
        placed(tmp_path, "b", 0, [(1, 50, None), (2 * BLOCK, 55, None)]),
        placed(tmp_path, "a", 1, [(1, 50, 0), (2 * BLOCK, 60, 7), (3 * BLOCK, 0, 7)]),
    ]
    found = steadiness(runs, least=10)
    assert found == {
        "a": Steadiness(dips=[1, 1], ended_in_dip=[False, True], left_out=[2, 7]),
        "b": Steadiness(dips=[0], ended_in_dip=[False], left_out=None),
    }
    assert texts(found["a"]) == ("2 to 7", "1", "1 of 2")
    assert texts(found["b"]) == ("-", "0", "0 of 1")


def test_a_run_is_counted_alike_whatever_is_beside_it(tmp_path: Path) -> None:
    """The others begin, end and log at steps of their own, among them far later than all the rest."""
    rng = np.random.default_rng(0)
    runs = []
    for number in range(12):
        steps = int(rng.integers(1, 200_000)) + int(rng.integers(5_000, 90_000)) * np.arange(300)
        scores = 100 * rng.random(300)  # falls below half of the best every few rows
        rows = [(int(step), float(score), 0) for step, score in zip(steps, scores, strict=True)]
        runs.append(placed(tmp_path, f"condition_{number}", 0, rows))
    alone = {run.condition: steadiness([run], least=10)[run.condition] for run in runs}
    assert len({one.dips[0] for one in alone.values()}) > 1
    assert steadiness(runs, least=10) == alone
    assert steadiness(runs[3:7], least=10) == {run.condition: alone[run.condition] for run in runs[3:7]}

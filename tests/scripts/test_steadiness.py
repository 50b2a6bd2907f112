"""What counts as a dip, and how many updates were left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from plasticrl.scripts.placed_run import PlacedRun
from plasticrl.scripts.reproduction_presets import EXPERIMENTS
from plasticrl.scripts.steadiness import Steadiness, count_dips, steadiness, texts

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


def placed(root: Path, name: str, seed: int, progress: str) -> PlacedRun:
    one = PlacedRun(replace(RUN, seed=seed), root / name, name)
    one.folder.mkdir(parents=True)
    (one.folder / "progress.csv").write_text(progress)
    return one


def test_conditions_are_counted_run_by_run(tmp_path: Path) -> None:
    rows = "time/total_timesteps,train/skipped_updates\n1,\n2,0\n3,{}\n"
    runs = [
        placed(tmp_path, "a", 0, rows.format(2)),
        placed(tmp_path, "b", 0, "time/total_timesteps\n1\n"),
        placed(tmp_path, "a", 1, rows.format(7)),
    ]
    curves = {
        "a": np.array([[1.0, 2.0, 3.0], [50.0, 0.0, 50.0], [50.0, 60.0, 0.0]]),
        "b": np.array([[1.0, 2.0, 3.0], [50.0, 55.0, 60.0]]),
    }
    found = steadiness(runs, curves, least=10)
    assert found == {
        "a": Steadiness(dips=[1, 1], ended_in_dip=[False, True], left_out=[2, 7]),
        "b": Steadiness(dips=[0], ended_in_dip=[False], left_out=None),
    }
    assert texts(found["a"]) == ("2 to 7", "1", "1 of 2")
    assert texts(found["b"]) == ("-", "0", "0 of 1")

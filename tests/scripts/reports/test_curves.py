from pathlib import Path

import numpy as np
import pytest

from plasticrl.scripts.errors import UserError
from plasticrl.scripts.reports.curves import quartiles, read_curve


def test_quartiles_of_straight_lines() -> None:
    steps = np.array([0.0, 10.0])
    curves = [(steps, slope * steps) for slope in (0.0, 1.0, 2.0, 3.0, 4.0)]
    common, low, middle, high = quartiles(curves)
    np.testing.assert_allclose(low, 1 * common)
    np.testing.assert_allclose(middle, 2 * common)
    np.testing.assert_allclose(high, 3 * common)


def test_only_steps_that_every_run_has() -> None:
    one = (np.array([2.0, 8.0]), np.array([1.0, 1.0]))
    other = (np.array([0.0, 6.0]), np.array([3.0, 3.0]))
    common, _, middle, _ = quartiles([one, other])
    assert (common[0], common[-1]) == (2.0, 6.0)
    np.testing.assert_allclose(middle, 2.0)


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

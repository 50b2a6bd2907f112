from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from plasticrl.agents.common.tags import AGGREGATES
from plasticrl.scripts.experiments.experiment import Trial
from plasticrl.scripts.main import main
from plasticrl.scripts.reports.comparison import compare_trials
from plasticrl.scripts.reports.curves import common_curves, quartiles
from plasticrl.scripts.runs.folder import read_run

CORES = ("plastic", "rnn")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("compared")
    words = ["--size", "5", "--episode-length", "10", "--hidden-size", "4", "--n-envs", "2", "--jobs", "1"]
    more = ["--total-timesteps", "120", "--eval-episodes", "2", "--checkpoints", "1", "--quiet"]
    for _ in range(2):  # the second time everything is there already: nothing is added to it
        command = ["compare", "maze", "--root", str(root), "--cores", *CORES, "--seeds", "3"]
        assert main([*command, *words, *more]) == 0
    return root / "maze"


@pytest.mark.parametrize("core", CORES)
def test_the_band_is_that_of_the_runs(compared: Path, core: str) -> None:
    runs = [read_run(compared / core / f"seed_{seed}") for core in CORES for seed in range(3)]
    trials = [Trial(run, compared.parent, run.core) for run in runs]
    curve = common_curves(trials, compare_trials(trials).axes())[core]
    steps, (low, middle, high) = curve[0], quartiles(curve)
    events = EventAccumulator(str(compared / "aggregate" / core), size_guidance={"scalars": 0}).Reload()
    assert set(events.Tags()["scalars"]) == set(AGGREGATES)
    for tag, values in zip(AGGREGATES, (middle, low, high), strict=True):
        points = events.Scalars(tag)
        told = [point.step for point in points]
        assert told == sorted(set(np.round(steps)))  # each once, though this training has fewer than points
        assert len(told) < len(steps)
        np.testing.assert_allclose(
            [point.value for point in points], np.interp(told, steps, values), rtol=1e-5
        )


@pytest.mark.parametrize("core", CORES)
def test_a_layout_shows_the_band_without_setting_anything(compared: Path, core: str) -> None:
    events = EventAccumulator(str(compared / "aggregate" / core)).Reload()
    (config,) = events.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(config.tensor_proto.string_val[0])
    (chart,) = layout.category[0].chart
    (series,) = chart.margin.series
    assert (series.value, series.lower, series.upper) == AGGREGATES

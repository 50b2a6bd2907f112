import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from plasticrl.agents import EpisodeLearner
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.folder import read_run
from plasticrl.scripts.settings.tasks import TASKS
from plasticrl.scripts.tasks.supervised.setup import Tasks, make_tasks

PICTURE = {"patterns": "reconstructions", "images": "reconstructions", "omniglot": "one_shot"}


def result(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return loaded


def tasks_of(folder: Path, data: list[str]) -> Tasks:
    run = read_run(folder)
    assert run.learner == "supervised"
    return make_tasks(replace(run, data_dir=Path(data[1]) if data else None))


def test_run_folder_holds_what_a_run_is(supervised: Any, trained_supervised: Path) -> None:
    names = {path.name.partition(".tfevents")[0] for path in trained_supervised.iterdir()}
    assert names == {".lock", "config.json", "progress.csv", "events.out", "checkpoints", "result.json"}
    steps = [f"step_{episodes:012d}.safetensors" for episodes in (supervised.total // 2, supervised.total)]
    assert sorted(path.name for path in (trained_supervised / "checkpoints").iterdir()) == steps


def test_config_is_read_back_as_it_was_given(supervised: Any, trained_supervised: Path) -> None:
    run = read_run(trained_supervised)
    assert (run.task, run.core, run.seed, run.total) == (supervised.task, "plastic", 3, supervised.total)
    config = json.loads((trained_supervised / "config.json").read_text())
    assert run.as_dict() == config
    assert "data_dir" not in str(config)


def test_progress_csv_ends_where_the_training_does(supervised: Any, trained_supervised: Path) -> None:
    with (trained_supervised / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert int(rows[-1]["time/episodes"]) == supervised.total
    columns = [f"train/{metric.name}" for metric in TASKS[supervised.task].metrics]
    columns += ["train/loss", "train/grad_norm", "train/learning_rate", "plastic/eta"]
    assert [name for row in rows for name in columns if not row[name]] == []


def test_a_row_of_progress_csv_is_about_its_own_episodes(tmp_path: Path) -> None:
    words = ["train", "patterns", "--n-bits", "10", "--total-episodes", "30", "--eval-episodes", "2"]
    assert main([*words, "--checkpoints", "1", "--root", str(tmp_path), "--threads", "1", "--quiet"]) == 0
    with (tmp_path / "patterns" / "plastic" / "seed_0" / "progress.csv").open(newline="") as file:
        errors = [float(row["train/bit_error"]) for row in csv.DictReader(file)]
    # Each is of one episode of 10 bits: a mean over several has other values too.
    assert errors == pytest.approx(np.round(np.multiply(errors, 10)) / 10)


def test_tensorboard(supervised: Any, trained_supervised: Path) -> None:
    events = EventAccumulator(str(trained_supervised)).Reload()
    main_metric = TASKS[supervised.task].metrics[0].name
    assert {f"train/{main_metric}", f"eval/{main_metric}", "train/loss"} <= set(events.Tags()["scalars"])
    assert {f"episodes/{PICTURE[supervised.task]}", "plastic/trace"} <= set(events.Tags()["images"])
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_result_says_how_good_beside_the_references(supervised: Any, trained_supervised: Path) -> None:
    data = result(trained_supervised)
    assert (data["steps"], data["evaluation"]["episodes"]) == (supervised.total, 6)
    for metric in TASKS[supervised.task].metrics:
        one = data["evaluation"]["metrics"][metric.name]
        assert one["low"] <= one["mean"] <= one["high"]
    references = data["evaluation"]["references"]
    if supervised.task == "patterns":
        assert references["chance"] == {"bit_error": 0.25, "hidden_bit_error": 0.5}
        assert references["Hopfield network"]["bit_error"] < 0.25
    elif supervised.task == "images":
        assert references["nearest shown image"]["hidden_mse"] == 0  # its visible half is like no other's
        assert references["zero"]["hidden_correlation"] == 0
        images = tasks_of(trained_supervised, supervised.data).test.images  # type: ignore[attr-defined]
        assert references["zero"]["hidden_mse"] == pytest.approx(np.square(images).mean(), rel=0.2)
    else:
        assert set(references) == {"nearest neighbour", "chance"}
        assert references["chance"] == {"accuracy": pytest.approx(1 / 3)}


def test_result_says_how_much_data_there_was(supervised: Any, trained_supervised: Path) -> None:
    expected = {
        "patterns": {},
        "images": {"train_images": 24, "test_images": 6},
        "omniglot": {"train_classes": 1523, "test_classes": 100},
    }
    assert result(trained_supervised)["data"] == expected[supervised.task]


@pytest.mark.parametrize("command", ["train", "compare"])
def test_missing_batches_are_told_once_and_recorded(
    command: str, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = tmp_path / "data" / "cifar-10-batches-bin"
    shutil.copytree(tiny_data / "cifar-10-batches-bin", part)
    for number in (2, 3, 4):
        (part / f"data_batch_{number}.bin").unlink()
    words = [command, "images", "--n-cycles", "1", "--steps-on", "1", "--total-episodes", "1"]
    words += ["--eval-episodes", "1", "--threads", "1"]
    if command == "compare":
        words += ["--cores", "plastic", "homogeneous", "--seeds", "1", "--jobs", "1"]
    told = "trains on 6 of the 24 images of cifar-10: not all of data_batch_1.bin, data_batch_2.bin, "
    for data, root, times in ((part.parent, tmp_path / "part", 1), (tiny_data, tmp_path / "whole", 0)):
        assert main([*words, "--data-dir", str(data), "--root", str(root)]) == 0
        assert capsys.readouterr().err.count(told) == times
        trained = result(root / "images" / "plastic" / "seed_0")
        assert trained["data"]["train_images"] == (6 if times else 24)


def test_evaluate_gives_the_result_again_and_writes_nothing(
    supervised: Any, trained_supervised: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained_supervised.rglob("*")}
    assert main(["evaluate", str(trained_supervised), "--json", *supervised.data]) == 0
    shown = json.loads(capsys.readouterr().out)
    expected = result(trained_supervised)["evaluation"]
    assert {name: shown[name] for name in expected} == expected
    assert shown["data"] == result(trained_supervised)["data"]
    assert {path: path.stat().st_mtime_ns for path in trained_supervised.rglob("*")} == before


ELSEWHERE: dict[str, list[dict[str, Any]]] = {
    "patterns": [],
    "images": [{"occlusion": "quarter"}, {"occlusion": "pixels", "share": 0.9}, {"dataset": "omniglot"}],
    "omniglot": [{"n_way": 2}, {"n_way": 20}],  # it is trained with 20 ways, and evaluated with 3
}


def test_what_it_was_not_trained_on(
    supervised: Any, trained_supervised: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def scores(*more: str) -> Any:
        assert main(["evaluate", str(trained_supervised), "--json", *more, *supervised.data]) == 0
        return json.loads(capsys.readouterr().out)

    own = scores()
    for options in ELSEWHERE[supervised.task]:
        words = [
            word for name, value in options.items() for word in ("--" + name.replace("_", "-"), str(value))
        ]
        other = scores(*words)
        assert {name: other[name] for name in options} == options
        assert other["references"] != own["references"]
        assert other["metrics"] != own["metrics"]
        if (
            "dataset" in options
        ):  # the mean of its 3,046 drawings of noise is grey, that of 24 photographs not
            mean, zero = (other["references"][name]["hidden_mse"] for name in ("mean image", "zero"))
            assert mean == pytest.approx(zero, rel=0.01)


def test_options_reach_the_evaluation(
    supervised: Any, trained_supervised: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = min((trained_supervised / "checkpoints").iterdir())
    words = ["evaluate", str(first), "--episodes", "4", "--seed", "9", *supervised.data]
    assert main(words) == 0
    table = capsys.readouterr().out
    assert f"{supervised.total // 2} episodes: {first.name}" in table
    assert main([*words, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["episodes"], shown["seed"]) == (4, 9)
    for metric in TASKS[supervised.task].metrics:
        assert metric.label in table
        assert metric.form(shown["metrics"][metric.name]["mean"]) in table


@pytest.mark.parametrize("supervised", ["patterns", "omniglot"], indirect=True)  # images take long
def test_what_is_watched_does_not_change_what_is_learned(supervised: Any, tmp_path: Path) -> None:
    weights = []
    for root, often in ((tmp_path / "a", "1"), (tmp_path / "b", "3")):
        words = ["train", supervised.task, "--root", str(root), *supervised.options, "--checkpoints", often]
        assert main(words) == 0
        folder = root / supervised.task / "plastic" / "seed_0"
        last = max((folder / "checkpoints").iterdir())
        learner = EpisodeLearner.load(last, tasks_of(folder, supervised.data).train)
        weights.append(learner.network.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("task", "core"),
    [
        *[("patterns", "homogeneous"), ("patterns", "rnn"), ("patterns", "lstm"), ("images", "rnn")],
        *[("omniglot", "homogeneous"), ("omniglot", "rnn")],
    ],
)
def test_every_core_is_trained_and_evaluated(task: str, core: str, tiny_data: Path, tmp_path: Path) -> None:
    sizes = {
        "patterns": ["--n-bits", "8", "--total-episodes", "4"],
        "images": ["--n-cycles", "1", "--steps-on", "1", "--total-episodes", "2"],
        "omniglot": ["--n-way", "2", "--n-filters", "2", "--total-episodes", "4", "--preset", "paper"],
    }[task]
    own = {"lstm": ["--hidden-size", "5"], "rnn": [] if task == "omniglot" else ["--extra-neurons", "3"]}
    words = ["train", task, "--core", core, "--root", str(tmp_path), *sizes, *own.get(core, [])]
    words += ["--eval-episodes", "1", "--threads", "1", "--quiet"]
    data = [] if task == "patterns" else ["--data-dir", str(tiny_data)]
    assert main([*words, *data]) == 0
    assert (tmp_path / task / core / "seed_0" / "result.json").is_file()
    assert main(["evaluate", str(tmp_path / task / core / "seed_0"), *data]) == 0


def test_progress_is_told_on_stderr_and_the_score_on_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "patterns", "--n-bits", "8", "--total-episodes", "4", "--eval-episodes", "2"]
    assert main([*words, "--root", str(tmp_path), "--threads", "1"]) == 0
    shown = capsys.readouterr()
    assert "100%" in shown.err
    assert "wrong bits" in shown.err
    assert "episodes/s" in shown.err
    assert "Hopfield network" in shown.out
    assert f"tensorboard --logdir {tmp_path}" in shown.out

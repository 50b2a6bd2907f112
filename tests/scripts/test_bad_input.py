import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from refusals import check_refused

from plasticrl.scripts.commands import COMMANDS
from plasticrl.scripts.main import main

TRAIN = ["train", "maze", "--total-timesteps", "100"]
WRONG = [
    ([], "train"),
    (["trian", "maze"], "train"),
    (["train"], "maze"),
    (["train", "chess"], "omniglot"),
    ([*TRAIN, "--core", "transformer"], "homogeneous"),
    ([*TRAIN, "--rule", "bcm"], "oja"),
    ([*TRAIN, "--env", "PlasticMaze-v9"], "PlasticMazeICLR-v0"),
    ([*TRAIN, "--preset", "best"], "tuned"),
    ([*TRAIN, "--learnin-rate", "1"], "--learning-rate"),
    ([*TRAIN, "--seed"], "--seed"),
    ([*TRAIN, "--seed", "one"], "--seed"),
    ([*TRAIN, "--seed", "-1"], "seed must be from 0"),
    ([*TRAIN, "--seed", "99999999999"], "seed must be from 0"),
    ([*TRAIN, "--size", "8"], "odd"),
    ([*TRAIN, "--size", "1"], "at least 3"),
    ([*TRAIN, "--episode-length", "0"], "episode_length"),
    ([*TRAIN, "--reward", "nan"], "finite"),
    ([*TRAIN, "--reward", "-1"], "positive"),
    ([*TRAIN, "--wall-penalty", "-0.1"], "wall_penalty"),
    ([*TRAIN, "--learning-rate", "-0.001"], "learning_rate"),
    ([*TRAIN, "--learning-rate", "0"], "above 0"),
    ([*TRAIN, "--learning-rate", "nan"], "finite"),
    ([*TRAIN, "--gamma", "1.5"], "between 0 and 1"),
    ([*TRAIN, "--gae-lambda", "nan"], "between 0 and 1"),
    ([*TRAIN, "--ent-coef", "-1"], "ent_coef"),
    ([*TRAIN, "--concentration-coef", "inf"], "concentration_coef"),
    ([*TRAIN, "--max-grad-norm", "0"], "max_grad_norm"),
    ([*TRAIN, "--max-grad-ratio", "1"], "or None to leave no update out"),
    ([*TRAIN, "--max-grad-ratio", "inf"], "or None to leave no update out"),
    ([*TRAIN, "--max-grad-ratio", "nan"], "max_grad_ratio"),
    ([*TRAIN, "--max-grad-norm", "None"], "max_grad_ratio needs a max_grad_norm"),
    ([*TRAIN, "--max-grad-norm", "inf"], "None for no clipping"),
    ([*TRAIN, "--eta", "nan"], "eta"),
    ([*TRAIN, "--eta", "1.5", "--bound-eta"], "eta"),
    ([*TRAIN, "--init-scale", "-1"], "init_scale"),
    ([*TRAIN, "--hidden-size", "0"], "hidden_size"),
    ([*TRAIN, "--n-envs", "0"], "n_envs"),
    ([*TRAIN, "--total-timesteps", "0"], "total_timesteps"),
    ([*TRAIN, "--eval-episodes", "0"], "eval_episodes"),
    ([*TRAIN, "--checkpoints", "0"], "checkpoints"),
    ([*TRAIN, "--threads", "0"], "threads"),
    ([*TRAIN, "--core", "lstm", "--rule", "clipped"], "--rule"),
    ([*TRAIN, "--core", "rnn", "--eta", "0.5"], "--eta"),
    ([*TRAIN, "--core", "gru", "--init", "normal"], "--init"),
    (
        [*TRAIN, "--core", "lstm", "--rule", "oja"],
        "plastic_lstm and plastic_gru, not for lstm: leave it out",
    ),
    ([*TRAIN, "--core", "gru", "--init", "uniform"], "rnn, plastic_lstm and plastic_gru, not for gru"),
    ([*TRAIN, "--core", "feedforward", "--bound-eta"], "--bound-eta is for the cores"),
    ([*TRAIN, "--root=~nobody-of-that-name/runs"], "root: there is no home folder ~nobody-of-that-name"),
    (["evaluate", "~nobody-of-that-name/run"], "run: there is no home folder ~nobody-of-that-name"),
    (["compare", "maze", "--seeds", "0"], "seeds"),
    (["compare", "maze", "--jobs", "0"], "jobs"),
    (["compare", "maze", "--cores", "rnn", "rnn"], "once"),
    (["compare", "maze", "--cores", "rnn", "gru", "--rule", "clipped"], "--rule"),
    (["compare", "maze", "--size", "4"], "odd"),
    (["train", "patterns", "--core", "gru"], "lstm"),
    (["train", "patterns", "--n-bits", "1"], "n_bits"),
    (["train", "patterns", "--degraded", "1"], "degraded"),
    (["train", "patterns", "--input-gain", "-1"], "input_gain"),
    (["train", "patterns", "--preset", "paper"], "program"),
    (["train", "patterns", "--data-dir", "."], "--data-dir"),
    (["train", "patterns", "--total-episodes", "0"], "total_episodes"),
    (["train", "patterns", "--batch-size", "0"], "batch_size"),
    (["train", "patterns", "--eval-episodes", "0"], "eval_episodes"),
    (["train", "patterns", "--learning-rate", "nan"], "learning_rate"),
    (["train", "patterns", "--final-learning-rate", "-1"], "final_learning_rate"),
    (["train", "patterns", "--decay-every", "0"], "decay_every"),
    (["train", "patterns", "--decay-factor", "0"], "decay_factor"),
    (["train", "patterns", "--max-grad-norm", "nan"], "max_grad_norm"),
    (["train", "patterns", "--seed", "-1"], "seed must be from 0"),
    (["train", "patterns", "--eta", "inf"], "eta"),
    (["train", "patterns", "--extra-neurons", "5"], "core rnn, not for plastic"),
    (["train", "patterns", "--core", "rnn", "--extra-neurons", "-5"], "extra_neurons"),
    (["train", "patterns", "--core", "rnn", "--hidden-size", "5"], "lstm"),
    (["train", "patterns", "--core", "lstm", "--hidden-size", "0"], "hidden_size"),
    (["train", "patterns", "--core", "lstm", "--rule", "oja"], "--rule"),
    (["train", "images", "--data-dir", "nowhere"], "nowhere"),
    (["train", "images", "--occlusion", "all"], "quarter"),
    (["train", "images", "--dataset", "mnist"], "cifar-100"),
    (["train", "omniglot", "--data-dir", "nowhere"], "nowhere"),
    (["train", "omniglot", "--core", "lstm"], "homogeneous"),
    (["train", "omniglot", "--loss", "hinge"], "cross_entropy"),
    (["train", "omniglot", "--core", "rnn", "--eta", "0.5"], "--eta"),
    (["compare", "patterns", "--seeds", "0"], "seeds"),
    (["compare", "patterns", "--first-seed", "-1"], "seed"),
    (["sweep", "patterns", "--search", "--first-seed", "1"], "--first-seed does not apply to --search"),
    (["compare", "patterns", "--cores", "lstm", "lstm"], "once"),
    (["compare", "omniglot", "--cores", "plastic", "lstm"], "homogeneous"),
    (["train", "maze", "--algo"], "--algo"),
    (["train", "Taxi-v3", "--env-kwargs", "a=1", "--env-kwargs", "b=1"], "twice"),
    (["train", "maze", "--algo", "dqn"], "a2c"),
    (["train", "maze", "--algo", "ppo", "--concentration-coef", "1"], "no --concentration-coef"),
    (["train", "maze", "--n-epochs", "3"], "no --n-epochs"),
    (["demo", "--seeds", "0"], "seeds"),
    (["demo", "--total-timesteps", "-5"], "total_timesteps"),
    (["evaluate"], "PATH"),
    (["evaluate", "nowhere"], "does not exist"),
    (["watch", "nowhere"], "does not exist"),
    (["watch", "nowhere", "--fps", "nan"], "fps"),
    (["watch", "nowhere", "--fps", "90", "--gif", "a.gif"], "to 50"),
    (["watch", "nowhere", "--gif", "a.mp4"], "ends in .gif"),
    (["watch", "nowhere", "--mp4", "a.gif"], "ends in .mp4"),
    (["watch", "nowhere", "--mp4", "a.mp4", "--gif", "a.gif"], "leave one out"),
    (["watch", "nowhere", "--mp4", "a.mp4", "--fps", "300"], "to 240"),
    (["watch", "nowhere", "--mp4", "no/such/folder/a.mp4"], "folder that exists"),
    (["train", "maze", "--n-bits", "50"], "train maze has no --n-bits 50 (see plasticrl train maze --help)"),
    (
        ["compare", "maze", "--seed", "3"],
        "compare maze has no --seed 3; perhaps you meant --first-seed or --layout-seed or --seeds (see",
    ),
    (
        ["compare", "maze", "--sed", "3"],
        "compare maze has no --sed 3; perhaps you meant --seeds (see plasticrl compare maze --help)",
    ),
    (["train", "maze", "--hidden-size", "abc"], "not 'abc' (see plasticrl train maze --help)"),
    (["train", "maze", "--lr", "x"], "train maze has no --lr x (see plasticrl train maze --help)"),
    (["train", "maze", "--learning-rate", "x"], "float: 'x' (see plasticrl train maze --help)"),
    (["trian", "maze"], "there is no command trian; perhaps you meant train; there are train, compare,"),
    (["xyz"], "there is no command xyz; there are train, compare, sweep, evaluate, watch, demo, reproduce"),
    (["train", "mazes"], "there is no task mazes; perhaps you meant maze; there are maze, patterns, "),
    (["train", "--seed", "3", "maze"], "the task comes before --seed"),
    (["--seed", "3", "train", "maze"], "the command comes before --seed"),
    (["train", "maze", "--resume", "nowhere"], "takes task and settings from the run: leave out maze"),
    (["train", "--resume", "nowhere", "--seed", "3"], "train --resume RUN has no --seed 3 (see"),
    (["evaluate", "nowhere", "--size", "abc"], "--size must be a whole number, such as 1000000, not 'abc'"),
    (["evaluate", "nowhere", "--core", "rnn"], "evaluate has no --core rnn (see plasticrl evaluate --help)"),
    (["reproduce", "maze", "--seed", "3"], "reproduce has no --seed 3; perhaps you meant --seeds (see"),
    (["train", "maze", "--quit"], "perhaps you meant --quiet or --no-quiet"),
    (["train", "maze", "--n-envs", "1e3"], "--n-envs must be a whole number, such as 1000000, not '1e3'"),
    (["evaluate", "nowhere", "--lesion", "x"], "'None', 'cleared', 'frozen', 'silenced'"),
    (["train", "maze", "--hidden-size", "9" * 30], "hidden_size must be at most 2147483647"),
    (["watch", "nowhere", "--fps", "1e-3", "--gif", "a.gif"], "from 0.01"),
    (["watch", "nowhere", "--gif", "no/such/folder/a.gif"], "folder that exists"),
    (["watch", "nowhere", "--seed", "-2"], "seed"),
]


@pytest.mark.parametrize(("words", "says"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_wrong_input_is_one_line_and_leaves_nothing(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    check_refused(words, says, capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [TRAIN, ["compare", "maze"]])
def test_file_where_a_folder_should_be(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    check_refused([*command, "--root", str(taken / "runs")], "not a folder", capsys)
    assert taken.read_text() == "mine"


def test_folder_without_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root, who may run the tests, is let in everywhere
    check_refused([*TRAIN, "--root", str(tmp_path)], "no permission", capsys)
    assert list(tmp_path.iterdir()) == []


def test_device_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    check_refused([*TRAIN, "--root", str(tmp_path), "--device", "cuda"], "--device cpu", capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["gone", "empty", "text", "cut"])
def test_damaged_checkpoint(
    damage: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = max((trained / "checkpoints").iterdir()).read_bytes()
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.json").write_bytes((trained / "config.json").read_bytes())
    content = {"empty": b"", "text": b"no zip file", "cut": good[: len(good) // 2]}
    if damage != "gone":
        (run / "checkpoints" / "step_000000000400.safetensors").write_bytes(content[damage])
    says = "no checkpoint" if damage == "gone" else "cannot be loaded"
    check_refused(["evaluate", str(run)], says, capsys)
    check_refused(["watch", str(run)], says, capsys)


@pytest.mark.parametrize("command", [["evaluate"], ["watch"], ["train", "--resume"]], ids=" ".join)
def test_a_folder_of_checkpoints_is_not_the_run(
    command: list[str], trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused([*command, str(trained / "checkpoints")], f"give the run's folder, {trained}", capsys)


@pytest.mark.parametrize(
    ("text", "says"), [("{", "not valid JSON"), ("[]", "object"), ("{}", "not the settings")]
)
def test_damaged_config(
    text: str, says: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoints").mkdir()
    checkpoint = max((trained / "checkpoints").iterdir())
    (tmp_path / "checkpoints" / checkpoint.name).write_bytes(checkpoint.read_bytes())
    (tmp_path / "config.json").write_text(text)
    check_refused(["evaluate", str(tmp_path)], says, capsys)


def test_checkpoint_for_other_spaces(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    config = json.loads((trained / "config.json").read_text())
    config["maze"]["observe_time"] = True
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    check_refused(["evaluate", str(tmp_path / "run")], "spaces do not match", capsys)


def test_file_that_is_no_checkpoint(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_refused(["evaluate", str(trained / "config.json")], "not a checkpoint", capsys)


@pytest.mark.parametrize("option", [["--episodes", "0"], ["--seed", "-1"], ["--size", "6"]])
def test_evaluate_out_of_range(option: list[str], trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_refused(["evaluate", str(trained), *option], option[0].strip("-"), capsys)


@pytest.mark.parametrize("command", [*(name for name in COMMANDS if name != "demo"), ""])
def test_a_command_alone_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    check_refused([command] if command else [], "--help", capsys)


@pytest.mark.parametrize(
    "options",
    [
        *(["--n-way", "101"], ["--k-shot", "0"], ["--k-shot", "2"], ["--n-filters", "0"]),
        *(["--train-way", "4"], ["--pool", "19"]),
    ],
    ids=" ".join,
)
def test_wrong_for_the_data(
    options: list[str], tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "omniglot", "--root", str(tmp_path), "--data-dir", str(tiny_data), *options]
    check_refused(words, options[0].strip("-").replace("-", "_"), capsys)
    assert list(tmp_path.iterdir()) == []


def test_damaged_data(tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    file = data / "cifar-10-batches-bin" / "data_batch_2.bin"
    file.write_bytes(file.read_bytes()[:-1])
    words = ["train", "images", "--root", str(tmp_path / "runs"), "--data-dir", str(data)]
    check_refused(words, "data_batch_2.bin", capsys)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("option", ["--env=PlasticMaze-v0", "--deterministic", "--size=5"])
def test_maze_options_on_another_task(
    option: str, supervised: Any, trained_supervised: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(trained_supervised), option, *supervised.data]
    check_refused(words, option.partition("=")[0], capsys)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (["--dataset", "omniglot", "--size", "9"], "--size"),
        (["--share", "0.9"], "share"),
        (["--n-way", "21"], "n_way must be from 2 to 20"),
        (["--n-way", "1"], "n_way"),
        (["--k-shot", "2"], "k_shot"),
        (["--occlusion", "quarter", "--n-way", "2"], "--"),
    ],
    ids=str,
)
def test_what_a_trained_network_cannot_be_tried_on(
    option: list[str],
    says: str,
    supervised: Any,
    trained_supervised: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    of_this_task = {"images": ["--share"], "omniglot": ["--n-way", "--k-shot"]}
    names = [word for word in option if word.startswith("--")]
    if not set(names) <= set(of_this_task.get(supervised.task, [])):
        says = "there is no such thing on"
    check_refused(["evaluate", str(trained_supervised), *option, *supervised.data], says, capsys)


def test_data_where_there_are_none(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_refused(["evaluate", str(trained), "--data-dir", "."], "--data-dir", capsys)


def test_watching_what_is_no_maze(trained_supervised: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_refused(["watch", str(trained_supervised)], "only environments can be watched", capsys)


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "other task"])
def test_damaged_checkpoint_of_a_learner(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "patterns", "--n-bits", "6", "--total-episodes", "2", "--eval-episodes", "2", "--quiet"]
    assert main([*words, "--root", str(tmp_path)]) == 0
    capsys.readouterr()
    folder = tmp_path / "patterns" / "plastic" / "seed_0"
    newest = max((folder / "checkpoints").iterdir())
    content = newest.read_bytes()
    changed = {
        "empty": b"",
        "text": b"not tensors",
        "cut": content[: len(content) // 2],
        "other task": content,
    }
    newest.write_bytes(changed[damage])
    if damage == "other task":
        config = folder / "config.json"
        config.write_text(config.read_text().replace('"n_bits": 6', '"n_bits": 8'))
    check_refused(["evaluate", str(folder)], "cannot be loaded", capsys)


@pytest.mark.parametrize("task", ["patterns", "images", "omniglot", "chess", []])
def test_config_of_another_task(
    task: object, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "task": task}))
    check_refused(["evaluate", str(tmp_path / "run")], "not the settings", capsys)


@pytest.mark.parametrize(
    "words",
    [[*TRAIN, "--hidden-size", "3000000"], ["train", "patterns", "--n-bits", "2147483646"]],
    ids=["allocated", "counted"],
)
def test_more_than_fits_into_memory(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused([*words, "--root", str(tmp_path)], "out of memory: use a smaller", capsys)
    assert list(tmp_path.iterdir()) == []


DIVERGES = [
    "--no-bound-eta",
    "--eta",
    "-5",
    "--size",
    "5",
    "--episode-length",
    "60",
    "--hidden-size",
    "8",
    "--threads",
    "1",
    "--quiet",
]


@pytest.mark.filterwarnings("ignore:eta is -")
def test_training_that_diverges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_refused([*TRAIN, "--root", str(tmp_path), *DIVERGES], "diverged", capsys)
    assert not (tmp_path / "maze" / "plastic" / "seed_0" / "result.json").exists()


@pytest.mark.filterwarnings("ignore:eta is -")
def test_learner_that_diverges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "patterns", "--n-bits", "8", "--eta", "-9", "--n-cycles", "9", "--total-episodes", "40"]
    check_refused([*words, "--root", str(tmp_path), "--quiet"], "the training diverged after", capsys)
    assert not (tmp_path / "patterns" / "plastic" / "seed_0" / "result.json").exists()


@pytest.mark.filterwarnings("ignore:eta is -")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_run_that_fails_does_not_stop_the_others(
    jobs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", "maze", "--cores", "plastic", "rnn", "--seeds", "1", "--jobs", jobs]
    words += ["--root", str(tmp_path), "--total-timesteps", "100", "--eval-episodes", "2", *DIVERGES]
    check_refused(words, "1 of 2 trainings failed: plastic seed 0: the training diverged", capsys)
    assert (tmp_path / "maze" / "rnn" / "seed_0" / "result.json").is_file()

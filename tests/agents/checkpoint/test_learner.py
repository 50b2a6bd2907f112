"""A saved learner goes on as if it had never stopped, and a file that does not fit is refused."""

from io import BytesIO
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.utils import ConstantSchedule, LinearSchedule

from plasticrl.agents import EpisodeLearner, TensorFileError, make_network
from plasticrl.agents.checkpoint.tensor_file import read_tensors, write_tensors
from plasticrl.envs.supervised.one_shot import OneShotTask
from plasticrl.envs.supervised.patterns import PatternsTask

TASK = PatternsTask(n_bits=10, n_patterns=2, n_cycles=1, steps_on=3, steps_off=1, test_steps=3)


def learner(network: Any = "plastic", **options: Any) -> EpisodeLearner:
    return EpisodeLearner(
        network, TASK, **{"learning_rate": 0.01, "batch_size": 4, "seed": 0, "device": "cpu", **options}
    )


def load(path: Any, task: PatternsTask = TASK, **options: Any) -> EpisodeLearner:
    return EpisodeLearner.load(path, task, device="cpu", **options)


def contents(model: EpisodeLearner) -> bytes:
    """Everything that is saved: parameters, Adam, statistics, settings, counters, the generator."""
    buffer = BytesIO()
    model.save(buffer)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:eta is .*, outside")  # the paper's is free
@pytest.mark.parametrize("core", ["plastic", "homogeneous", "rnn", "lstm"])
def test_saved_loaded_and_trained_on_equals_uninterrupted(core: str, tmp_path: Path) -> None:
    options = {"network_kwargs": {"hidden_size": 8} if core == "lstm" else {"init_scale": 0.02}}
    learner(core, **options).learn(20).save(tmp_path / "half")
    resumed = load(tmp_path / "half")
    assert (resumed.num_episodes, resumed.n_updates) == (20, 5)
    resumed.learn(20, reset_num_episodes=False)
    assert contents(resumed) == contents(learner(core, **options).learn(40))
    assert contents(resumed) != contents(learner(core, **options).learn(36))


@pytest.mark.parametrize("queries", ["one", "all"])
@pytest.mark.parametrize("options", [{}, {"batch_norm": True, "normalize_features": True}])
def test_a_network_of_convolutions_is_resumed_exactly(options: dict[str, Any], queries: Any) -> None:
    """Its parameters lie in memory channels last, and so must Adam's states."""
    images = np.random.default_rng(0).integers(0, 256, (8, 3, 31, 31), dtype=np.uint8)
    task = OneShotTask(images, n_way=4, pool=5, queries=queries)

    def made() -> EpisodeLearner:
        kwargs = {"n_filters": 4, "alpha_scale": 1.0, **options}
        return EpisodeLearner("plastic", task, 1e-2, 4, network_kwargs=kwargs, seed=0, device="cpu")

    whole, half = made().learn(40), made().learn(20)
    resumed = EpisodeLearner.load(BytesIO(contents(half)), task, device="cpu")
    resumed.learn(20, reset_num_episodes=False)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name
    assert contents(resumed) == contents(whole)


class Keep(KVWriter):
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        self.rows.append({k: v for k, v in key_values.items() if not k.startswith("time/")} | {"step": step})


def rows(model: EpisodeLearner, episodes: int) -> list[dict[str, Any]]:
    keep = Keep()
    model.set_logger(Logger(None, [keep]))
    model.learn(episodes, log_interval=2, reset_num_episodes=False)
    return keep.rows


def test_the_log_goes_on_as_if_uninterrupted() -> None:
    """Saved between two entries: five updates, an entry for every second."""
    whole = rows(learner(), 40)
    first = learner()
    parts = rows(first, 20)
    assert parts + rows(load(BytesIO(contents(first))), 20) == whole
    assert [row["step"] for row in whole] == [8, 16, 24, 32, 40]


def test_a_schedule_goes_on(tmp_path: Path) -> None:
    def stop(locals_: dict[str, Any], globals_: dict[str, Any]) -> bool:
        return bool(locals_["self"].num_timesteps < 20)

    schedule = LinearSchedule(0.02, 0.001, 0.9)
    model = learner(learning_rate=schedule).learn(40, stop)
    model.save(tmp_path / "half")
    resumed = load(tmp_path / "half").learn(20, reset_num_episodes=False)
    assert contents(resumed) == contents(learner(learning_rate=schedule).learn(40))


def test_every_setting_is_kept() -> None:
    model = learner(
        "homogeneous",
        learning_rate=ConstantSchedule(0.003),
        batch_size=3,
        loss="squared_error",
        max_grad_norm=2.5,
        stats_window_size=30,
        network_kwargs={"rule": "oja", "eta": 0.2},
        optimizer_kwargs={"betas": [0.8, 0.99], "eps": 1e-6},
        seed=5,
    )
    again = load(BytesIO(contents(model)))
    assert again.lr_schedule(0.5) == 0.003
    for name in ("batch_size", "loss", "max_grad_norm", "stats_window_size", "network_kwargs", "seed"):
        assert getattr(again, name) == getattr(model, name)
    assert again.optimizer.param_groups[0]["betas"] == (0.8, 0.99)
    assert again.optimizer.param_groups[0]["eps"] == 1e-6
    assert load(BytesIO(contents(learner()))).max_grad_norm == inf


def test_how_much_is_told_is_kept_but_where_to_write_is_never_taken_from_a_file(tmp_path: Path) -> None:
    file = contents(learner(verbose=2, tensorboard_log=str(tmp_path)))
    again = load(BytesIO(file))
    assert (again.verbose, again.tensorboard_log) == (2, None)
    given = load(BytesIO(file), verbose=0, tensorboard_log="here")
    assert (given.verbose, given.tensorboard_log) == (0, "here")
    _, data = read_tensors(BytesIO(file))
    saved = data["settings"]
    older = {name: value for name, value in saved.items() if name != "verbose"}
    assert load(changed(settings=older)).verbose == 0
    with pytest.raises(TensorFileError, match="verbose is a whole number, not 'all'"):
        load(changed(settings={**saved, "verbose": "all"}))


def test_a_task_judged_by_other_metrics_is_welcome() -> None:
    """Statistics of the same name go on, others are forgotten."""

    class Values(PatternsTask):
        def sample(self, batch_size: int, rng: Any) -> Any:
            episode = super().sample(batch_size, rng)
            return episode._replace(target=episode.target / 2, clamp=None)

    model = learner().learn(8)
    again = load(BytesIO(contents(model)), Values(10, 2, 1, 3, 1, 3))
    assert again.statistics.means() == model.statistics.means()
    again.learn(4, reset_num_episodes=False, log_interval=1)
    assert "hidden_mse" in again.statistics.means()
    assert "bit_error" not in again.statistics.means()


def test_an_eval_task_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="eval_task must have the input_shape"):
        load(BytesIO(contents(learner())), eval_task=PatternsTask(n_bits=12))


def test_a_learner_needs_a_task() -> None:
    with pytest.raises(TypeError, match="task must be an EpisodeTask"):
        load(BytesIO(contents(learner())), None)  # type: ignore[arg-type]


def test_settings_given_to_load_come_first() -> None:
    again = load(BytesIO(contents(learner())), batch_size=7, learning_rate=0.5, stats_window_size=14)
    assert (again.batch_size, again.learning_rate, again.stats_window_size) == (7, 0.5, 14)
    again.learn(7, reset_num_episodes=False)
    assert again.num_episodes == 7


def test_amsgrad_is_kept() -> None:
    model = learner(optimizer_kwargs={"amsgrad": True}).learn(8)
    assert contents(load(BytesIO(contents(model)))) == contents(model)


def test_what_a_file_cannot_hold_must_be_given() -> None:
    model = learner(make_network(TASK, "plastic"), learning_rate=lambda progress: 0.01 * progress).learn(8)
    saved = contents(model)
    with pytest.raises(ValueError, match=r"a network object.*network=\.\.\."):
        load(BytesIO(saved))
    with pytest.raises(ValueError, match=r"function as learning rate.*learning_rate=\.\.\."):
        load(BytesIO(saved), network=make_network(TASK, "plastic"))
    again = load(BytesIO(saved), network=make_network(TASK, "plastic"), learning_rate=model.learning_rate)
    assert contents(again) == saved


def test_the_suffix_is_added_and_the_folder_made(tmp_path: Path) -> None:
    model = learner()
    model.save(tmp_path / "new" / "model")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.safetensors"]
    assert contents(load(str(tmp_path / "new" / "model"))) == contents(model)
    assert contents(load(tmp_path / "new" / "model.safetensors")) == contents(model)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")


def test_another_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"trained for .*\[10\].* but the task has .*\[12\]"):
        load(BytesIO(contents(learner())), PatternsTask(n_bits=12))


def test_the_same_vectors_in_other_episodes_are_welcome() -> None:
    longer = PatternsTask(n_bits=10, n_patterns=3)
    assert load(BytesIO(contents(learner())), longer).evaluate(4).n_episodes == 4


def changed(**entries: Any) -> BytesIO:
    """A whole file whose data has other entries."""
    tensors, data = read_tensors(BytesIO(contents(learner().learn(8))))
    file = BytesIO()
    write_tensors(file, tensors, {k: v for k, v in {**data, **entries}.items() if v is not None})
    file.seek(0)
    return file


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ({"format": "other"}, "holds 'other', version 1"),
        ({"version": 2}, "version 2; this plasticrl reads .*version 1"),
        ({"settings": None}, "settings"),
        ({"settings": {}}, "settings"),
        ({"settings": 3}, "settings"),
        ({"num_episodes": None}, "num_episodes"),
        ({"n_updates": "many"}, "counters"),
        ({"generator": None}, "generator"),
        ({"generator": {"bit_generator": "MT19937"}}, "counters"),
        ({"statistics": None}, "statistics' names are None"),
        ({"statistics": "loss"}, "statistics' names are 'loss'"),
        ({"statistics": ["loss", 1, "bit_error"]}, "statistics' names"),
        ({"statistics": ["loss"]}, "^statistics is .* x 1 names"),
    ],
)
def test_data_that_is_not_whole_is_refused(entries: dict[str, Any], match: str) -> None:
    with pytest.raises(TensorFileError, match=match):
        load(changed(**entries))


@pytest.mark.parametrize("name", ["os.system", "plasticrl.agents.EpisodeLearner", "builtins.eval"])
def test_networks_come_from_a_closed_list(name: str) -> None:
    _, data = read_tensors(BytesIO(contents(learner())))
    with pytest.raises(ValueError, match="unknown network"):
        load(changed(settings={**data["settings"], "network": name}))


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("network/core.weight_hh", torch.zeros(11, 12)),
        ("network/core.weight_hh", torch.zeros(11, 11, dtype=torch.float64)),
        ("network/core.weight_hh", None),
        ("network/other", torch.zeros(2)),
        ("optimizer/core.weight_hh/exp_avg", torch.zeros(3)),
        ("optimizer/core.weight_hh/step", None),
        ("optimizer/core.weight_hh/other", torch.zeros(11, 11)),
        ("optimizer/other/exp_avg", torch.zeros(11, 11)),
        ("other", torch.zeros(1)),
        ("statistics", None),
        ("statistics", torch.zeros(2, 4)),
        ("statistics", torch.zeros(6)),
        ("statistics", torch.zeros(2, 3, dtype=torch.int64)),
        ("statistics", torch.zeros(26, 3)),  # the window has 100 episodes, 25 updates
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(name: str, tensor: Any) -> None:
    tensors, data = read_tensors(BytesIO(contents(learner().learn(8))))
    tensors.pop(name, None)
    if tensor is not None:
        tensors[name] = tensor
    file = BytesIO()
    write_tensors(file, tensors, data)
    file.seek(0)
    with pytest.raises(TensorFileError, match=f"^{name} is "):
        load(file)

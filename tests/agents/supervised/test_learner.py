"""The learner learns, in SB3's shape, and the same way each time."""

import os
import signal
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    LogEveryNTimesteps,
    ProgressBarCallback,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.logger import KVWriter, Logger, configure
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch.nn.functional import one_hot

from plasticrl.agents import EpisodeLearner, EpisodeNetwork, NonFiniteError, make_network
from plasticrl.agents.supervised.network import EpisodeTensors, to_tensors
from plasticrl.envs import EpisodeEnv
from plasticrl.envs.supervised.patterns import PatternsTask
from plasticrl.envs.supervised.task import Episode, EpisodeTask
from plasticrl.nn import PlasticLinear

TASK = PatternsTask(n_bits=20, n_patterns=2, n_cycles=1, steps_on=3, steps_off=1, test_steps=3)


class Directions(EpisodeTask):
    """One example of each of N random directions with its label, then one of them again, noisy."""

    n_classes = 3
    input_shape = (8,)
    steps = n_classes + 1

    def sample(self, batch_size: int, rng: np.random.Generator) -> Episode:
        shown = rng.normal(size=(self.steps - 1, batch_size, 8))
        labels = rng.permuted(np.tile(np.arange(3), (batch_size, 1)), axis=1).T
        query = rng.integers(0, 3, batch_size)
        target = labels[query, np.arange(batch_size)]
        asked = shown[query, np.arange(batch_size)] + 0.1 * rng.normal(size=(batch_size, 8))
        mask = np.zeros((self.steps, batch_size), np.bool_)
        mask[-1] = True
        inputs = np.concatenate([shown, asked[None]]).astype(np.float32)
        labels = np.concatenate([labels, np.full((1, batch_size), -1)])
        return Episode(inputs, None, labels, target, mask, None)


class Chosen(Directions):
    """As long as the patterns, but with classes."""

    input_shape = (20,)


class TinyClassifier(EpisodeNetwork):
    def __init__(self) -> None:
        super().__init__()
        self.head = PlasticLinear(8, 3, rule="hebb", eta=0.1)
        self.core = self.head

    def forward(self, episode: EpisodeTensors) -> tuple[Tensor, Any]:
        assert episode.labels is not None
        told = (episode.labels >= 0)[..., None] * one_hot(episode.labels.clamp_min(0), 3)
        probabilities, state = self.head(episode.inputs, drive=1000.0 * told)
        return probabilities.clamp_min(1e-30).log(), state


def learner(core: Any = "plastic", task: EpisodeTask = TASK, **options: Any) -> EpisodeLearner:
    return EpisodeLearner(
        core, task, **{"learning_rate": 0.01, "batch_size": 4, "seed": 0, "device": "cpu", **options}
    )


def parameters(model: EpisodeLearner) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Keep(KVWriter):
    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        self.rows[step] = dict(key_values)


def logged(model: EpisodeLearner, episodes: int, **options: Any) -> dict[int, dict[str, Any]]:
    keep = Keep()
    model.set_logger(Logger(None, [keep]))
    model.learn(episodes, **options)
    return keep.rows


def test_plasticity_completes_patterns_it_has_never_seen() -> None:
    model = learner(batch_size=16)
    before = model.evaluate(200).metrics["hidden_bit_error"]
    assert before.low < 0.5 < before.high + 0.02
    after = model.learn(16 * 200).evaluate(200).metrics["hidden_bit_error"]
    assert after.high < 0.1
    assert model.learn(16, reset_num_episodes=False).evaluate(200).metrics["bit_error"].high < 0.05


def test_a_network_of_ones_own_learns_to_classify() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = learner(TinyClassifier(), Directions(), batch_size=32)
    before = model.evaluate(300).metrics["accuracy"]
    assert before.low < 1 / 3 < before.high
    assert model.learn(32 * 300).evaluate(300).metrics["accuracy"].low > 0.75
    answers = model.predict(Directions().sample(5, np.random.default_rng(0)))
    assert answers.shape == (5,)
    assert answers.dtype == np.int64


def test_vectors_of_ones_own_need_not_tell_what_is_hidden() -> None:
    class Open(PatternsTask):
        def sample(self, batch_size: int, rng: np.random.Generator) -> Episode:
            return super().sample(batch_size, rng)._replace(hidden=None)

    model = learner(task=Open(20, 2, 1, 3, 1, 3))
    assert {"train/bit_error", "train/hidden_bit_error"} <= logged(model, 8, log_interval=1)[8].keys()
    assert same(parameters(model), parameters(learner().learn(8)))
    found = model.evaluate(20).metrics
    assert (
        found["hidden_bit_error"]
        == found["bit_error"]
        == learner().learn(8).evaluate(20).metrics["bit_error"]
    )


def test_a_prediction_is_the_output_at_the_judged_step() -> None:
    model = learner().learn(40)
    episode = TASK.sample(3, np.random.default_rng(5))
    prediction = model.predict(episode)
    assert prediction.shape == (3, 20)
    with torch.no_grad():
        outputs, _ = model.network(to_tensors(episode))
    np.testing.assert_array_equal(prediction, outputs[-1].numpy())
    shown = ~episode.hidden  # type: ignore[operator]
    np.testing.assert_array_equal(prediction[shown], episode.target[shown])


def test_one_update_is_adam_on_the_squared_error() -> None:
    """Against the same steps written out with torch's own parts, two updates with clipping."""
    model = learner(max_grad_norm=0.5, optimizer_kwargs={"fused": False})
    network = make_network(TASK, "plastic")
    network.load_state_dict(model.network.state_dict())
    rng = np.random.default_rng(0)
    rng.bit_generator.state = model.rng.bit_generator.state
    adam = torch.optim.Adam(network.parameters(), lr=0.01)
    norms = []
    for _ in range(2):
        episode = to_tensors(TASK.sample(4, rng))
        loss = (network(episode)[0][-1] - episode.target).square().sum(-1).mean()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norms.append(torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5).item())
        adam.step()
    assert min(norms) > 0.5
    rows = logged(model, 8, log_interval=1)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(model.network.state_dict()[name], value)
    assert [row["train/grad_norm"] for row in rows.values()] == pytest.approx(norms)


@pytest.mark.parametrize("core", ["plastic", "homogeneous", "rnn", "lstm"])
def test_the_same_seed_gives_the_same_bits_and_leaves_other_random_numbers_alone(core: str) -> None:
    options = {"network_kwargs": {"hidden_size": 16}} if core == "lstm" else {}
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = parameters(learner(core, seed=1, **options).learn(40))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(5)
    assert same(first, parameters(learner(core, seed=1, **options).learn(40)))
    assert not same(first, parameters(learner(core, seed=2, **options).learn(40)))


def test_learning_goes_on_where_it_stopped() -> None:
    in_parts = learner().learn(24).learn(24, reset_num_episodes=False)
    assert in_parts.num_timesteps == in_parts.num_episodes == 48
    assert same(parameters(in_parts), parameters(learner().learn(48)))
    assert in_parts.learn(8).num_episodes == 8


def test_evaluating_and_predicting_do_not_change_training() -> None:
    class Evaluate(BaseCallback):
        def _on_step(self) -> bool:
            self.model.evaluate(3)  # type: ignore[attr-defined]
            return True

    assert same(parameters(learner().learn(24, Evaluate())), parameters(learner().learn(24)))


def test_evaluation_draws_from_the_eval_task() -> None:
    easy = PatternsTask(
        n_bits=20, n_patterns=1, n_cycles=1, steps_on=3, steps_off=1, test_steps=3, degraded=0.1
    )
    model = learner(eval_task=easy)
    assert model.evaluate(20) == model.evaluate(20, easy)
    assert model.evaluate(20) != model.evaluate(20, TASK)
    assert model.evaluate(20, seed=1) != model.evaluate(20, seed=2)


def test_batches_are_whole_and_callbacks_see_each_update() -> None:
    seen: list[tuple[str, int]] = []

    class Watch(BaseCallback):
        def _on_training_start(self) -> None:
            seen.append(("start", self.num_timesteps))

        def _on_rollout_start(self) -> None:
            seen.append(("before", self.model.num_timesteps))

        def _on_step(self) -> bool:
            seen.append(("step", self.num_timesteps))
            return True

        def _on_rollout_end(self) -> None:
            seen.append(("after", self.num_timesteps))

        def _on_training_end(self) -> None:
            seen.append(("end", self.num_timesteps))

    learner().learn(5, Watch())
    updates = [("before", 0), ("step", 4), ("after", 4), ("before", 4), ("step", 8), ("after", 8)]
    assert seen == [("start", 0), *updates, ("end", 8)]


def test_a_callback_may_stop_training() -> None:
    model = learner().learn(100, lambda locals_, globals_: locals_["self"].num_timesteps < 12)
    assert (model.num_episodes, model.n_updates) == (12, 3)


def test_sb3s_checkpoint_callbacks_work(tmp_path: Path) -> None:
    checkpoints = CheckpointCallback(save_freq=1, save_path=str(tmp_path), name_prefix="a")
    model = learner().learn(16, EveryNTimesteps(8, checkpoints))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a_16_steps.zip", "a_8_steps.zip"]
    again = EpisodeLearner.load(tmp_path / "a_16_steps.zip", TASK, device="cpu")
    assert same(parameters(again), parameters(model))


def test_sb3s_other_callbacks_that_ask_for_no_environment_work(tmp_path: Path) -> None:
    checkpoints = CheckpointCallback(8, str(tmp_path), save_replay_buffer=True, save_vecnormalize=True)
    rows = logged(learner(), 24, callback=[LogEveryNTimesteps(8), CallbackList([checkpoints])])
    assert list(rows) == [8, 16, 24]
    assert rows.keys() == logged(learner(), 24, log_interval=2).keys()
    assert [row["train/n_updates"] for row in rows.values()] == [2, 4, 6]


@pytest.mark.parametrize(
    ("callback", "instead"),
    [
        (lambda: EvalCallback(DummyVecEnv([lambda: EpisodeEnv(TASK)])), "evaluate.*eval_task"),
        (lambda: StopTrainingOnMaxEpisodes(5), "total_episodes"),
        (lambda: ProgressBarCallback(), "progress_bar=True"),
    ],
)
@pytest.mark.filterwarnings("ignore::tqdm.TqdmExperimentalWarning")
def test_callbacks_that_ask_for_an_environment_are_told_what_there_is(callback: Any, instead: str) -> None:
    model = learner()
    with pytest.raises(TypeError, match=f"^EpisodeLearner .* no environment.*{instead}"):
        model.learn(8, callback())


def test_there_must_be_an_update_to_log() -> None:
    class Early(BaseCallback):
        def _on_rollout_start(self) -> None:
            self.model.dump_logs()  # type: ignore[attr-defined]

        def _on_step(self) -> bool:
            return True

    model = learner()
    for write in (model.dump_logs, lambda: model.learn(4, Early()), learner().learn(4).dump_logs):
        with pytest.raises(
            RuntimeError, match=r"no update to log: call dump_logs\(\) in a callback's on_step"
        ):
            write()


def test_what_is_logged() -> None:
    rows = logged(learner(stats_window_size=8), 16, log_interval=2)
    assert list(rows) == [8, 16]
    assert rows[16].keys() == {
        *["time/episodes", "time/episodes_per_second", "time/time_elapsed"],
        *["train/loss", "train/bit_error", "train/hidden_bit_error"],
        *["train/learning_rate", "train/grad_norm", "train/n_updates"],
        *["plastic/eta", "plastic/alpha_abs_mean", "plastic/trace_abs_mean"],
    }
    assert (rows[16]["time/episodes"], rows[16]["train/n_updates"]) == (16, 4)
    assert rows[16]["plastic/trace_abs_mean"] > 0
    assert all(np.isfinite(value) for row in rows.values() for value in row.values())


def test_logged_losses_are_means_over_the_window() -> None:
    each = [row["train/loss"] for row in logged(learner(stats_window_size=4), 24, log_interval=1).values()]
    window = logged(learner(stats_window_size=12), 24, log_interval=6)
    assert window[24]["train/loss"] == pytest.approx(np.mean(each[-3:]))


def test_learning_rate_schedule() -> None:
    rates = [
        row["train/learning_rate"]
        for row in logged(learner(learning_rate=LinearSchedule(0.1, 0.0, 1.0)), 16, log_interval=1).values()
    ]
    assert rates == pytest.approx([0.1, 0.075, 0.05, 0.025])


def test_tensorboard(tmp_path: Path) -> None:
    model = learner(tensorboard_log=str(tmp_path)).learn(16, log_interval=1, tb_log_name="run")
    model.learn(16, log_interval=1, tb_log_name="run", reset_num_episodes=False)
    model.logger.close()
    events = EventAccumulator(str(tmp_path / "run_1")).Reload()
    assert [scalar.step for scalar in events.Scalars("train/loss")] == list(range(4, 33, 4))


# tqdm.rich warns that it is experimental; SB3 silences that at import, pytest undoes it
@pytest.mark.filterwarnings("ignore::tqdm.TqdmExperimentalWarning")
def test_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    learner().learn(40, progress_bar=True)
    captured = capsys.readouterr()
    assert "40/40" in captured.out + captured.err


def test_ctrl_c_ends_the_update_and_training_can_go_on() -> None:
    class Press(BaseCallback):
        ended = False

        def _on_rollout_start(self) -> None:
            if self.model.num_timesteps == 8:
                os.kill(os.getpid(), signal.SIGINT)

        def _on_step(self) -> bool:
            return True

        def _on_training_end(self) -> None:
            self.ended = True

    model, press = learner(), Press()
    with pytest.raises(KeyboardInterrupt):
        model.learn(24, press)
    assert (model.num_episodes, press.ended) == (12, True)
    model.learn(12, reset_num_episodes=False)
    assert same(parameters(model), parameters(learner().learn(24)))


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda e: e._replace(inputs=e.inputs * np.float32(np.nan), clamp=None), "the episode's inputs"),
        (lambda e: e._replace(target=e.target / np.float32(0)), "the episode's target"),
    ],
)
def test_a_number_that_is_not_finite_stops_before_the_parameters_change(spoil: Any, named: str) -> None:
    class Spoilt(PatternsTask):
        drawn = 0

        def sample(self, batch_size: int, rng: np.random.Generator) -> Episode:
            self.drawn += 1
            episode = super().sample(batch_size, rng)
            return spoil(episode) if self.drawn == 3 else episode  # type: ignore[no-any-return]

    task = Spoilt(**{name: getattr(TASK, name) for name in ("n_bits", "n_patterns")})
    model = learner(task=task)
    with np.errstate(divide="ignore"), pytest.raises(NonFiniteError, match=f"^{named}.* update 3, after 8 "):
        model.learn(40)
    assert (model.num_episodes, model.n_updates) == (8, 2)
    assert same(parameters(model), parameters(learner(task=PatternsTask(20, 2)).learn(8)))


def test_a_parameter_that_is_not_finite_is_named() -> None:
    model = learner()
    with torch.no_grad():
        model.network.get_parameter("core.weight_hh")[0, 0] = inf
    with pytest.raises(NonFiniteError, match=r"^parameter core\.weight_hh: .* update 1,"):
        model.learn(4)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("learning_rate", {"learning_rate": 0.0}),
        ("learning_rate", {"learning_rate": float("nan")}),
        ("learning_rate", {"learning_rate": "x"}),
        ("batch_size", {"batch_size": 0}),
        ("loss", {"loss": "cross_entropy"}),
        ("max_grad_norm", {"max_grad_norm": 0}),
        ("max_grad_norm", {"max_grad_norm": "1"}),
        ("stats_window_size", {"stats_window_size": 0}),
        ("seed", {"seed": -1}),
        ("seed", {"seed": 1.5}),
        ("unknown network 'gru'", {"core": "gru"}),
        ("network_kwargs", {"network_kwargs": {"rule": object()}}),
        ("network_kwargs", {"core": TinyClassifier(), "network_kwargs": {"eta": 0.1}}),
        ("optimizer_kwargs", {"optimizer_kwargs": {"eps": inf}}),
        ("optimizer_kwargs must not contain lr", {"optimizer_kwargs": {"lr": 0.1}}),
        (r"eval_task must have the input_shape .*\(20,\), not \(8,\)", {"eval_task": PatternsTask(8)}),
        ("eval_task must have classes if task has any", {"eval_task": Chosen()}),
    ],
)
def test_arguments_are_checked_by_name(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=name):
        learner(**options)


@pytest.mark.parametrize("options", [{"task": None}, {"eval_task": "patterns"}])
def test_a_task_is_a_task(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(TypeError, match=f"^{name} must be an EpisodeTask, such as PatternsTask"):
        learner(**options)


@pytest.mark.parametrize("options", [{"total_episodes": 0}, {"total_episodes": 4, "log_interval": 0}])
def test_numbers_given_to_learn_are_checked(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=list(options)[-1]):
        learner().learn(**options)


def test_a_logger_of_ones_own_is_used(tmp_path: Path) -> None:
    model = learner()
    with pytest.raises(RuntimeError, match="no logger yet"):
        _ = model.logger
    logger = configure(str(tmp_path), ["csv"])
    model.set_logger(logger)
    assert model.learn(8, log_interval=1).logger is logger
    logger.close()
    assert len((tmp_path / "progress.csv").read_text().splitlines()) == 3

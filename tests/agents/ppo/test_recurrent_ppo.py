"""RecurrentPPO: minibatches of whole sequences, resume, and the arguments that it refuses."""

from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import maze_settings
import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from plasticrl.agents import CORE_NAMES, RecurrentA2C, RecurrentPPO, TensorFileError
from plasticrl.envs import make_vec_env

N_ENVS, N_STEPS, HALF = 4, 7, 4 * 7 * 3


def mazes(n_envs: int = N_ENVS) -> VecEnv:
    return make_vec_env("PlasticMaze-v0", n_envs, seed=5, size=5, episode_length=10)


def agent(core: str = "plastic", policy: Any = maze_settings.POLICY, **options: Any) -> RecurrentPPO:
    return RecurrentPPO(
        "PlasticPolicy",
        options.pop("env", None) or mazes(),
        policy_kwargs={"core": core, "hidden_size": 8, **policy},
        **{"n_steps": N_STEPS, "n_epochs": 3, "seed": 2, "device": "cpu", **options},
    )


def contents(model: RecurrentPPO) -> bytes:
    buffer = BytesIO()
    model.save(buffer, exclude=["ep_info_buffer"])  # it holds times of day
    return buffer.getvalue()


@pytest.mark.parametrize("normalizes", [True, False])
@pytest.mark.parametrize("core", CORE_NAMES)
def test_it_resumes_to_the_same_bits(core: str, normalizes: bool, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "policy": {} if normalizes else maze_settings.POLICY,
        "clip_range": 0.1,
        "clip_range_vf": 0.3,
        "target_kl": 0.05,
        "batch_size": 2 * N_STEPS,
    }
    whole = agent(core, **options).learn(2 * HALF)
    half = agent(core, **options).learn(HALF)
    half.save(tmp_path / "half")
    torch.manual_seed(99)  # what another process would bring
    again = RecurrentPPO.load(tmp_path / "half", mazes(), "cpu")
    assert again.num_timesteps == HALF
    again.learn(HALF, reset_num_timesteps=False)
    # learn() was asked for other totals: that is the only difference.
    again._total_timesteps, again._num_timesteps_at_start = whole._total_timesteps, 0
    assert contents(again) == contents(whole)
    assert contents(again) != contents(half)


def test_schedules_are_saved(tmp_path: Path) -> None:
    schedules = {name: LinearSchedule(0.2, 0.05, 1.0) for name in ("clip_range", "clip_range_vf")}
    model = agent(learning_rate=LinearSchedule(0.01, 0.001, 1.0), **schedules)
    model.learn(HALF).save(tmp_path / "model")
    again = RecurrentPPO.load(tmp_path / "model", mazes(), "cpu")
    for name in (*schedules, "learning_rate"):
        saved, loaded = getattr(model, name), getattr(again, name)
        assert [loaded(x) for x in (1, 0.3)] == [saved(x) for x in (1, 0.3)]
    again.learn(30)


def test_a_pass_shows_every_sequence_once() -> None:
    model = agent(env=mazes(6), batch_size=2 * N_STEPS)
    passes = [[rows.tolist() for rows in model._minibatches()] for _ in range(20)]
    for minibatches in passes:
        assert [len(rows) for rows in minibatches] == [2, 2, 2]
        assert sorted(row for rows in minibatches for row in rows) == list(range(6))
    assert len({str(minibatches) for minibatches in passes}) > 5


@pytest.mark.parametrize(
    ("n_envs", "sequences"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 5), (6, 2), (8, 2), (16, 4)]
)
def test_by_default_there_are_up_to_four_minibatches(n_envs: int, sequences: int) -> None:
    assert agent(env=mazes(n_envs))._sequences_per_minibatch() == sequences


@pytest.mark.parametrize("core", CORE_NAMES)
def test_minibatches_are_unrolled_from_the_start_of_the_rollout(core: str) -> None:
    """Without a step in between, the ratio of every action's probabilities is 1, whatever the episodes."""
    model = agent(core, learning_rate=1e-12, n_epochs=1, batch_size=N_STEPS * 2)
    model.learn(5 * HALF)  # rollouts begin within episodes
    starts = model.rollout_buffer.episode_starts
    assert not starts[0].all()
    assert starts[1:].any()
    assert core == "feedforward" or model.rollout_buffer.state[0].abs().sum() > 0
    steps = model._steps_of_rollout()
    for rows in model._minibatches():
        loss = model._loss(rows, steps)
        assert abs(loss.approx_kl.item()) < 1e-9
        assert loss.clip_fraction.item() == 0


def test_gradients_flow_through_the_whole_sequence() -> None:
    """The first observation of a rollout changes the loss of its last step."""
    model = agent("lstm", n_epochs=1)
    model.learn(N_ENVS * N_STEPS)
    rollout = model.rollout_buffer
    rollout.episode_starts[1:] = False
    observations = rollout.flat_observations(model.device)
    assert isinstance(observations, torch.Tensor)
    observations.requires_grad_()
    starts = torch.as_tensor(rollout.episode_starts)
    _, values, _ = model.policy(observations, rollout.state, starts)
    values.view(N_STEPS, N_ENVS)[-1].sum().backward()
    assert observations.grad is not None
    assert (observations.grad.view(N_STEPS, N_ENVS, -1)[0].abs().sum(-1) > 0).all()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"batch_size": N_STEPS + 1}, "batch_size=8 does not divide a rollout of 4 x 7 steps .*: give 7, 14, 28"),
    ({"batch_size": 3 * N_STEPS}, "does not divide a rollout"),
    ({"batch_size": 0}, "batch_size"),
    ({"batch_size": 1.5}, "batch_size"),
    ({"n_epochs": 0}, "n_epochs"),
    ({"clip_range": 0}, "clip_range must be finite and above 0, or a function, not 0"),
    ({"clip_range": float("nan")}, "clip_range"),
    ({"clip_range": None}, "clip_range"),
    ({"clip_range_vf": -0.1}, "clip_range_vf"),
    ({"target_kl": 0}, "target_kl"),
    ({"target_kl": lambda remaining: remaining}, "target_kl"),
    ({"gamma": 2}, "gamma"),
    ({"n_steps": 0}, "n_steps"),
    ({"learning_rate": -1}, "learning_rate"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=[next(iter(options)) for options, _ in WRONG])
def test_wrong_arguments_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agent(**options)


def test_another_number_of_environments_is_checked_before_it_trains() -> None:
    model = agent(batch_size=4 * N_STEPS)
    model.set_env(mazes(6))
    with pytest.raises(ValueError, match="batch_size=28 does not divide a rollout of 6 x 7"):
        model.learn(100)
    assert model.num_timesteps == 0
    model.batch_size = None
    model.learn(6 * N_STEPS)
    assert model.num_timesteps == 6 * N_STEPS


def test_minibatches_of_one_sequence_are_mentioned() -> None:
    model = agent(batch_size=N_STEPS)
    with pytest.warns(UserWarning, match="each minibatch is one sequence.*batch_size"):
        model.learn(10)
    agent(batch_size=N_STEPS, normalize_advantage=False).learn(10)
    agent(env=mazes(1)).learn(10)  # there are no others to compare with


def test_a_single_step_is_not_normalized() -> None:
    model = agent(env=mazes(1), n_steps=1)
    model.learn(20)
    assert all(parameter.isfinite().all() for parameter in model.policy.parameters())


def test_files_of_the_two_learners_are_told_apart(tmp_path: Path) -> None:
    agent().save(tmp_path / "ppo")
    with pytest.raises(TensorFileError, match=r"plasticrl\.RecurrentPPO"):
        RecurrentA2C.load(tmp_path / "ppo")
    a2c = RecurrentA2C("PlasticPolicy", mazes(), policy_kwargs={"hidden_size": 8}, device="cpu")
    a2c.save(tmp_path / "a2c")
    with pytest.raises(TensorFileError, match=r"plasticrl\.RecurrentA2C"):
        RecurrentPPO.load(tmp_path / "a2c")


def test_a_function_must_be_given_again(tmp_path: Path) -> None:
    agent(clip_range=lambda remaining: 0.1 + 0.1 * remaining).save(tmp_path / "ppo")
    with pytest.raises(ValueError, match="clip_range"):
        RecurrentPPO.load(tmp_path / "ppo")
    model = RecurrentPPO.load(tmp_path / "ppo", mazes(), "cpu", clip_range=0.3, n_epochs=1)
    assert (model.clip_range, model.n_epochs) == (0.3, 1)
    model.learn(30)


def test_every_rollout_that_is_due_is_logged() -> None:
    """Whatever the number of passes; a resumed training logs the same ones."""
    model = agent(n_epochs=3)
    model.learn(N_ENVS * N_STEPS, log_interval=None)
    logged: list[int] = []
    with patch.object(Logger, "dump", lambda _, step=0: logged.append(step)):
        model.learn(5 * N_ENVS * N_STEPS, log_interval=2, reset_num_timesteps=False)
    assert [step // (N_ENVS * N_STEPS) for step in logged] == [2, 4, 6]


def test_actions_of_a_trained_agent_use_its_memory() -> None:
    model = agent("lstm").learn(HALF)
    obs = np.zeros((N_ENVS, *(model.observation_space.shape or ())), dtype=np.float32)
    _, state = model.predict(obs)
    assert state is not None
    actions, after = model.predict(obs, state, np.zeros(N_ENVS, dtype=bool))
    assert after is not None
    assert actions.shape == (N_ENVS,)
    assert not np.array_equal(state[0], after[0])

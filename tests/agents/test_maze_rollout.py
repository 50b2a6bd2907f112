"""Playing a rollout in one compiled loop against stepping policy and maze in turn."""

from contextlib import nullcontext
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.vec_env import VecEnvWrapper, VecNormalize

from plasticrl.agents import PlasticPolicy, RecurrentA2C, rollout_collection
from plasticrl.agents.maze_rollout import can_play
from plasticrl.envs import make_vec_env

CORES = ("plastic", "homogeneous", "rnn")
ARRAYS = ("observations", "actions", "rewards", "episode_starts", "values", "returns", "advantages")
RULES = ("hebb", "oja", "clipped")


class Stepwise(VecEnvWrapper):
    """Changes nothing, but hides the maze, so that it has to be stepped."""

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        return self.venv.step_wait()


class Recorder(BaseCallback):
    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.stop_at = stop_at
        self.rollouts: list[dict[str, Any]] = []
        self.steps: list[tuple[Any, ...]] = []

    def _on_step(self) -> bool:
        found = self.locals
        ends = [(i, info["episode"]["r"]) for i, info in enumerate(found["infos"]) if "episode" in info]
        self.steps.append((self.num_timesteps, found["rewards"].tolist(), found["dones"].tolist(), ends))
        return self.n_calls != self.stop_at

    def _on_rollout_end(self) -> None:
        kept = vars(self.model.rollout_buffer)
        self.rollouts.append(
            {name: kept[name].copy() for name in ARRAYS} | {"outputs": kept["outputs"].numpy()}
        )


def trained(
    stepwise: bool, n_steps: int, total: int, callback: Any, core: str, n_envs: int = 3, **more: Any
) -> RecurrentA2C:
    every = more.pop("relocate_every", None)
    maze = {"size": 5, "episode_length": 20, "relocate_every": every}
    env = make_vec_env("PlasticMaze-v0", n_envs=n_envs, seed=5, **maze)
    kwargs = {"core": core, "hidden_size": 19, **more}
    if core != "rnn":
        kwargs["eta"] = 0.1
    model = RecurrentA2C(
        "PlasticPolicy",
        Stepwise(env) if stepwise else env,
        n_steps=n_steps,
        policy_kwargs=kwargs,
        learning_rate=1e-2,
        seed=2,
    )
    assert can_play(model.policy, model.env) != stepwise
    return model.learn(total, callback)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n_steps", [20, 33, 7])  # whole episodes, more, less
def test_playing_ahead_is_stepping(core, rule, n_steps):
    more = {} if core == "rnn" else {"rule": rule}
    check_playing_ahead(core, n_steps, **more)


@pytest.mark.parametrize("n_steps", [20, 33, 7])
@pytest.mark.parametrize("relocate_every", [1, 3])
def test_playing_ahead_is_stepping_where_the_reward_moves(n_steps, relocate_every):
    check_playing_ahead("plastic", n_steps, relocate_every=relocate_every)


def check_playing_ahead(core, n_steps, **more):
    records = [Recorder(), Recorder()]
    models = [
        trained(stepwise, n_steps, 4 * 3 * n_steps, record, core, **more)
        for stepwise, record in zip((False, True), records, strict=True)
    ]
    for ahead, stepped in zip(records[0].rollouts, records[1].rollouts, strict=True):
        for name in ("observations", "actions", "rewards", "episode_starts"):
            np.testing.assert_array_equal(ahead[name], stepped[name], err_msg=name)
        for name in ("outputs", "values", "returns", "advantages"):
            np.testing.assert_allclose(ahead[name], stepped[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert records[0].steps == records[1].steps
    for one, other in zip(models[0].core_state, models[1].core_state, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("core", CORES)
def test_a_run_that_a_callback_stops_goes_on_from_there(core):
    models = []
    for stepwise in (False, True):
        model = trained(stepwise, 33, 10_000, Recorder(stop_at=45), core)
        assert model.num_timesteps == 45 * 3
        models.append(model)
    np.testing.assert_array_equal(models[0]._last_obs, models[1]._last_obs)
    for one, other in zip(models[0].core_state, models[1].core_state, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


class BreaksOff(BaseCallback):
    """Ends a run in its third step: by returning False, or by an exception."""

    def __init__(self, error: type[BaseException] | None) -> None:
        super().__init__()
        self.error = error

    def _on_step(self) -> bool:
        if self.n_calls == 3 and self.error is not None:
            raise self.error
        return self.n_calls < 3


def broken_off(core: str, error: type[BaseException] | None, *, stepwise: bool = False) -> RecurrentA2C:
    more = {"eta": 0.1} if core in ("plastic", "homogeneous") else {}
    env = make_vec_env("PlasticMaze-v0", n_envs=2, seed=5, size=5, episode_length=20)
    model = RecurrentA2C(
        "PlasticPolicy",
        Stepwise(env) if stepwise else env,
        n_steps=10,
        learning_rate=1e-2,
        seed=2,
        policy_kwargs={"core": core, "hidden_size": 9, **more},
    ).learn(20)
    with pytest.raises(error) if error else nullcontext():
        model.learn(200, BreaksOff(error), reset_num_timesteps=False)
    assert model.num_timesteps == 20 + 2 * 3
    return model


class SavesAtTheStart(BaseCallback):
    def _on_training_start(self) -> None:
        self.file = BytesIO()
        self.model.save(self.file, exclude=["ep_info_buffer"])  # it tells times of day

    def _on_step(self) -> bool:
        return True


def gone_on(model: RecurrentA2C) -> tuple[bytes, dict[str, torch.Tensor]]:
    """The checkpoint from which a model goes on, and its parameters after that."""
    save = SavesAtTheStart()
    model.learn(60, save, reset_num_timesteps=False)
    return save.file.getvalue(), model.policy.state_dict()


def check_same(
    one: tuple[bytes, dict[str, torch.Tensor]], other: tuple[bytes, dict[str, torch.Tensor]]
) -> None:
    assert one[0] == other[0]
    for name, tensor in one[1].items():
        assert torch.equal(tensor, other[1][name]), name


@pytest.mark.parametrize("core", [*CORES, "lstm"])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_run_that_an_exception_breaks_off_goes_on_as_one_that_a_callback_stops(core, error):
    stopped = gone_on(broken_off(core, None))
    check_same(gone_on(broken_off(core, error)), stopped)


@pytest.mark.parametrize("core", CORES)
def test_after_an_exception_the_core_s_state_is_that_of_the_steps_taken(core):
    ahead, stepped = (broken_off(core, ZeroDivisionError, stepwise=stepwise) for stepwise in (False, True))
    for one, other in zip(ahead.core_state, stepped.core_state, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_an_interrupt_while_playing_ahead_leaves_the_state_as_it_was(monkeypatch):
    model = broken_off("plastic", None)
    before = [part.clone() for part in model.core_state]

    def interrupted(policy, env, state, *rest):
        for part in state:
            part.fill_(torch.nan)
        raise KeyboardInterrupt

    monkeypatch.setattr(rollout_collection, "play_ahead", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.learn(60, reset_num_timesteps=False)
    for one, other in zip(model.core_state, before, strict=True):
        assert torch.equal(one, other)


def test_an_interrupt_of_going_back_is_made_good_when_training_goes_on(monkeypatch):
    stopped = gone_on(broken_off("plastic", None))
    with monkeypatch.context() as patch:
        patch.setattr(RecurrentA2C, "_settle", lambda self: None)
        interrupted = broken_off("plastic", ZeroDivisionError)
    check_same(gone_on(interrupted), stopped)


def test_another_env_may_follow_an_interrupt_of_going_back(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(RecurrentA2C, "_settle", lambda self: None)
        model = broken_off("plastic", ZeroDivisionError)
    model.set_env(make_vec_env("PlasticMaze-v0", n_envs=3, size=5, episode_length=20))
    assert model.core_state is None
    model.learn(60, SavesAtTheStart())


def test_sb3_callbacks_see_every_step():
    stop = StopTrainingOnMaxEpisodes(4)
    model = trained(False, 100, 100_000, stop, "plastic")
    assert model.num_timesteps == 20 * 3 * 4  # four episodes of each maze


def test_what_is_not_the_plain_case_is_stepped():
    env = make_vec_env("PlasticMaze-v0", n_envs=2)

    def policy(**more: Any) -> PlasticPolicy:
        return RecurrentA2C("PlasticPolicy", env, policy_kwargs={"hidden_size": 8, **more}).policy

    class Own(PlasticPolicy):
        pass

    assert can_play(policy(), env)
    assert not can_play(policy(), VecNormalize(env))
    assert not can_play(policy(), make_vec_env("CartPole-v1"))
    assert not can_play(policy(core="lstm"), env)
    assert not can_play(RecurrentA2C(Own, env, policy_kwargs={"hidden_size": 8}).policy, env)
    assert not can_play(policy().double(), env)


def test_a_play_with_many_mazes_and_threads_is_the_same():
    torch.set_num_threads(2)
    records = [Recorder(), Recorder()]
    for stepwise, record in zip((False, True), records, strict=True):
        trained(stepwise, 40, 40 * 40, record, "plastic", n_envs=40, hidden_size=64)
    np.testing.assert_array_equal(records[0].rollouts[0]["actions"], records[1].rollouts[0]["actions"])


@pytest.mark.parametrize("seed", range(3))
def test_actions_have_the_policy_s_probabilities(seed):
    torch.manual_seed(seed)
    env = make_vec_env("PlasticMaze-v0", n_envs=2)
    policy = RecurrentA2C("PlasticPolicy", env, policy_kwargs={"hidden_size": 8, "ortho_init": False}).policy
    outputs = torch.randn(1, 8).expand(40_000, 8) * 4
    wanted = policy.distribution(outputs[:1]).distribution.probs[0]
    counts = torch.bincount(policy.sample(outputs), minlength=4)
    spread = (wanted * (1 - wanted) / len(outputs)).sqrt()
    assert ((counts / len(outputs) - wanted).abs() < 5 * spread + 1e-9).all()

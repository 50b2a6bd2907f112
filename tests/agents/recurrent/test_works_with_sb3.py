"""SB3's own tools on the agent, unchanged: evaluation, callbacks, wrappers, env kinds, parameters."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import maze_settings
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    EvalCallback,
    LogEveryNTimesteps,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import IdentityEnv, IdentityEnvBox
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecNormalize

from plasticrl.agents import CORE_NAMES, CoreName, RecurrentA2C
from plasticrl.envs import make_vec_env as native_vec_env

LENGTH = 5


class Identity(IdentityEnv[int]):
    """SB3's, made reproducible: it draws from its action space, which it does not seed."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        if seed is not None:
            self.action_space.seed(seed)
        return super().reset(seed=seed, options=options)


def identity() -> Monitor:  # type: ignore[type-arg]
    return Monitor(Identity(2, ep_length=LENGTH))


def envs(n: int = 4) -> VecEnv:
    venv = DummyVecEnv([identity] * n)
    venv.seed(0)
    return venv


def agent(env: Any = None, core: CoreName = "plastic", policy: Any = None, **options: Any) -> RecurrentA2C:
    options = {"n_steps": LENGTH, "seed": 0, "device": "cpu", "learning_rate": 0.02, **options}
    kwargs = {"core": core, "hidden_size": 8, **(policy or {})}
    return RecurrentA2C("PlasticPolicy", envs() if env is None else env, policy_kwargs=kwargs, **options)


def quick_learner() -> RecurrentA2C:
    """One that learns within a few thousand steps, at a learning rate twenty times the default."""
    return agent(policy=maze_settings.POLICY, **maze_settings.AGENT)


def parameters(model: Any) -> dict[str, Any]:
    return {name: p.clone() for name, p in model.policy.state_dict().items()}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_evaluate_policy() -> None:
    """The task, to repeat what is seen, pays 2.5 of 5 by chance."""
    model = quick_learner().learn(4000)
    for n in (1, 3):
        mean, std = evaluate_policy(model, envs(n), n_eval_episodes=20)
        assert (mean, std) == (LENGTH, 0)


def test_evaluation_during_training_saves_the_best_and_stops_at_a_threshold(tmp_path: Path) -> None:
    callback = EvalCallback(
        envs(2),
        callback_on_new_best=StopTrainingOnRewardThreshold(LENGTH - 0.5, verbose=0),
        eval_freq=50,
        n_eval_episodes=10,
        best_model_save_path=str(tmp_path),
        log_path=str(tmp_path),
        verbose=0,
    )
    model = quick_learner().learn(100_000, callback)
    assert model.num_timesteps < 20_000
    assert callback.best_mean_reward >= LENGTH - 0.5
    best = RecurrentA2C.load(tmp_path / "best_model", device="cpu")
    assert evaluate_policy(best, envs(2), n_eval_episodes=10)[0] >= LENGTH - 0.5
    assert np.load(tmp_path / "evaluations.npz")["results"].shape[1] == 10


def test_evaluation_in_a_rollout_does_not_disturb_it() -> None:
    callback = EvalCallback(envs(2), eval_freq=3, n_eval_episodes=4, deterministic=True, verbose=0)
    assert same(parameters(agent().learn(200, callback)), parameters(agent().learn(200)))


def test_checkpoints(tmp_path: Path) -> None:
    model = agent().learn(3 * 20, CheckpointCallback(save_freq=5, save_path=str(tmp_path), name_prefix="a"))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "a_20_steps.zip",
        "a_40_steps.zip",
        "a_60_steps.zip",
    ]
    before_last_update = RecurrentA2C.load(tmp_path / "a_60_steps.zip", device="cpu")
    assert (before_last_update.num_timesteps, before_last_update._n_updates) == (60, 2)
    assert not same(parameters(before_last_update), parameters(model))


def test_a_callback_that_counts_episodes() -> None:
    model = agent().learn(10_000, StopTrainingOnMaxEpisodes(max_episodes=3, verbose=0))
    assert model.num_timesteps == 3 * LENGTH * 4  # 3 episodes of each env


def test_monitored_rewards_reach_the_log() -> None:
    model = agent().learn(40)
    assert model.ep_info_buffer is not None
    assert [info["l"] for info in model.ep_info_buffer] == [LENGTH] * 8


def test_an_env_without_monitor_is_wrapped() -> None:
    model = agent(IdentityEnv(2, ep_length=LENGTH)).learn(2 * LENGTH)
    assert model.ep_info_buffer is not None
    assert len(model.ep_info_buffer) == 2


def test_normalised_env() -> None:
    env = VecNormalize(DummyVecEnv([lambda: Monitor(IdentityEnvBox(ep_length=LENGTH))] * 4))
    env.seed(0)
    model = agent(env).learn(200)
    assert model.get_vec_normalize_env() is env
    assert env.obs_rms.count > 200
    assert env.ret_rms.count > 200
    assert all(torch.isfinite(p).all() for p in parameters(model).values())


@pytest.mark.parametrize("core", ["plastic", "lstm"])
def test_processes_give_the_same_bits_as_one_process(core: CoreName) -> None:
    mazes = [lambda: Monitor(gym.make("plasticrl:PlasticMaze-v0", size=5, episode_length=8))] * 2
    apart = SubprocVecEnv(mazes)
    try:
        trained = parameters(agent(apart, core).learn(60))
    finally:
        apart.close()
    assert same(trained, parameters(agent(DummyVecEnv(mazes), core).learn(60)))


@pytest.mark.parametrize("core", CORE_NAMES)
def test_the_same_seed_gives_the_same_bits(core: CoreName) -> None:
    def run(seed: int) -> tuple[dict[str, Any], list[float]]:
        model = agent(core=core, seed=seed).learn(400)
        assert model.ep_info_buffer is not None
        return parameters(model), [info["r"] for info in model.ep_info_buffer]

    (first, rewards), (second, rewards_again), (other, other_rewards) = run(1), run(1), run(2)
    assert same(first, second)
    assert rewards == rewards_again
    assert not same(first, other)
    assert rewards != other_rewards


@pytest.mark.parametrize("core", CORE_NAMES)
@pytest.mark.parametrize("n", [1, 7])
def test_an_env_with_another_number_of_envs(core: CoreName, n: int) -> None:
    model = agent(core=core).learn(20)
    trained = parameters(model)
    model.set_env(envs(n))
    assert model.n_envs == n
    model.learn(3 * LENGTH * n, reset_num_timesteps=False)
    assert model.num_timesteps == 20 + 3 * LENGTH * n
    assert not same(trained, parameters(model))


def test_the_same_number_of_envs_may_go_on_without_reset() -> None:
    model = agent(n_steps=3).learn(12)
    state = model._state
    env = model.get_env()
    assert env is not None
    model.set_env(env, force_reset=False)
    assert model._state is state
    assert model._last_obs is not None


def test_an_env_of_other_spaces_is_refused_and_changes_nothing() -> None:
    model = agent()
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        model.set_env(DummyVecEnv([lambda: Monitor(IdentityEnv(3))] * 2))
    assert model.n_envs == 4
    assert model.learn(20).num_timesteps == 20


def test_learning_goes_on_where_it_stopped() -> None:
    """Two calls of two rollouts equal one call of four."""
    in_parts = agent().learn(40).learn(40, reset_num_timesteps=False)
    assert in_parts.num_timesteps == 80
    assert same(parameters(in_parts), parameters(agent().learn(80)))


# tqdm.rich warns that it is experimental; SB3 silences that at import, pytest undoes it
@pytest.mark.filterwarnings("ignore::tqdm.TqdmExperimentalWarning")
def test_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    agent().learn(40, progress_bar=True)
    captured = capsys.readouterr()
    assert "100%" in captured.out + captured.err


def test_parameters_are_got_and_set() -> None:
    trained, other = agent().learn(100), agent(seed=1)
    observation = np.array([0, 1])
    other.set_parameters(trained.get_parameters())
    assert same(parameters(other), parameters(trained))
    a, b = (m.policy.optimizer.state_dict()["state"] for m in (trained, other))
    assert a.keys() == b.keys() != set()
    assert all(torch.equal(a[i]["exp_avg"], b[i]["exp_avg"]) for i in a)
    actions = [m.predict(observation, deterministic=True)[0].tolist() for m in (trained, other)]
    assert actions[0] == actions[1]


@pytest.mark.parametrize("core", CORE_NAMES)
def test_saved_and_loaded(core: CoreName, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = agent(core=core, gamma=0.7, concentration_coef=0.3).learn(100)
    model.save(tmp_path / "model")
    loaded = RecurrentA2C.load(tmp_path / "model", env=envs(6), device="auto", print_system_info=True)
    assert "CURRENT SYSTEM INFO" in capsys.readouterr().out
    assert same(parameters(loaded), {n: p.to(loaded.device) for n, p in parameters(model).items()})
    assert (loaded.gamma, loaded.concentration_coef, loaded.n_steps, loaded.n_envs) == (0.7, 0.3, LENGTH, 6)
    assert (loaded.num_timesteps, loaded._n_updates) == (100, 5)
    assert loaded.policy.optimizer.state_dict()["state"].keys() != set()
    loaded.learn(60, reset_num_timesteps=False)
    assert (loaded.num_timesteps, loaded._n_updates) == (160, 7)
    assert not same(parameters(loaded), parameters(model))


def test_saved_within_an_episode_and_loaded_without_an_env_it_still_acts(tmp_path: Path) -> None:
    model = agent(n_steps=3).learn(12)
    model.save(tmp_path / "model.zip")
    loaded = RecurrentA2C.load(tmp_path / "model.zip", device="cpu")
    assert loaded.predict(np.array([0, 1]), deterministic=True)[0].shape == (2,)
    loaded.set_env(envs(2))
    assert loaded.learn(6).num_timesteps == 6


def test_device_auto_is_the_best_there_is() -> None:
    model = agent(device="auto").learn(20)
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert model.device.type == expected
    assert {p.device.type for p in model.policy.parameters()} == {expected}


class Keep(KVWriter):
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.logged: dict[str, Any] = {}
        self.steps: list[int] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        self.logged.update(key_values)
        self.steps.append(step)


def logged(model: Any) -> Keep:
    keep = Keep()
    model.set_logger(Logger(None, [keep]))
    model.learn(40, log_interval=1)
    return keep


OWN = {"train/loss", "train/grad_norm"}
PLASTIC = {"plastic/eta", "plastic/alpha_abs_mean", "plastic/trace_abs_mean"}


@pytest.mark.parametrize("concentration_coef", [0.0, 0.1])
@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("core", CORE_NAMES)
def test_the_logged_keys_are_sb3s_and_those_of_plasticity(
    core: CoreName, box: bool, concentration_coef: float
) -> None:
    env = make_vec_env(lambda: IdentityEnvBox(ep_length=LENGTH) if box else identity(), n_envs=4)
    theirs = logged(A2C("MlpPolicy", env, n_steps=LENGTH, device="cpu"))
    ours = logged(agent(env, core, concentration_coef=concentration_coef))
    extra = PLASTIC if core.startswith("plastic") or core == "homogeneous" else set()
    extra = extra | ({"train/concentration"} if concentration_coef else set())
    assert set(ours.logged) == set(theirs.logged) | OWN | extra
    assert ours.steps == theirs.steps == [20, 40]
    assert all(np.isfinite(value) for value in ours.logged.values())


def test_the_plastic_tags_say_what_they_name() -> None:
    model = agent(n_steps=3, learning_rate=1e-30).learn(12, log_interval=9)  # ends within an episode
    values = model.logger.name_to_value
    core: Any = model.policy.core
    assert values["plastic/eta"] == pytest.approx(core.plasticity.eta.item())
    assert values["plastic/alpha_abs_mean"] == pytest.approx(core.plasticity.alpha.abs().mean().item())
    assert values["plastic/trace_abs_mean"] == pytest.approx(model._state.trace.abs().mean().item())
    assert values["plastic/trace_abs_mean"] > 0


def test_the_concentration_that_is_logged_falls_where_it_is_penalised() -> None:
    """Down to the 1/2 of the uniform policy, where its weight exceeds what there is to gain."""
    model = agent(concentration_coef=10.0)
    with torch.no_grad():
        model.policy.action_net.bias.copy_(torch.tensor([2.0, 0.0]))  # type: ignore[union-attr, operator]
    model.learn(20, log_interval=1000)  # so that nothing is dumped
    assert model.logger.name_to_value["train/concentration"] > 0.7
    model.learn(2000, log_interval=1000)
    assert model.logger.name_to_value["train/concentration"] < 0.52


class Rows(KVWriter):
    """Keeps each row that is logged."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, Any]]] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        self.rows.append((step, dict(key_values)))


def rows(model: Any, total: int, **options: Any) -> list[tuple[int, dict[str, Any]]]:
    keep = Rows()
    model.set_logger(Logger(None, [keep]))
    model.learn(total, **options)
    return keep.rows


@pytest.mark.parametrize("every", [20, 30, 100, 1000])
@pytest.mark.parametrize("log_interval", [None, 2])
def test_log_every_n_timesteps_writes_the_rows_that_it_writes_for_sb3s_a2c(
    every: int, log_interval: int | None
) -> None:
    ours, theirs = (
        rows(model, 200, callback=LogEveryNTimesteps(every), log_interval=log_interval)
        for model in (agent(), A2C("MlpPolicy", envs(), n_steps=LENGTH, device="cpu"))
    )
    assert sorted(step for step, _ in ours) == sorted(step for step, _ in theirs)
    for step, row in ours:
        assert row["time/total_timesteps"] == step
        assert "time/fps" in row


def test_a_row_that_a_callback_writes_has_the_update_before_it_and_that_of_learn_its_own() -> None:
    callback = LogEveryNTimesteps(20)
    assert [
        row.get("train/n_updates") for _, row in rows(agent(), 60, callback=callback, log_interval=None)
    ] == [
        None,
        1,
        2,
    ]
    assert [row["train/n_updates"] for _, row in rows(agent(), 60)] == [1, 2, 3]


@pytest.mark.parametrize("log_interval", [0, -1, 1.5, "1", float("nan")])
def test_a_log_interval_that_is_none_is_refused_before_anything_happens(log_interval: Any) -> None:
    model = agent()
    with pytest.raises(ValueError, match="log_interval must be a whole number of at least 1, not"):
        model.learn(20, log_interval=log_interval)
    assert (model.num_timesteps, model._last_obs) == (0, None)
    assert model.learn(20, log_interval=np.int64(1)).num_timesteps == 20


@pytest.mark.parametrize("total", ["x", "20", None, float("nan"), -float("inf"), -5, -0.5, [20], 1j])
def test_a_number_of_steps_that_is_none_is_refused_before_anything_happens(total: Any) -> None:
    model = agent().learn(20)
    before, seen = parameters(model), model._last_obs
    with pytest.raises(ValueError, match="total_timesteps must be a number of at least 0, not"):
        model.learn(total)
    assert same(parameters(model), before)
    assert (model.num_timesteps, model._last_obs) == (20, seen)


@pytest.mark.parametrize("total", [0, 1, 19.5, 20, 21, 1e2, np.float64(30), np.int32(30)])
def test_as_many_steps_are_made_as_by_sb3s_a2c(total: Any) -> None:
    theirs = A2C("MlpPolicy", envs(), n_steps=LENGTH, device="cpu").learn(total)
    assert agent().learn(total).num_timesteps == theirs.num_timesteps


# SB3's local variables that a callback does not get, and why.
NOT_GIVEN = {
    "values": "computed for all steps together after the last one: rollout_buffer.values",
    "log_probs": "computed in the update",
    "idx": "SB3's loop over episodes that ended",
    "done": "as idx",
    "terminal_obs": "as idx: infos[i]['terminal_observation']",
    "terminal_value": "as idx",
}


class Locals(BaseCallback):
    def __init__(self) -> None:
        super().__init__()
        self.at: dict[str, list[dict[str, Any]]] = {"step": [], "end": []}

    def _on_step(self) -> bool:
        self.at["step"].append(dict(self.locals))
        return True

    def _on_rollout_end(self) -> None:
        self.at["end"].append(dict(self.locals))


@pytest.mark.parametrize("when", ["step", "end"])
@pytest.mark.parametrize("kind", ["native", "ordinary", "box"])
def test_callbacks_get_sb3s_local_variables(kind: str, when: str) -> None:
    maze = {"size": 5, "episode_length": 9}
    env = {
        "native": lambda: native_vec_env("PlasticMaze-v0", n_envs=4, seed=0, **maze),
        "ordinary": lambda: make_vec_env("PlasticMaze-v0", n_envs=4, seed=0, env_kwargs=maze),
        "box": lambda: make_vec_env(lambda: IdentityEnvBox(ep_length=LENGTH), n_envs=4, seed=0),
    }[kind]
    names = set(OnPolicyAlgorithm.collect_rollouts.__code__.co_varnames) - NOT_GIVEN.keys()
    ours, theirs = Locals(), Locals()
    model = agent(env()).learn(2 * 20, ours)
    A2C("MlpPolicy", env(), n_steps=LENGTH, device="cpu").learn(2 * 20, theirs)
    assert len(ours.at[when]) == len(theirs.at[when])
    for found, expected in zip(ours.at[when], theirs.at[when], strict=True):
        assert names <= found.keys()
        assert not NOT_GIVEN.keys() & found.keys()
        for name in ("actions", "clipped_actions", "new_obs", "rewards", "dones", "obs_tensor"):
            if when == "step" or name not in ("actions", "rewards"):  # SB3 has changed these by then
                assert (found[name].shape, found[name].dtype) == (expected[name].shape, expected[name].dtype)
        for name in ("n_steps", "n_rollout_steps"):
            assert found[name] == expected[name], name
        assert found["self"] is model
        assert found["env"] is model.env
        assert found["rollout_buffer"] is model.rollout_buffer
        assert len(found["infos"]) == 4


class Layout(BaseCallback):
    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[dict[str, Any]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer: Any = self.model.rollout_buffer  # type: ignore[attr-defined]
        names = ("observations", "actions", "rewards", "episode_starts", "values", "returns", "advantages")
        self.shapes.append({name: getattr(buffer, name).shape for name in names})


@pytest.mark.parametrize("box", [False, True])
def test_the_rollout_buffer_has_sb3s_layout(box: bool) -> None:
    maze = {"size": 5, "episode_length": 9}
    env = (
        make_vec_env(lambda: IdentityEnvBox(ep_length=LENGTH), n_envs=3)
        if box
        else native_vec_env("PlasticMaze-v0", n_envs=3, **maze)
    )
    ours, theirs = Layout(), Layout()
    agent(env).learn(30, ours)
    A2C("MlpPolicy", env, n_steps=LENGTH, device="cpu").learn(30, theirs)
    assert ours.shapes == theirs.shapes


class Shapes(BaseCallback):
    """Changes what the env gave in place, as some do to shape the reward."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: list[Any] = []

    def _on_step(self) -> bool:
        self.locals["rewards"] += np.arange(4) + self.n_calls
        self.locals["actions"][1] = 0
        self.wanted.append(self.locals["rewards"].copy())
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer  # type: ignore[attr-defined]
        np.testing.assert_array_equal(buffer.rewards, self.wanted)
        assert not buffer.actions[:, 1].any()


@pytest.mark.parametrize("native", [False, True])
def test_what_a_callback_changes_in_place_is_learned_from_as_in_sb3(native: bool) -> None:
    maze: dict[str, Any] = {"size": 5, "episode_length": 100}
    env: Any = (
        native_vec_env("PlasticMaze-v0", n_envs=4, **maze)
        if native
        else make_vec_env("PlasticMaze-v0", n_envs=4, env_kwargs=maze)
    )
    for model in (agent(env), A2C("MlpPolicy", env, n_steps=LENGTH, device="cpu")):
        callback = Shapes()
        model.learn(20, callback)
        assert len(callback.wanted) == LENGTH

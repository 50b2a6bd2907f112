"""A saved agent goes on as if it had never stopped; a file that does not fit is refused."""

from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import maze_settings
import numpy as np
import pytest
import torch
from stable_baselines3.common.envs import IdentityEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from plasticrl.agents import CORE_NAMES, CoreName, PlasticPolicy, RecurrentA2C, TensorFileError
from plasticrl.agents.checkpoint.tensor_file import read_tensors, write_tensors
from plasticrl.envs import make_vec_env
from plasticrl.rules import Oja

N_ENVS, N_STEPS, HALF = 3, 7, 84  # updates begin within episodes; HALF is four of them


def mazes() -> VecEnv:
    return make_vec_env("PlasticMaze-v0", N_ENVS, seed=5, size=5, episode_length=10)


def random_mazes() -> VecEnv:
    return make_vec_env("PlasticMazeRandom-v0", N_ENVS, seed=5, size=5, episode_length=9)


def single_mazes() -> VecEnv:
    def one() -> gym.Env[Any, Any]:
        return Monitor(gym.make("PlasticMaze-v0", size=5, episode_length=10))

    return DummyVecEnv([one] * N_ENVS)


def normalised() -> VecEnv:
    return VecNormalize(single_mazes())


def patterns() -> VecEnv:
    return make_vec_env("PlasticPatterns-v0", N_ENVS, seed=5, n_bits=6, n_patterns=2, n_cycles=1)


def agent(
    env: VecEnv, core: CoreName = "plastic", policy: Mapping[str, Any] = MappingProxyType({}), **options: Any
) -> RecurrentA2C:
    kwargs = {"core": core, "hidden_size": 8, **policy}
    return RecurrentA2C(
        "PlasticPolicy",
        env,
        **{"n_steps": N_STEPS, "policy_kwargs": kwargs, "seed": 2, "device": "cpu", **options},
    )


def contents(model: RecurrentA2C) -> bytes:
    """Everything that is saved: parameters, optimiser, episodes, settings, counters, every generator."""
    buffer = BytesIO()
    model.save(buffer, exclude=["ep_info_buffer"])  # it holds times of day
    return buffer.getvalue()


def resumed(path: Any, env: VecEnv | None, **options: Any) -> RecurrentA2C:
    return RecurrentA2C.load(path, env=env, device="cpu", **options)


def check_resumes(make: Callable[[], VecEnv], core: CoreName, path: Path, **options: Any) -> None:
    whole = agent(make(), core, **options).learn(2 * HALF)
    agent(make(), core, **options).learn(HALF).save(path)
    torch.manual_seed(99)  # what another process would bring
    np.random.seed(99)  # noqa: NPY002
    half = resumed(path, make())
    assert half.num_timesteps == HALF
    half.learn(HALF, reset_num_timesteps=False)
    # learn() was asked for other totals: that is the only difference.
    half._total_timesteps, half._num_timesteps_at_start = whole._total_timesteps, 0
    assert contents(half) == contents(whole)
    assert contents(half) != contents(agent(make(), core, **options).learn(HALF))


@pytest.mark.parametrize("normalizes", [True, False])
@pytest.mark.parametrize("core", CORE_NAMES)
def test_with_a_new_env_of_the_same_id_training_goes_on_to_the_same_bits(
    core: CoreName, normalizes: bool, tmp_path: Path
) -> None:
    """Step by step, with normalized observations and returns; without, in a compiled loop."""
    check_resumes(mazes, core, tmp_path / "half", policy={} if normalizes else maze_settings.POLICY)


@pytest.mark.parametrize("normalizes", [True, False])
def test_among_random_layouts_training_goes_on_to_the_same_bits(normalizes: bool, tmp_path: Path) -> None:
    """In the middle of episodes, which keep their layouts."""
    check_resumes(
        random_mazes, "plastic", tmp_path / "half", policy={} if normalizes else maze_settings.POLICY
    )


def cues() -> VecEnv:
    return make_vec_env("CueReward-v0", N_ENVS, seed=5, episode_length=25)


@pytest.mark.parametrize("make", [single_mazes, normalised, patterns, cues])
def test_on_every_kind_of_env_that_tells_its_state(make: Callable[[], VecEnv], tmp_path: Path) -> None:
    check_resumes(make, "plastic", tmp_path / "half")


def test_updates_are_left_out_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    options: dict[str, Any] = {**maze_settings.AGENT, "max_grad_norm": 0.05, "max_grad_ratio": 1.2}
    options["policy"] = {"init": "uniform", **maze_settings.POLICY}
    half = agent(mazes(), **options).learn(HALF)
    half.save(tmp_path / "half")
    assert 0 < half._n_skipped < half._n_updates
    whole = agent(mazes(), **options).learn(2 * HALF)
    assert half._n_skipped < whole._n_skipped
    again = resumed(tmp_path / "half", mazes())
    again.learn(HALF, reset_num_timesteps=False)
    again._total_timesteps, again._num_timesteps_at_start = whole._total_timesteps, 0
    assert contents(again) == contents(whole)


@pytest.mark.parametrize("max_grad_norm", [0.5, float("inf")])
def test_it_can_be_loaded_whatever_gradients_are_clipped_to(max_grad_norm: float) -> None:
    saved = contents(agent(mazes(), max_grad_norm=max_grad_norm).learn(HALF))
    assert contents(resumed(BytesIO(saved), mazes())) == saved


def test_the_env_may_come_later(tmp_path: Path) -> None:
    agent(mazes()).learn(HALF).save(tmp_path / "half")
    half = resumed(tmp_path / "half", None)
    half.set_env(mazes())
    half.learn(HALF, reset_num_timesteps=False)
    whole = agent(mazes()).learn(2 * HALF)
    half._total_timesteps, half._num_timesteps_at_start = whole._total_timesteps, 0
    assert contents(half) == contents(whole)


def test_saved_again_before_it_learns_it_is_the_same_file() -> None:
    once = contents(agent(mazes()).learn(HALF))
    assert contents(resumed(BytesIO(once), mazes())) == once
    assert contents(resumed(BytesIO(once), None)) == once


def test_saving_changes_nothing() -> None:
    model = agent(mazes()).learn(HALF)
    contents(model)
    assert contents(model.learn(HALF)) == contents(agent(mazes()).learn(HALF).learn(HALF))


def foreign() -> VecEnv:
    return DummyVecEnv([lambda: Monitor(IdentityEnv(4))] * N_ENVS)


@pytest.mark.parametrize(("force_reset", "where"), [(True, "new episodes"), (False, "the current episodes")])
def test_a_foreign_env_says_that_its_state_is_not_in_the_file(force_reset: bool, where: str) -> None:
    saved = contents(agent(foreign(), n_steps=30).learn(90))
    env = foreign()
    env.reset()
    model = resumed(BytesIO(saved), env, force_reset=force_reset)
    with pytest.warns(UserWarning, match=rf"resumes in {where}.*IdentityEnv cannot save its state"):
        model.learn(90, reset_num_timesteps=False)
    assert model.num_timesteps == 180


def test_another_maze_is_entered_anew() -> None:
    saved = contents(agent(mazes()).learn(HALF))
    env = make_vec_env("PlasticMaze-v0", N_ENVS, size=7, episode_length=10)
    model = resumed(BytesIO(saved), env)
    with pytest.warns(UserWarning, match=r"new episodes.*settings.*'size': 5.*'size': 7"):
        model.learn(HALF, reset_num_timesteps=False)


@pytest.mark.parametrize("n", [1, 5])
def test_another_number_of_envs_begins_new_episodes(n: int) -> None:
    saved = contents(agent(mazes()).learn(HALF))
    model = resumed(BytesIO(saved), make_vec_env("PlasticMaze-v0", n, size=5, episode_length=10))
    model.learn(n * N_STEPS, reset_num_timesteps=False)
    assert (model.n_envs, model.num_timesteps) == (n, HALF + n * N_STEPS)


def test_a_seed_given_after_loading_starts_anew() -> None:
    saved = contents(agent(mazes()).learn(HALF))
    rewards = []
    for seed in (7, 7, 8):
        model = resumed(BytesIO(saved), mazes())
        model.set_random_seed(seed)
        model.learn(HALF)
        rewards.append(contents(model))
    assert rewards[0] == rewards[1] != rewards[2]


def test_every_setting_is_kept() -> None:
    options: dict[str, Any] = {
        "n_steps": 9,
        "gamma": 0.8,
        "gae_lambda": 0.7,
        "ent_coef": 0.01,
        "concentration_coef": 0.2,
        "vf_coef": 0.4,
        "max_grad_norm": 0.01,
        "max_grad_ratio": 1.5,
        "normalize_advantage": True,
        "stats_window_size": 7,
        "learning_rate": LinearSchedule(0.01, 0.001, 0.5),
        "policy_kwargs": {
            "core": "plastic",
            "hidden_size": 6,
            "rule": Oja(),
            "eta": 0.2,
            "optimizer_class": torch.optim.RMSprop,
            "optimizer_kwargs": {"eps": 1e-6},
        },
    }
    model = agent(mazes(), **options).learn(HALF)
    saved = contents(model)
    again = resumed(BytesIO(saved), mazes())
    for name in options:
        if name == "stats_window_size":
            name = "_stats_window_size"
        if name != "learning_rate":
            assert getattr(again, name) == getattr(model, name)
    assert again.lr_schedule(0.6) == model.lr_schedule(0.6) != model.lr_schedule(1.0)
    assert isinstance(again.policy.optimizer, torch.optim.RMSprop)
    assert contents(again) == saved


def test_settings_given_to_load_come_first() -> None:
    saved = contents(agent(mazes()).learn(HALF))
    again = resumed(BytesIO(saved), mazes(), gamma=0.5, custom_objects={"learning_rate": 0.25})
    assert (again.gamma, again.learning_rate) == (0.5, 0.25)
    with pytest.raises(ValueError, match="unknown setting 'gama'"):
        resumed(BytesIO(saved), None, gama=0.5)
    with pytest.raises(ValueError, match=r"policy_kwargs\['hidden_size'\] is 9"):
        resumed(BytesIO(saved), None, policy_kwargs={"hidden_size": 9})


class OwnPolicy(PlasticPolicy):
    """One that no file names."""


def test_what_a_file_cannot_hold_must_be_given() -> None:
    def halving(remaining: float) -> float:
        return 0.01 * remaining

    buffer = BytesIO()
    RecurrentA2C(OwnPolicy, mazes(), n_steps=N_STEPS, learning_rate=halving, device="cpu").learn(21).save(
        buffer
    )
    saved = buffer.getvalue()
    with pytest.raises(ValueError, match=r"policy_class was .*OwnPolicy.*load\(\.\.\., policy_class="):
        resumed(BytesIO(saved), None, learning_rate=halving)
    with pytest.raises(ValueError, match=r"learning_rate was a function.*load\(\.\.\., learning_rate="):
        resumed(BytesIO(saved), None, policy_class=OwnPolicy)
    again = resumed(BytesIO(saved), None, policy_class=OwnPolicy, learning_rate=halving)
    assert type(again.policy) is OwnPolicy


@pytest.mark.parametrize("name", ["learning_rate", "env", "random_states", "_last_obs", "gamma"])
def test_what_is_excluded_is_not_in_the_file(name: str) -> None:
    model = agent(mazes()).learn(HALF)
    full, without, included = BytesIO(), BytesIO(), BytesIO()
    model.save(full)
    model.save(without, exclude=[name])
    model.save(included, exclude=[name], include=[name])
    assert len(without.getvalue()) < len(full.getvalue()) == len(included.getvalue())
    with pytest.raises(ValueError, match="exclude: unknown part 'nothing'"):
        model.save(BytesIO(), exclude=["nothing"])


def changed(path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], object]) -> BytesIO:
    """A well-formed file, its checksum included, with other contents."""
    agent(mazes()).learn(HALF).save(path)
    tensors, data = read_tensors(path.with_suffix(".safetensors"))
    change(tensors, data)
    buffer = BytesIO()
    write_tensors(buffer, tensors, data)
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t, d: d.update(format="other"), "'other'"),
        (lambda t, d: d.update(version=1), "version 1"),
        (lambda t, d: d.update(version=4), "version 4"),
        (lambda t, d: d.update(version=True), "version True"),
        (lambda t, d: d.update(version=3.0), "version 3.0"),
        *(
            (lambda t, d, norm=norm: d.update(usual_grad_norm=norm), "gradient's norm")
            for norm in (-1.0, {"$float": "nan"}, {"$float": "inf"}, "3", True, None)
        ),
        (lambda t, d: d.pop("usual_grad_norm"), "usual_grad_norm"),
        (lambda t, d: d.pop("policy"), "incomplete or invalid|is unknown"),
        (lambda t, d: d.pop("counters"), "incomplete or invalid"),
        (lambda t, d: d["counters"].update(num_timesteps=-1), "counters"),
        (lambda t, d: d["counters"].update(n_envs=1.5), "counters"),
        (lambda t, d: d["settings"].update(n_steps="many"), "n_steps"),
        (lambda t, d: d["settings"].update(policy_class="os.system"), "unknown policy 'os.system'"),
        (lambda t, d: d["settings"]["policy_kwargs"].update(hidden_size=10**9), "hidden|policy"),
        (lambda t, d: d["settings"]["policy_kwargs"].update(core="os.system"), "os.system"),
        (lambda t, d: d["settings"]["policy_kwargs"].update(x={"$class": "system"}), "incomplete or invalid"),
        (lambda t, d: d["settings"]["policy_kwargs"].update(x={"$call": "system"}), "incomplete or invalid"),
        (lambda t, d: d["spaces"].__setitem__(1, {"kind": "Tuple"}), "unknown space 'Tuple'"),
        (lambda t, d: t.update({"more": torch.zeros(1)}), "is unknown"),
        (lambda t, d: t.update({k: v[:-1] for k, v in t.items() if k.endswith("weight")}), "in the file"),
        (lambda t, d: t.update({k: v.double() for k, v in t.items() if k.endswith("weight")}), "float64"),
        (lambda t, d: t.pop(next(iter(t))), "incomplete or invalid"),
    ],
)
def test_a_file_that_was_tampered_with_is_refused_by_name(change: Any, match: str, tmp_path: Path) -> None:
    with pytest.raises((TensorFileError, ValueError), match=match):
        resumed(changed(tmp_path / "file", change), mazes())


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        resumed(tmp_path / "none", None)


def test_an_env_of_other_spaces_is_refused() -> None:
    with pytest.raises(ValueError, match="spaces do not match"):
        resumed(BytesIO(contents(agent(mazes()))), foreign())


def test_without_an_environment_it_acts_but_cannot_learn(tmp_path: Path) -> None:
    env = make_vec_env("PlasticMaze-v0", n_envs=2, seed=0, size=5, episode_length=8)
    kwargs = {"hidden_size": 4}
    agent = RecurrentA2C("PlasticPolicy", env, n_steps=8, policy_kwargs=kwargs, seed=0, device="cpu")
    agent.save(tmp_path / "agent")
    loaded = RecurrentA2C.load(tmp_path / "agent", device="cpu")
    assert loaded.predict(env.reset(), episode_start=np.ones(2, np.bool_))[0].shape == (2,)
    with pytest.raises(ValueError, match=r"call set_env\(\), or give env= to load\(\)"):
        loaded.learn(10)
    loaded.set_env(env)
    assert loaded.learn(16).num_timesteps == 16


@pytest.mark.parametrize("n_envs", [2, 3])
def test_moments_of_vec_normalize_come_back_for_any_number_of_environments(
    n_envs: int, tmp_path: Path
) -> None:
    """And at once, since the agent may be evaluated before it is trained again."""

    def normalized(count: int) -> VecNormalize:
        return VecNormalize(make_vec_env("PlasticMaze-v0", n_envs=count, seed=count, size=5))

    trained = normalized(3)
    model = RecurrentA2C("PlasticPolicy", trained, n_steps=5, seed=0, device="cpu").learn(30)
    model.save(tmp_path / "agent")
    env = normalized(n_envs)
    again = RecurrentA2C.load(tmp_path / "agent", env, "cpu")
    assert env.obs_rms.count == trained.obs_rms.count
    assert np.array_equal(env.obs_rms.mean, trained.obs_rms.mean)
    again.learn(n_envs * 5)
    assert env.obs_rms.count > trained.obs_rms.count

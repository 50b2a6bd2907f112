"""Running moments, and what a policy makes of them: normalized observations, values in the env's unit."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import gymnasium as gym
import joint_learners
import maze_settings
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize
from torch import Tensor

from plasticrl.agents import CORE_NAMES, CoreName, NonFiniteError, PlasticPolicy, RecurrentA2C
from plasticrl.agents.common.distributed import ALONE
from plasticrl.agents.recurrent import on_policy_algorithm
from plasticrl.agents.recurrent.native_rollout import Replay
from plasticrl.agents.recurrent.normalization import Moments, ObservationNormalizer

EVERY_CORE = pytest.mark.parametrize("core", CORE_NAMES)
VECTOR = spaces.Box(-np.inf, np.inf, (3,))

# --- moments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
@pytest.mark.parametrize("seed", range(10))
def test_moments_are_those_of_all_values_however_they_are_split(seed: int, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 30, size=rng.integers(1, 12))
    parts = [rng.normal(rng.normal(0, 30), rng.exponential(5), (n, *shape)) for n in sizes]
    moments = Moments(shape)
    for k, part in enumerate(parts):
        moments.update(part, ALONE)
        seen = np.concatenate(parts[: k + 1])
        np.testing.assert_allclose(moments.mean.numpy(), seen.mean(axis=0), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(moments.variance.numpy(), seen.var(axis=0), rtol=1e-12, atol=1e-12)
        assert moments.count == len(seen)


def test_moments_of_float32_values_are_counted_in_float64() -> None:
    """A hundred rollouts around a million: in float32, nothing of the variance would be left."""
    rng = np.random.default_rng(0)
    parts = [rng.normal(1e6, 1, 64).astype(np.float32) for _ in range(100)]
    moments = Moments()
    for part in parts:
        moments.update(part, ALONE)
    seen = np.concatenate(parts).astype(np.float64)
    assert moments.mean.item() == pytest.approx(seen.mean(), rel=1e-12)
    assert moments.variance.item() == pytest.approx(seen.var(), rel=1e-9)


def test_moments_of_several_processes_are_those_of_all_their_values(tmp_path: Path) -> None:
    joint_learners.run_together(joint_learners.measure, tmp_path)
    every = np.concatenate(joint_learners.rounds())
    found = [np.load(tmp_path / f"moments_{rank}.npy") for rank in range(2)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], [every.mean(axis=0), every.var(axis=0)], rtol=1e-12, atol=1e-12)


def test_before_the_first_values_moments_change_nothing() -> None:
    moments = Moments((2,))
    assert moments.mean.tolist() == [0, 0]
    assert moments.std.float().tolist() == [1, 1]
    assert moments.count == 0


# --- observations ------------------------------------------------------------------------------------------


def policy_for(space: spaces.Space[Any], core: CoreName = "plastic", **options: Any) -> PlasticPolicy:
    return PlasticPolicy(
        space, spaces.Discrete(2), lambda _: 1e-3, core=core, **{"hidden_size": 5, **options}
    )


def drawn(space: spaces.Space[Any], steps: int, batch: int, seed: int = 0) -> Any:
    """Observations ``(T, B, ...)`` of a space; those of unbounded vectors around 40, with deviation 7."""
    rng = np.random.default_rng(seed)
    if isinstance(space, spaces.Dict):
        return {key: drawn(part, steps, batch, seed + k) for k, (key, part) in enumerate(space.items())}
    if isinstance(space, spaces.Box) and not space.is_bounded():
        return rng.normal(40, 7, (steps, batch, *space.shape)).astype(space.dtype)
    space.seed(seed)
    samples = [space.sample() for _ in range(steps * batch)]
    return np.stack(samples).reshape(steps, batch, *(space.shape or ()))


def flat(observations: Any) -> Any:
    """As tensors ``(T * B, ...)``."""
    if isinstance(observations, dict):
        return {key: flat(part) for key, part in observations.items()}
    return torch.from_numpy(observations.reshape(-1, *observations.shape[2:]))


def features(policy: PlasticPolicy, observations: Any) -> Tensor:
    with torch.no_grad():
        return policy.extract_features(flat(observations))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalized_observations_have_mean_0_and_variance_1(shape: tuple[int, ...], dtype: Any) -> None:
    space = spaces.Box(-np.inf, np.inf, shape, dtype)
    policy, observations = policy_for(space), drawn(space, 50, 8)
    assert policy.observation_normalizer is not None
    for part in np.split(observations, [7, 20, 21]):
        policy.observation_normalizer.update(part, ALONE)
    found = features(policy, observations)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.mean(0), torch.zeros(found.shape[1]), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.var(0, correction=0), torch.ones(found.shape[1]), rtol=0, atol=1e-5)
    expected = (observations - observations.mean((0, 1))) / observations.std((0, 1))
    np.testing.assert_allclose(found.numpy(), expected.reshape(400, -1), rtol=1e-4, atol=1e-4)


def test_before_the_first_update_observations_are_as_they_are() -> None:
    observations = torch.tensor([[-1e30, -10.0, -9.5], [0.0, 1e-20, 0.1], [1 / 3, 11.0, 1e30]])
    found = policy_for(VECTOR).extract_features(observations)
    assert torch.equal(found, observations)


def test_far_observations_are_kept_within_10() -> None:
    policy = policy_for(VECTOR)
    assert policy.observation_normalizer is not None
    policy.observation_normalizer.update(drawn(VECTOR, 20, 4), ALONE)
    far = policy.extract_features(torch.tensor([[3e38, -3e38, 40.0]]))
    assert far[0, :2].tolist() == [10, -10]
    assert abs(far[0, 2]) < 1


def test_an_observation_that_never_changes_is_0() -> None:
    policy, same = policy_for(VECTOR), np.full((5, 2, 3), 1e6 + 0.3, np.float32)
    assert policy.observation_normalizer is not None
    policy.observation_normalizer.update(same, ALONE)
    assert not features(policy, same).any()


UNTOUCHED: dict[str, spaces.Space[Any]] = {
    "image": spaces.Box(0, 255, (3, 36, 36), np.uint8),
    "image of floats": spaces.Box(0, 1, (3, 8, 8), np.float32),
    "whole numbers": spaces.Box(-9, 9, (3,), np.int64),
    "discrete": spaces.Discrete(4, start=2),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-binary": spaces.MultiBinary(3),
    "multi-binary matrix": spaces.MultiBinary((2, 2)),
}


@pytest.mark.parametrize("kind", UNTOUCHED)
def test_what_is_no_vector_of_floats_stays_as_it_is(kind: str) -> None:
    space = UNTOUCHED[kind]
    torch.manual_seed(0)
    policy, observations = policy_for(space), drawn(space, 6, 3)
    assert policy.observation_normalizer is not None
    before = features(policy, observations)
    policy.observation_normalizer.update(observations, ALONE)
    assert not list(policy.observation_normalizer.buffers())
    assert torch.equal(features(policy, observations), before)


def test_each_part_of_a_dict_is_normalized_on_its_own_whatever_its_key() -> None:
    keys = ["a.b", "type", "", "moments", "keys", "0"]  # some of which torch refuses as names of modules
    inner: dict[str, spaces.Space[Any]] = dict.fromkeys(keys, VECTOR)
    space = spaces.Dict({**inner, "image": UNTOUCHED["image"], "picture": UNTOUCHED["discrete"]})
    policy, observations = policy_for(space), drawn(space, 30, 4)
    normalizer = policy.observation_normalizer
    assert normalizer is not None
    assert sorted(normalizer.keys) == sorted(keys)
    normalizer.update(observations, ALONE)
    tensors = {key: part.float() for key, part in flat(observations).items()}
    found = normalizer(tensors)
    assert found.keys() == tensors.keys()
    for key, part in found.items():
        if key in keys:
            torch.testing.assert_close(part.mean(0), torch.zeros(3), rtol=0, atol=1e-5)
            torch.testing.assert_close(part.var(0, correction=0), torch.ones(3), rtol=0, atol=1e-5)
        else:
            assert part is tensors[key]
    assert all((tensors[key] > 10).any() for key in keys)  # the caller's are not changed


def test_a_policy_that_does_not_normalize_gets_what_is_seen() -> None:
    policy = policy_for(VECTOR, **maze_settings.POLICY)
    assert policy.observation_normalizer is None
    assert policy.return_moments is None
    observations = drawn(VECTOR, 5, 2)
    assert torch.equal(features(policy, observations), flat(observations))


# --- training ----------------------------------------------------------------------------------------------


class Drift(gym.Env[Any, int]):
    """Observations of three unlike scales; episodes of 5 steps that end, or of 3 that are cut off."""

    observation_space = VECTOR
    action_space = spaces.Discrete(2)

    def __init__(self, unit: float = 1.0, spoilt: float = 0.0, spoilt_at: int | None = None) -> None:
        self.unit, self.spoilt, self.spoilt_at = unit, spoilt, spoilt_at
        self.total = self.episodes = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps, self.episodes = 0, self.episodes + 1
        return self._observe(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps, self.total = self.steps + 1, self.total + 1
        reward = self.unit * (2 * float(action == (self.last[0] > 0)) - 0.5 + self.last[2])
        cut = self.episodes % 2 == 0
        return self._observe(), reward, self.steps == 5, cut and self.steps == 3, {}

    def _observe(self) -> Any:
        self.last = self.np_random.normal(size=3)
        seen = np.array([100 * self.last[0] + 70, self.last[1] / 50, self.last[2]], dtype=np.float32)
        return np.full_like(seen, self.spoilt) if self.total == self.spoilt_at else seen


def drifts(n: int = 3, **options: Any) -> VecEnv:
    return make_vec_env(lambda: Drift(**options), n_envs=n, seed=4, vec_env_cls=DummyVecEnv)


def agent(env: Any = None, core: CoreName = "plastic", policy: Any = None, **options: Any) -> RecurrentA2C:
    return RecurrentA2C(
        "PlasticPolicy",
        drifts() if env is None else env,
        policy_kwargs={"core": core, "hidden_size": 6, **(policy or {})},
        **{"n_steps": 7, "seed": 0, "device": "cpu", **options},
    )


def statistics(model: RecurrentA2C) -> dict[str, Tensor]:
    """Copies of all moments of the policy."""
    return {name: part.clone() for name, part in model.policy.named_buffers()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(part, other[name]) for name, part in one.items())


class Kept(BaseCallback):
    """Copies of what every rollout held, and of the moments that its update knew."""

    def _on_training_start(self) -> None:
        self.rollouts: list[dict[str, Any]] = []
        self.rewards: list[Any] = []  # as the envs give them, without the values of episodes cut off

    def _on_step(self) -> bool:
        self.rewards.append(self.locals["rewards"].astype(np.float64))
        return True

    def _on_rollout_end(self) -> None:
        rollout: Any = self.model.rollout_buffer
        names = ("observations", "episode_starts", "values", "returns", "advantages", "actions")
        kept = {name: getattr(rollout, name).copy() for name in names}
        self.rollouts.append({**kept, "moments": statistics(self.model)})  # type: ignore[arg-type]


def test_after_each_update_the_moments_are_those_of_all_rollouts() -> None:
    kept, model = Kept(), agent()
    model.learn(4 * 7 * 3, kept)
    for k, rollout in enumerate(kept.rollouts):
        for name, part in rollout["moments"].items():
            if name.endswith("count"):
                assert part == 7 * 3 * (k + name.startswith("return"))
    seen = np.concatenate([rollout["observations"] for rollout in kept.rollouts]).astype(np.float64)
    starts = np.concatenate([rollout["episode_starts"] for rollout in kept.rollouts])
    discounted, running = [], np.zeros(3)
    for reward, start in zip(kept.rewards, starts, strict=True):
        running = np.where(start, 0, running) * model.gamma + reward
        discounted.append(running)
    normalizer, moments = model.policy.observation_normalizer, model.policy.return_moments
    assert isinstance(normalizer, ObservationNormalizer)
    assert isinstance(moments, Moments)
    of_observations = normalizer.moments[0]
    np.testing.assert_allclose(of_observations.mean, seen.mean((0, 1)), rtol=1e-12)
    np.testing.assert_allclose(of_observations.variance, seen.var((0, 1)), rtol=1e-12)
    assert moments.mean.item() == pytest.approx(np.mean(discounted), rel=1e-12)
    assert moments.variance.item() == pytest.approx(np.var(discounted), rel=1e-12)


@pytest.mark.parametrize("policy", [{"core": "lstm"}, {}, maze_settings.POLICY], ids=str)
def test_acting_and_judging_change_no_moments(policy: dict[str, Any]) -> None:
    model = agent(policy=policy).learn(42)
    before = statistics(model)
    assert bool(before) == (policy is not maze_settings.POLICY)
    observations = drawn(VECTOR, 2, 3)
    evaluate_policy(model, drifts(2), n_eval_episodes=4)
    _, state = model.predict(observations[0])
    model.predict(observations[1], state)
    starts = torch.ones(2, 3, dtype=torch.bool)
    for mode in (True, False):
        model.policy.set_training_mode(mode)
        model.policy.evaluate_actions(flat(observations), torch.zeros(6), None, starts)
        model.policy.predict_values(flat(observations), None, starts)
    assert same(before, statistics(model))


@EVERY_CORE
def test_values_are_told_in_the_unit_of_the_env(core: CoreName) -> None:
    """The head predicts (value - mean) / deviation, whoever asks."""
    policy = policy_for(VECTOR, core)
    assert policy.return_moments is not None
    returns = np.random.default_rng(0).normal(-300, 50, 1000)
    policy.return_moments.update(returns, ALONE)
    with torch.no_grad():
        policy.value_net.weight.zero_()
        policy.value_net.bias.fill_(1.5)
    observations, starts = flat(drawn(VECTOR, 4, 2)), torch.ones(4, 2, dtype=torch.bool)
    expected = torch.full((8,), 1.5 * returns.std() + returns.mean(), dtype=torch.float32)
    found = [
        policy.predict_values(observations, None, starts),
        policy.evaluate_actions(observations, torch.zeros(8), None, starts)[0],
        policy(observations, policy.initial_state(2), starts)[1],
        policy.values(torch.zeros(8, policy.core.output_size)),
    ]
    for values in found:
        torch.testing.assert_close(values, expected)


@EVERY_CORE
@pytest.mark.parametrize("normalizes", [True, False])
def test_the_value_loss_is_that_of_scaled_returns(core: CoreName, normalizes: bool) -> None:
    """The last of three updates: its loss, and its gradient at the value head, which nothing else moves."""
    kept = Kept()
    model = agent(core=core, policy={"normalize_returns": normalizes}, vf_coef=0.3, max_grad_norm=1e9)
    model.set_logger(Logger(None, []))
    model.learn(3 * 7 * 3, kept, log_interval=None)
    rollout, policy = kept.rollouts[2], model.policy

    def scaled(name: str, played_with: dict[str, Any]) -> torch.Tensor:
        mean, std = 0.0, 1.0
        if normalizes:
            mean = played_with["moments"]["return_moments.mean"].item()
            std = played_with["moments"]["return_moments.variance"].item() ** 0.5
            assert abs(std - 1) > 0.1
        return torch.from_numpy((rollout[name].flatten() - mean) / std)

    targets, estimates = scaled("returns", rollout), scaled("values", kept.rollouts[1])
    loss = (estimates - targets).square().mean().item()
    assert model.logger.name_to_value["train/value_loss"] == pytest.approx(loss, rel=1e-4)
    gradient = policy.value_net.bias.grad
    assert gradient is not None
    assert gradient.item() == pytest.approx(0.3 * 2 * (estimates - targets).mean().item(), rel=1e-3, abs=1e-6)


def trained_in(unit: float, core: CoreName, *, normalizes: bool = True) -> RecurrentA2C:
    """An agent after ten updates whose moments of the returns were known from the start, in this unit."""
    model = agent(drifts(unit=unit), core, {"normalize_returns": normalizes}, learning_rate=0.01)
    if model.policy.return_moments is not None:
        model.policy.return_moments.update(unit * np.random.default_rng(1).normal(2, 3, 300), ALONE)
    else:
        with torch.no_grad():
            model.policy.value_net.weight.mul_(unit)
    return model.learn(10 * 7 * 3)


@EVERY_CORE
def test_the_unit_of_the_rewards_makes_no_difference(core: CoreName) -> None:
    """Rewards times 1000: all parameters, those of the value head too, are learned as before."""
    one, other = trained_in(1.0, core), trained_in(1000.0, core)
    learned = dict(one.policy.named_parameters())
    for name, parameter in other.policy.named_parameters():
        torch.testing.assert_close(parameter, learned[name], rtol=1e-3, atol=1e-4, msg=name)
    observations, starts = flat(drawn(VECTOR, 3, 2)), torch.ones(3, 2, dtype=torch.bool)
    values = [model.policy.predict_values(observations, None, starts) for model in (one, other)]
    torch.testing.assert_close(values[1], 1000 * values[0], rtol=1e-2, atol=1)


def test_without_normalized_returns_it_does() -> None:
    one, other = (trained_in(unit, "plastic", normalizes=False).policy.core for unit in (1.0, 1000.0))
    apart = [(p - q).abs().max() for p, q in zip(one.parameters(), other.parameters(), strict=True)]
    assert max(apart) > 0.01


def test_the_unit_of_the_observations_makes_no_difference_either() -> None:
    """Where they are normalized from the start."""

    class Scaled(gym.ObservationWrapper[Any, Any, Any]):
        def observation(self, observation: Any) -> Any:
            return observation * np.array([2.0**10, 2.0**-10, -(2.0**5)], dtype=np.float32)

    found = []
    for wrap in (lambda env: env, Scaled):
        env = make_vec_env(lambda wrap=wrap: wrap(Drift()), n_envs=3, seed=4)
        model = agent(env, learning_rate=0.01)
        for name, weight in model.policy.core.named_parameters():
            if wrap is Scaled and name == "in_proj.weight":
                weight.data[:, 2] *= -1
        first = drawn(VECTOR, 9, 3)
        if wrap is Scaled:
            first = first * np.array([2.0**10, 2.0**-10, -(2.0**5)], dtype=np.float32)
        assert model.policy.observation_normalizer is not None
        model.policy.observation_normalizer.update(first, ALONE)
        found.append(model.learn(10 * 7 * 3).policy)
    for (name, one), other in zip(found[0].named_parameters(), found[1].parameters(), strict=True):
        if name == "core.in_proj.weight":
            other = other * torch.tensor([1, 1, -1])
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("policy", [{}, maze_settings.POLICY], ids=["normalized", "plain"])
@pytest.mark.parametrize("spoilt", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("updates", [0, 2])
def test_an_observation_that_is_not_finite_is_named_and_not_counted(
    updates: int, spoilt: float, policy: Any
) -> None:
    env = DummyVecEnv([Drift, lambda: Drift(spoilt=spoilt, spoilt_at=7 * updates + 3), Drift])
    model = agent(env, policy=policy)
    if updates:
        model.learn(updates * 7 * 3)
    before, parameters = statistics(model), [p.clone() for p in model.policy.parameters()]
    message = rf"observation of environment 1.* is not finite, after .* and {updates} updates"
    with pytest.raises(NonFiniteError, match=message):
        model.learn(2 * 7 * 3, reset_num_timesteps=updates == 0)
    assert same(before, statistics(model))
    assert all(torch.equal(p, q) for p, q in zip(parameters, model.policy.parameters(), strict=True))


# --- what normalization must not cost ----------------------------------------------------------------------


@EVERY_CORE
@pytest.mark.parametrize("policy", [{}, {"normalize_returns": False}, {"normalize_observations": False}])
def test_an_update_learns_from_the_outputs_of_its_rollout(
    core: CoreName, policy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core is not run again, and what is learned is what running it again would teach."""
    found, holds = list[bool](), Replay.holds
    monkeypatch.setattr(Replay, "holds", lambda *given: found.append(holds(*given)) or found[-1])  # type: ignore[func-returns-value]
    quick = agent(core=core, policy=policy, learning_rate=0.01).learn(4 * 7 * 3)
    watched = core not in ("lstm", "gru", "feedforward")  # these have no replay
    assert found == [watched] * 4
    monkeypatch.setattr(Replay, "holds", lambda *given: False)
    again = agent(core=core, policy=policy, learning_rate=0.01).learn(4 * 7 * 3)
    for (name, one), other in zip(quick.policy.named_parameters(), again.policy.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=name)


def counted(model: RecurrentA2C) -> None:
    normalizer: Any = model.policy.observation_normalizer
    normalizer.update(np.full((1, 50, 3), 7.0), ALONE)


def shifted(model: RecurrentA2C) -> None:
    normalizer: Any = model.policy.observation_normalizer
    normalizer.moments[0].mean.add_(1)


def replaced(model: RecurrentA2C) -> None:
    model.policy.observation_normalizer = ObservationNormalizer(VECTOR)


def removed(model: RecurrentA2C) -> None:
    model.policy.observation_normalizer = None


def hooked(model: RecurrentA2C) -> None:
    normalizer: Any = model.policy.observation_normalizer
    normalizer.register_forward_hook(lambda module, given, found: found * 2)


class ChangesIt(BaseCallback):
    """Changes the normalization in the middle of the second rollout, or at its end."""

    def __init__(self, change: Callable[[RecurrentA2C], None], *, at_the_end: bool) -> None:
        super().__init__()
        self.change, self.at_the_end = change, at_the_end

    def _on_step(self) -> bool:
        if self.n_calls == 10 and not self.at_the_end:
            self.change(self.model)  # type: ignore[arg-type]
        return True

    def _on_rollout_end(self) -> None:
        if self.num_timesteps == 2 * 7 * 3 and self.at_the_end:
            self.change(self.model)  # type: ignore[arg-type]


@pytest.mark.parametrize("at_the_end", [True, False])
@pytest.mark.parametrize("change", [counted, shifted, replaced, removed, hooked])
def test_a_change_of_the_normalization_is_noticed(
    change: Callable[[RecurrentA2C], None], at_the_end: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The update then runs the core again, with what is normalized now."""

    def learned() -> RecurrentA2C:
        return agent(learning_rate=0.01).learn(3 * 7 * 3, ChangesIt(change, at_the_end=at_the_end))

    found, holds = list[bool](), Replay.holds
    monkeypatch.setattr(Replay, "holds", lambda *given: found.append(holds(*given)) or found[-1])  # type: ignore[func-returns-value]
    quick = learned()
    assert found[:2] == [True, False]
    monkeypatch.setattr(Replay, "holds", lambda *given: False)
    for (name, one), other in zip(
        quick.policy.named_parameters(), learned().policy.parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=name)


def test_only_normalized_observations_keep_the_maze_from_being_played_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    played, play_ahead = list[int](), on_policy_algorithm.play_ahead

    def spy(*given: Any) -> Any:
        played.append(1)
        return play_ahead(*given)

    monkeypatch.setattr(on_policy_algorithm, "play_ahead", spy)
    for policy, expected in (({}, 0), ({"normalize_observations": False}, 3)):
        played.clear()
        agent(joint_learners.mazes(3), policy=policy).learn(3 * 7 * 3)
        assert len(played) == expected


# --- files, other envs and wrappers ------------------------------------------------------------------------


def saved(model: RecurrentA2C) -> BytesIO:
    file = BytesIO()
    model.save(file, exclude=["ep_info_buffer"])  # it holds the time of day
    return BytesIO(file.getvalue())


@EVERY_CORE
@pytest.mark.parametrize("way", ["file", "set_env"])
def test_two_updates_and_two_are_four(core: CoreName, way: str) -> None:
    whole = agent(joint_learners.mazes(3), core).learn(4 * 7 * 3)
    half = agent(joint_learners.mazes(3), core).learn(2 * 7 * 3)
    if way == "file":
        half = RecurrentA2C.load(saved(half), joint_learners.mazes(3), "cpu")
    else:
        assert half.env is not None
        half.set_env(half.env, force_reset=False)
    half.learn(2 * 7 * 3, reset_num_timesteps=False)
    assert same(whole.policy.state_dict(), half.policy.state_dict())
    assert same(statistics(whole), statistics(half))
    assert statistics(half)["return_moments.count"] == 4 * 7 * 3


def test_a_policy_alone_keeps_its_moments(tmp_path: Path) -> None:
    model = agent().learn(42)
    model.policy.save(tmp_path / "policy")
    loaded = PlasticPolicy.load(tmp_path / "policy", device="cpu")
    assert same(model.policy.state_dict(), loaded.state_dict())
    observations = drawn(VECTOR, 1, 4)[0]
    expected, _ = model.predict(observations, deterministic=True)
    assert np.array_equal(loaded.predict(observations, deterministic=True)[0], expected)


@EVERY_CORE
def test_another_number_of_envs_keeps_the_moments(core: CoreName) -> None:
    model = agent(core=core).learn(2 * 7 * 3)
    before = statistics(model)
    model.set_env(drifts(5))
    assert same(before, statistics(model))
    model.learn(7 * 5, reset_num_timesteps=False)
    assert statistics(model)["return_moments.count"] == 2 * 7 * 3 + 7 * 5


def test_parameters_travel_with_their_moments() -> None:
    model, other = agent().learn(42), agent(seed=5)
    other.set_parameters(model.get_parameters())
    assert same(statistics(model), statistics(other))


def test_vec_normalize_may_wrap_the_env_as_well() -> None:
    """The policy then normalizes what is nearly normalized."""
    model = agent(VecNormalize(drifts())).learn(40 * 7 * 3)
    normalizer: Any = model.policy.observation_normalizer
    assert (normalizer.moments[0].mean.abs() < 0.5).all()
    assert ((normalizer.moments[0].variance - 1).abs() < 0.5).all()
    file = saved(model)
    resumed = RecurrentA2C.load(file, VecNormalize(drifts()), "cpu")
    assert same(statistics(resumed), statistics(model))
    assert resumed.learn(42)._n_updates > model._n_updates


class Changes(BaseCallback):
    """Replaces the rewards of every step in place."""

    def __init__(self, reward: float) -> None:
        super().__init__()
        self.reward = reward

    def _on_step(self) -> bool:
        self.locals["rewards"][:] = self.reward
        return True


def test_rewards_that_a_callback_changes_decide_the_scale() -> None:
    model = agent().learn(7 * 3, Changes(100.0))
    assert model.policy.return_moments is not None
    sums = [sum(100 * model.gamma**k for k in range(length + 1)) for length in range(7)]
    assert 100 <= model.policy.return_moments.mean.item() <= max(sums)


def test_a_reward_that_is_not_finite_leaves_moments_and_files_as_they_were() -> None:
    model = agent().learn(7 * 3)
    before = statistics(model)
    with pytest.raises(NonFiniteError, match="the reward of environment 0"):
        model.learn(7 * 3, Changes(np.nan))
    assert same(before, statistics(model))
    model.save(BytesIO())
    model.learn(7 * 3)
    assert all(part.isfinite().all() for part in statistics(model).values())


def test_a_second_step_over_a_rollout_does_not_count_it_again() -> None:
    model = agent().learn(7 * 3)
    before = statistics(model)
    model.train()
    assert same(before, statistics(model))


@pytest.mark.parametrize(("name", "value"), [("variance", -4.0), ("count", -32.0), ("mean", np.inf)])
def test_moments_that_cannot_be_are_refused(name: str, value: float) -> None:
    moments = Moments()
    with pytest.raises(RuntimeError, match="below 0, or a mean is not finite"):
        moments.load_state_dict({**moments.state_dict(), name: torch.tensor(value, dtype=torch.float64)})


def test_casts_of_the_policy_keep_the_moments() -> None:
    policy = agent().learn(7 * 3).policy
    before = {name: part for name, part in policy.state_dict().items() if "moments" in name}
    policy.half().float()
    for name, part in before.items():
        assert policy.state_dict()[name].dtype == torch.float64
        torch.testing.assert_close(policy.state_dict()[name], part, rtol=1e-2, atol=1e-2)


def test_small_values_are_normalized_too() -> None:
    moments = Moments()
    moments.update(np.array([0.0, 1e-7]), ALONE)
    assert moments.std.item() == pytest.approx(0.5e-7)

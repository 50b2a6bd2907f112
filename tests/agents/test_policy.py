"""Acting with a state: what ``predict`` promises, and saving a policy alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN

from plasticrl.agents import CORE_NAMES, CoreName, PlasticPolicy

EVERY_CORE = pytest.mark.parametrize("core", CORE_NAMES)
WITH_MEMORY = pytest.mark.parametrize("core", [name for name in CORE_NAMES if name != "feedforward"])
SPACE = spaces.Box(-1, 1, (3,))
B, T = 4, 6


def make(core: CoreName, action_space: spaces.Space[Any] | None = None, **options: Any) -> PlasticPolicy:
    torch.manual_seed(0)
    strong = {"eta": 0.3, "init": "normal", "init_scale": 0.4}
    plastic = core in ("plastic", "homogeneous", "rnn")
    policy = PlasticPolicy(
        options.pop("observation_space", SPACE),
        action_space or spaces.Box(-100, 100, (2,)),  # the mean as action: sensitive to the state
        lambda _: 1e-3,
        core=core,
        hidden_size=7,
        **(strong if plastic else {}),
        **options,
    )
    torch.nn.init.normal_(policy.action_net.weight)  # type: ignore[arg-type]
    return policy


def observations() -> Any:
    return np.random.default_rng(0).uniform(-1, 1, (T, B, 3)).astype(np.float32)


def starts() -> Any:
    first = np.zeros((T, B), dtype=bool)
    first[0] = first[2, 1] = first[4, 1] = first[3, 2] = True
    return first


@EVERY_CORE
def test_one_env_at_a_time_equals_batched(core: CoreName) -> None:
    policy, obs, first = make(core), observations(), starts()
    state, batched = None, []
    for x, f in zip(obs, first, strict=True):
        actions, state = policy.predict(x, state, f, deterministic=True)
        batched.append(actions)
    for b in range(B):
        alone = None
        for t in range(T):
            action, alone = policy.predict(obs[t, b], alone, first[t, b : b + 1], deterministic=True)
            assert action.shape == (2,)
            np.testing.assert_allclose(action, batched[t][b], rtol=1e-5, atol=1e-6)


@WITH_MEMORY
def test_an_action_depends_on_what_came_before(core: CoreName) -> None:
    policy, obs = make(core), observations()
    fresh, state = policy.predict(obs[0], deterministic=True)
    again, _ = policy.predict(obs[0], state, deterministic=True)
    assert np.abs(fresh - again).max(axis=1).min() > 1e-4
    forgotten, _ = policy.predict(obs[0], state, np.ones(B, dtype=bool), deterministic=True)
    np.testing.assert_allclose(forgotten, fresh, rtol=1e-6, atol=1e-6)


@WITH_MEMORY
def test_only_the_rows_that_start_forget(core: CoreName) -> None:
    policy, obs = make(core), observations()
    fresh, state = policy.predict(obs[0], deterministic=True)
    again, _ = policy.predict(obs[0], state, deterministic=True)
    mixed, _ = policy.predict(obs[0], state, np.array([True, False, True, False]), deterministic=True)
    np.testing.assert_allclose(mixed[::2], fresh[::2], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(mixed[1::2], again[1::2], rtol=1e-6, atol=1e-6)


@EVERY_CORE
def test_the_state_given_is_not_changed(core: CoreName) -> None:
    policy, obs = make(core), observations()
    _, state = policy.predict(obs[0])
    assert state is not None
    before = [s.copy() for s in state]
    policy.predict(obs[1], state, np.ones(B, dtype=bool))
    _, after = policy.predict(obs[1], state)
    assert all(np.array_equal(s, b) for s, b in zip(state, before, strict=True))
    assert after is not None
    if state:
        assert not np.array_equal(after[0], before[0])


@WITH_MEMORY
def test_a_state_of_zeros_is_the_start(core: CoreName) -> None:
    """As users of RecurrentPPO make them, in double precision."""
    policy, obs = make(core), observations()
    fresh, state = policy.predict(obs[0], deterministic=True)
    assert state is not None
    zeros = tuple(np.zeros(s.shape) for s in state)
    assert np.array_equal(policy.predict(obs[0], zeros, deterministic=True)[0], fresh)


def test_the_deterministic_action_is_the_most_probable_and_the_other_a_draw() -> None:
    policy = make("plastic", spaces.Discrete(3))
    obs = np.repeat(observations()[:1, :1], 500, axis=1)[0]
    best, _ = policy.predict(obs, deterministic=True)
    drawn, _ = policy.predict(obs)
    shares = np.bincount(drawn, minlength=3) / 500
    assert len(set(best.tolist())) == 1
    assert 0.3 < shares[best[0]] < 1
    with torch.no_grad():
        outputs = policy.step_(
            torch.from_numpy(obs), policy.initial_state(500), torch.ones(500, dtype=torch.bool)
        )
        p = policy.distribution(outputs).distribution.probs[0].numpy()  # type: ignore[union-attr]
    assert p.argmax() == best[0]
    np.testing.assert_allclose(shares, p, atol=0.1)  # 4.5 sigma


def test_box_actions_are_clipped_to_the_space() -> None:
    low, high = np.array([-0.1, 0.0], dtype=np.float32), np.array([0.1, 0.2], dtype=np.float32)
    actions, _ = make("plastic", spaces.Box(low, high)).predict(observations()[0])
    assert actions.shape == (B, 2)
    assert (actions >= low).all()
    assert (actions <= high).all()
    assert (actions == low).any()
    assert (actions == high).any()


@WITH_MEMORY
def test_a_state_for_another_number_of_envs_is_named(core: CoreName) -> None:
    policy, obs = make(core), observations()
    _, state = policy.predict(obs[0])
    with pytest.raises(ValueError, match="pass state=None when the number of environments changes"):
        policy.predict(obs[0, :2], state)
    with pytest.raises(ValueError, match="state must have shapes"):
        policy.predict(obs[0], ())


def test_an_observation_of_another_space_is_named() -> None:
    with pytest.raises(ValueError, match="Unexpected observation shape"):
        make("plastic").predict(np.zeros((B, 5), dtype=np.float32))


def test_predicted_values_leave_the_state_alone() -> None:
    policy, obs = make("plastic"), torch.from_numpy(observations()[0])
    state = policy.initial_state(B)
    policy.step_(obs, state, torch.zeros(B, dtype=torch.bool))
    before = [s.clone() for s in state]
    values = policy.predict_values(obs, state, torch.zeros(B, dtype=torch.bool))
    assert values.shape == (B,)
    assert all(torch.equal(s, b) for s, b in zip(state, before, strict=True))


@EVERY_CORE
def test_a_policy_is_saved_and_loaded_alone(core: CoreName, tmp_path: Path) -> None:
    policy, obs = make(core, log_std_init=-1.0), observations()[0]
    policy.save(str(tmp_path / "policy.pth"))
    loaded = PlasticPolicy.load(str(tmp_path / "policy.pth"))
    assert repr(loaded) == repr(policy)
    assert np.array_equal(
        policy.predict(obs, deterministic=True)[0], loaded.predict(obs, deterministic=True)[0]
    )
    assert loaded.log_std_init == -1.0


@pytest.mark.parametrize(
    ("space", "extractor"),
    [
        (spaces.Box(0, 255, (3, 40, 40), np.uint8), NatureCNN),
        (spaces.Box(-1, 1, (3, 40, 40)), FlattenExtractor),
        (spaces.Dict({"a": SPACE}), CombinedExtractor),
        (spaces.Discrete(3), FlattenExtractor),
        (spaces.MultiBinary(3), FlattenExtractor),
    ],
    ids=str,
)
def test_the_features_extractor_fits_the_observation(space: spaces.Space[Any], extractor: type) -> None:
    assert type(make("plastic", observation_space=space).features_extractor) is extractor


def test_the_optimiser_is_adam_with_the_papers_eps() -> None:
    policy = make("plastic")
    assert type(policy.optimizer) is torch.optim.Adam
    assert policy.optimizer.defaults["eps"] == 1e-4
    assert policy.optimizer.defaults["lr"] == 1e-3
    other = make("plastic", optimizer_class=torch.optim.SGD, optimizer_kwargs={"momentum": 0.5})
    assert other.optimizer.defaults["momentum"] == 0.5


def test_a_step_needs_a_state() -> None:
    with pytest.raises(NotImplementedError, match="needs its state"):
        make("plastic")._predict(torch.zeros(1, 3))

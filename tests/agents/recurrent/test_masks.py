"""Action masks: a forbidden action is never taken, and the update knows the masks that the rollout had."""

import warnings
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any
from unittest.mock import patch

import gymnasium as gym
import joint_learners as joint
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sb3_contrib.common.maskable.distributions import make_masked_proba_distribution
from sb3_contrib.common.maskable.evaluation import evaluate_policy as contrib_evaluate_policy
from sb3_contrib.common.maskable.utils import get_action_masks
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import make_proba_distribution
from stable_baselines3.common.evaluation import evaluate_policy as sb3_evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecNormalize
from torch import Tensor
from torch.distributions import Bernoulli, Categorical

from plasticrl.agents import (
    CORE_NAMES,
    MaskedEvalCallback,
    PlasticPolicy,
    RecurrentA2C,
    RecurrentPPO,
    evaluate_policy,
)
from plasticrl.agents.a2c.loss import concentration
from plasticrl.agents.recurrent.masks import masked_head
from plasticrl.agents.recurrent.spaces import checked_masks, part_sizes
from plasticrl.envs.maze.env import PlasticMazeVectorEnv

LENGTH = 7
LEARNERS = (RecurrentA2C, RecurrentPPO)
SPACES: dict[str, spaces.Space[Any]] = {
    "discrete": spaces.Discrete(4),
    "discrete from -1": spaces.Discrete(3, start=-1),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-discrete of two dimensions": spaces.MultiDiscrete([[2, 3], [4, 2]], start=[[0, 1], [2, -3]]),
    "multi-binary": spaces.MultiBinary(3),
    "multi-binary of two dimensions": spaces.MultiBinary((2, 2)),
}
PLAIN = {name: SPACES[name] for name in ("discrete", "multi-discrete", "multi-binary")}


def random_masks(space: spaces.Space[Any], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Masks that allow about a third of the values, and at least one of each part."""
    parts = []
    for size in part_sizes(space):
        allowed = rng.random(size) < 0.3
        allowed[rng.integers(size)] = True
        parts.append(allowed)
    return np.concatenate(parts)


def is_allowed(action: Any, masks: Any, space: spaces.Space[Any]) -> bool:
    """Whether each part of an env's action is allowed, found without the package's own code."""
    parts = (np.atleast_1d(action) - getattr(space, "start", 0)).ravel().astype(int)
    bounds = np.cumsum(part_sizes(space))[:-1]
    return all(
        allowed[value] for allowed, value in zip(np.split(np.asarray(masks), bounds), parts, strict=True)
    )


class Strict(gym.Env[Any, Any]):
    """Refuses what it forbids. It forbids something else at every step, and pays for the lowest values."""

    observation_space = spaces.Box(-1, 1, (3,))

    def __init__(self, action_space: spaces.Space[Any] = SPACES["discrete"]) -> None:
        self.action_space = action_space
        self.masks: Any = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.observe(), {}

    def observe(self) -> NDArray[np.float32]:
        self.masks = random_masks(self.action_space, self.np_random)
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not is_allowed(action, self.masks, self.action_space):
            raise AssertionError(f"{action} is forbidden by {self.masks}")
        self.steps += 1
        ends = self.np_random.random() < 0.1
        return self.observe(), -float(np.sum(action)), ends, not ends and self.steps == LENGTH, {}

    def action_masks(self) -> Any:
        return self.masks


class Free(Strict):
    """The same without masks."""

    action_masks: Any = property(lambda self: getattr(None, "action_masks"))  # noqa: B009

    def observe(self) -> NDArray[np.float32]:
        observation = super().observe()
        self.masks = np.ones_like(self.masks)
        return observation


class AllowsAll(Free):
    """Has masks, which forbid nothing."""

    def action_masks(self) -> Any:
        return self.masks


def envs(make: Callable[[], gym.Env[Any, Any]] = Strict, n: int = 3) -> VecEnv:
    venv = DummyVecEnv([lambda: Monitor(make())] * n)
    venv.seed(0)
    return venv


def agent(kind: Any = RecurrentA2C, env: Any = None, core: str = "plastic", **options: Any) -> Any:
    options = {"n_steps": 8, "seed": 0, "device": "cpu", "learning_rate": 0.02, **options}
    kwargs = {"core": core, "hidden_size": 8, **options.pop("policy", {})}
    return kind("PlasticPolicy", env or envs(), policy_kwargs=kwargs, **options)


def parameters(model: Any) -> dict[str, Tensor]:
    return {name: p.clone() for name, p in model.policy.state_dict().items()}


def contents(model: Any) -> bytes:
    buffer = BytesIO()
    model.save(buffer, exclude=["ep_info_buffer"])  # it holds times of day
    return buffer.getvalue()


def check_never_taken(model: Any, space: spaces.Space[Any]) -> None:
    """Play in every way; the env raises an error at the first forbidden action."""
    model.learn(4 * 3 * 8)
    for deterministic in (True, False):
        env = envs(lambda: Strict(space), 2)
        obs, state, starts = env.reset(), None, np.ones(2, dtype=np.bool_)
        for _ in range(20):
            actions, state = model.predict(
                obs, state, starts, deterministic, action_masks=get_action_masks(env)
            )
            obs, _, starts, _ = env.step(actions)
        evaluate_policy(model, env, n_eval_episodes=4, deterministic=deterministic)
        one = Strict(space)
        obs, _ = one.reset(seed=5)
        for _ in range(5):
            action, _ = model.predict(obs, deterministic=deterministic, action_masks=one.action_masks())
            obs, *_ = one.step(action)


# --- no forbidden action ---------------------------------------------------------------------------------


def test_the_env_of_these_tests_refuses_what_it_forbids() -> None:
    for space in SPACES.values():
        env, refused = Strict(space), 0
        env.reset(seed=0)
        for _ in range(40):
            try:
                env.step(space.sample())
            except AssertionError:
                refused += 1
        assert 10 <= refused < 40


@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("name", SPACES)
def test_a_forbidden_action_is_never_taken(name: str, kind: Any) -> None:
    space = SPACES[name]
    check_never_taken(agent(kind, envs(lambda: Strict(space)), ent_coef=0.1), space)


@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("core", CORE_NAMES)
def test_with_every_core(core: str, kind: Any) -> None:
    check_never_taken(agent(kind, core=core), SPACES["discrete"])


def test_even_if_the_network_wants_nothing_else() -> None:
    """Logits of hundreds, or of a million, for what is forbidden."""
    for size in (300.0, 1e6):
        for space in SPACES.values():
            model = agent(env=envs(lambda space=space: Strict(space)))
            with torch.no_grad():
                model.policy.action_net.bias.uniform_(-size, size)
            check_never_taken(model, space)


def batch(count: int, make: Any = Strict) -> VectorEnv[Any, Any, Any]:
    return SyncVectorEnv([make] * count, autoreset_mode=AutoresetMode.SAME_STEP)


class Batched(VectorEnv[Any, Any, Any]):
    """A batch whose ``action_masks`` returns those of all environments."""

    def __init__(self, count: int) -> None:
        self.inner = batch(count)
        self.num_envs, self.metadata = count, self.inner.metadata
        for name in ("observation_space", "action_space", "single_observation_space", "single_action_space"):
            setattr(self, name, getattr(self.inner, name))

    def reset(self, **options: Any) -> Any:
        return self.inner.reset(**options)

    def step(self, actions: Any) -> Any:
        return self.inner.step(actions)

    def action_masks(self) -> Any:
        return np.stack(self.inner.call("action_masks"))


KINDS_OF_ENVS: dict[str, Callable[[], Any]] = {
    "one env": Strict,
    "sb3-contrib's wrapper": lambda: ActionMasker(Free(), lambda env: env.unwrapped.masks),
    "VecNormalize": lambda: VecNormalize(envs()),
    "SubprocVecEnv": lambda: SubprocVecEnv([lambda: Monitor(Strict())] * 2),
    "Gymnasium's batch of single ones": lambda: batch(4),
    "a batch": lambda: Batched(4),  # as many environments as actions
    "a wrapped batch": lambda: VectorWrapper(VectorWrapper(Batched(3))),
}


@pytest.mark.parametrize("name", KINDS_OF_ENVS)
def test_through_every_kind_of_env(name: str) -> None:
    env = KINDS_OF_ENVS[name]()
    model = agent(RecurrentPPO, env)
    try:
        model.learn(60)
        assert model.rollout_buffer.action_masks.shape == (8, model.n_envs, 4)
        evaluate_policy(model, model.env, n_eval_episodes=3, deterministic=False)
    finally:
        model.env.close()


# --- the policy ------------------------------------------------------------------------------------------


@st.composite
def heads_and_masks(draw: Any) -> tuple[spaces.Space[Any], Tensor, Tensor]:
    """A space, an action head's output for 5 steps, and masks."""
    space = draw(st.sampled_from(list(SPACES.values())))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    masks = np.stack([random_masks(space, rng) for _ in range(5)])
    width = masks.shape[1] // (2 if isinstance(space, spaces.MultiBinary) else 1)
    head = rng.normal(scale=draw(st.sampled_from([0.1, 1.0, 20.0])), size=(5, width))
    return space, torch.tensor(head, dtype=torch.float32), torch.tensor(masks)


def distribution(space: spaces.Space[Any], head: Tensor, masks: Tensor | None) -> Any:
    flat: spaces.Space[Any] = space
    if isinstance(space, spaces.MultiDiscrete):
        flat = spaces.MultiDiscrete(space.nvec.ravel())
    if isinstance(space, spaces.MultiBinary):
        flat = spaces.MultiBinary(int(np.prod(space.shape)))
    shaped = head if masks is None else masked_head(head, masks, space)
    return make_proba_distribution(flat).proba_distribution(shaped)


def parts(dist: Any) -> list[Any]:
    inner = dist.distribution
    return inner if isinstance(inner, list) else [inner]


@given(heads_and_masks())
@settings(max_examples=60, deadline=None)
def test_probabilities_are_those_of_the_allowed_values_in_the_same_ratios(given_: Any) -> None:
    space, head, masks = given_
    free, masked = distribution(space, head, None), distribution(space, head, masks)
    sizes = part_sizes(space).tolist()
    shares = torch.cat([_shares(part) for part in parts(free)], dim=-1).double()
    own = torch.cat([_shares(part) for part in parts(masked)], dim=-1)
    assert (own[~masks] == 0).all()
    entropy = torch.zeros(len(head), dtype=torch.float64)
    agree = torch.ones(len(head), dtype=torch.float64)
    split = zip(*(torch.split(tensor, sizes, dim=-1) for tensor in (shares, own, masks)), strict=True)
    for share, found, allowed in split:
        expected = share * allowed
        expected = expected / expected.sum(-1, keepdim=True)
        if torch.isfinite(expected).all():  # where float32 holds the share of what is allowed
            torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-6)
        entropy -= torch.xlogy(found.double(), found.double()).sum(-1)
        agree *= found.double().square().sum(-1)
    torch.testing.assert_close(masked.entropy().double(), entropy, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(concentration(masked).double(), agree, rtol=1e-3, atol=1e-6)


def _shares(part: Any) -> Tensor:
    """Probabilities of all values of a part; a bit's are those of 0 and of 1."""
    if isinstance(part, Bernoulli):
        return torch.stack([1 - part.probs, part.probs], dim=-1).flatten(1)
    assert isinstance(part, Categorical)
    return part.probs


@given(heads_and_masks())
@settings(max_examples=60, deadline=None)
def test_it_is_the_distribution_of_sb3_contrib(given_: Any) -> None:
    space, head, masks = given_
    ours = distribution(space, head, masks)
    flat = head
    if isinstance(space, spaces.MultiBinary):  # its policies have two logits for each bit
        flat = torch.stack([torch.zeros_like(head), head], dim=-1).flatten(1)
        theirs = make_masked_proba_distribution(spaces.MultiBinary(head.shape[1]))
    elif isinstance(space, spaces.MultiDiscrete):
        theirs = make_masked_proba_distribution(spaces.MultiDiscrete(space.nvec.ravel()))
    else:
        theirs = make_masked_proba_distribution(space)
    theirs = theirs.proba_distribution(flat)
    theirs.apply_masking(masks)
    for actions in (ours.sample(), ours.mode()):
        torch.testing.assert_close(
            ours.log_prob(actions), theirs.log_prob(actions.long()), rtol=1e-4, atol=1e-5
        )
    torch.testing.assert_close(ours.entropy(), theirs.entropy(), rtol=1e-4, atol=1e-5)


@given(heads_and_masks())
@settings(max_examples=60, deadline=None)
def test_gradients_are_finite_and_those_of_forbidden_values_zero(given_: Any) -> None:
    space, head, masks = given_
    for score in (
        lambda dist: dist.log_prob(dist.sample()),
        lambda dist: dist.entropy(),
        concentration,
    ):
        head = head.detach().clone().requires_grad_()
        score(distribution(space, head, masks)).sum().backward()
        assert head.grad is not None
        assert torch.isfinite(head.grad).all()
        bits = isinstance(space, spaces.MultiBinary)
        decided = ~(masks.view(*head.shape, 2).all(-1) if bits else masks)
        assert (head.grad[decided] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", PLAIN)
def test_other_dtypes(name: str, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(0)
    masks = torch.tensor(np.stack([random_masks(SPACES[name], rng) for _ in range(50)]))
    width = masks.shape[1] // (2 if name == "multi-binary" else 1)
    head = torch.randn(50, width).to(dtype).requires_grad_()
    found = distribution(SPACES[name], head, masks)
    (found.entropy() + found.log_prob(found.sample())).sum().backward()
    assert torch.isfinite(found.entropy()).all()
    assert head.grad is not None
    assert torch.isfinite(head.grad).all()
    assert all(
        is_allowed(a, m, SPACES[name])
        for a, m in zip(found.mode().detach().float().numpy(), masks, strict=True)
    )


def test_actions_are_evaluated_with_masks() -> None:
    policy = agent().policy
    obs, starts = torch.randn(6, 3), torch.zeros(3, 2)
    masks = torch.tensor([[True, False, True, False]] * 6)
    actions = torch.tensor([0, 2] * 3)
    _, log_probs, entropy = policy.evaluate_actions(obs, actions, None, starts, masks)
    spread, _ = policy.get_distribution(obs, None, starts, masks)
    torch.testing.assert_close(log_probs, spread.log_prob(actions))
    torch.testing.assert_close(entropy, spread.entropy())
    found = spread.distribution.probs
    free, _ = policy.get_distribution(obs, None, starts)  # the same object with other numbers, as in SB3
    shares = free.distribution.probs * masks
    torch.testing.assert_close(found, shares / shares.sum(-1, keepdim=True))


# --- the update ------------------------------------------------------------------------------------------


class Records(BaseCallback):
    """The masks in the callback's locals, beside those that the env has."""

    def _init_callback(self) -> None:
        self.masks: list[Any] = []

    def _on_step(self) -> bool:
        self.masks.append(self.locals["action_masks"])
        for action, masks in zip(self.locals["clipped_actions"], self.masks[-1], strict=True):
            assert is_allowed(action, masks, self.model.action_space)
        return True


@pytest.mark.parametrize("kind", LEARNERS)
def test_the_rollout_keeps_the_masks_that_it_was_drawn_with(kind: Any) -> None:
    model, record = agent(kind), Records()
    model.learn(2 * 24, record)
    np.testing.assert_array_equal(model.rollout_buffer.action_masks, record.masks[-8:])


@pytest.mark.parametrize("name", PLAIN)
def test_an_update_begins_with_the_log_probabilities_of_the_rollout(name: str) -> None:
    model = agent(RecurrentPPO, envs(lambda: Strict(SPACES[name])), n_epochs=1, batch_size=24)
    with patch.object(type(model), "train"):
        model.learn(24)
    rollout, steps = model.rollout_buffer, model._steps_of_rollout()
    loss = model._loss(np.arange(3), steps)
    assert torch.isfinite(steps.log_probs).all()
    assert abs(loss.approx_kl) < 1e-6
    assert loss.clip_fraction == 0
    assert rollout.action_masks is not None


@pytest.mark.parametrize(
    ("kind", "options"), [(RecurrentA2C, {"concentration_coef": 0.1}), (RecurrentPPO, {})]
)
def test_nothing_is_learned_about_what_is_always_forbidden(kind: Any, options: Any) -> None:
    """The optimiser leaves a parameter as it is while its gradient is 0."""

    class NeverTheSecond(Strict):
        def observe(self) -> NDArray[np.float32]:
            observation = super().observe()
            self.masks = np.array([True, False, True, True])
            return observation

    model = agent(kind, envs(NeverTheSecond), ent_coef=0.1, **options)
    before = parameters(model)
    model.learn(5 * 24)
    after = parameters(model)
    for name in ("action_net.weight", "action_net.bias"):
        changed = (before[name] != after[name]).reshape(4, -1).any(-1)
        assert changed.tolist() == [True, False, True, True]


@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("name", PLAIN)
def test_masks_that_forbid_nothing_change_nothing(name: str, kind: Any) -> None:
    one, other = (
        agent(kind, envs(lambda make=make: make(SPACES[name])), ent_coef=0.1).learn(3 * 24)
        for make in (Free, AllowsAll)
    )
    assert one.rollout_buffer.action_masks is None
    assert other.rollout_buffer.action_masks.all()
    found = parameters(other)
    for parameter, value in parameters(one).items():
        assert torch.equal(value, found[parameter])


class Echo(Strict):
    """Pays for the action that it shows, among the two of ten that are allowed."""

    observation_space = spaces.Discrete(10)  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(spaces.Discrete(10))

    def observe(self) -> Any:
        self.wanted, other = self.np_random.choice(10, 2, replace=False)
        self.masks = np.isin(np.arange(10), (self.wanted, other))
        return self.wanted

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        pays = float(action == self.wanted)
        obs, _, _, _, info = super().step(action)
        return obs, pays, self.steps == LENGTH, False, info


@pytest.mark.parametrize(
    ("kind", "options"),
    [(RecurrentA2C, {}), (RecurrentPPO, {"n_steps": 32, "learning_rate": 0.01, "n_epochs": 5})],
)
def test_it_learns_with_masks(kind: Any, options: Any) -> None:
    """Half of the steps pay by chance."""
    model = agent(kind, envs(Echo, 4), policy={"hidden_size": 16}, **options)
    assert evaluate_policy(model, envs(Echo), 30, deterministic=False)[0] < 0.6 * LENGTH
    model.learn(4000)
    assert evaluate_policy(model, envs(Echo), 30)[0] > 0.85 * LENGTH


# --- evaluation ------------------------------------------------------------------------------------------


def states_given(evaluate: Callable[[Any], Any], model: Any) -> list[bool]:
    """Whether the policy was given a state, at each call of ``predict``."""
    given_ = list[bool]()
    original = PlasticPolicy.predict

    def predict(self: Any, obs: Any, state: Any = None, *others: Any, **options: Any) -> Any:
        given_.append(state is not None)
        return original(self, obs, state, *others, **options)

    with patch.object(PlasticPolicy, "predict", predict):
        evaluate(model)
    return given_


def test_evaluation_keeps_the_memory_where_sb3_contribs_loses_it() -> None:
    model = agent()
    first, *others = states_given(lambda one: evaluate_policy(one, envs(), 5), model)
    assert not first
    assert all(others)
    with pytest.warns(UserWarning, match="does not remember its beginning.*evaluate_policy"):
        assert not any(states_given(lambda one: contrib_evaluate_policy(one, envs(), 5), model))


@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("name", PLAIN)
def test_sb3_contribs_evaluation_serves_agents_without_memory(name: str, kind: Any) -> None:
    env = envs(lambda: Strict(SPACES[name]))
    model = agent(kind, env, "feedforward").learn(24)
    first, second = (
        evaluate(model, env, 6) for evaluate in (contrib_evaluate_policy, contrib_evaluate_policy)
    )
    assert np.isfinite([*first, *second]).all()


def test_evaluation_without_masks_is_sb3s() -> None:
    model = agent(env=envs(Free))
    assert evaluate_policy(model, envs(Free), 5) == sb3_evaluate_policy(model, envs(Free), 5)
    returns, lengths = evaluate_policy(model, Monitor(Free()), 3, return_episode_rewards=True)
    assert len(returns) == len(lengths) == 3
    assert evaluate_policy(model, batch(2, Free), 4)[1] >= 0


def test_evaluation_during_training(tmp_path: Any) -> None:
    """It does not disturb the training, and the best agent is saved."""
    callback = MaskedEvalCallback(
        envs(n=2), eval_freq=5, n_eval_episodes=3, best_model_save_path=str(tmp_path), verbose=0
    )
    model = agent().learn(3 * 24, callback)
    assert np.isfinite(callback.best_mean_reward)
    found, alone = parameters(model), parameters(agent().learn(3 * 24))
    assert all(torch.equal(found[name], alone[name]) for name in alone)
    RecurrentA2C.load(tmp_path / "best_model", envs(), "cpu").learn(24)
    free = MaskedEvalCallback(envs(Free), eval_freq=5, n_eval_episodes=2, verbose=0)
    agent(env=envs(Free)).learn(24, free)
    assert np.isfinite(free.best_mean_reward)


# --- resuming, other envs, several processes -------------------------------------------------------------


@pytest.fixture
def _forbidding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mazes forbid one action, another one for each square and step."""
    monkeypatch.setattr(PlasticMazeVectorEnv, "action_masks", joint.all_but_one, raising=False)


MASKED = {"a2c": partial(joint.agent, policy={}), "ppo": partial(joint.ppo, policy={}, batch_size=20)}


@pytest.mark.usefixtures("_forbidding")
@pytest.mark.parametrize("name", MASKED)
def test_it_resumes_to_the_same_bits(name: str) -> None:
    whole, half = (MASKED[name]().learn(steps) for steps in (4 * 40, 2 * 40))
    file = BytesIO()
    half.save(file)
    torch.manual_seed(99)  # what another process would bring
    again = type(half).load(file, joint.mazes(), "cpu")
    again.learn(2 * 40, reset_num_timesteps=False)
    again._total_timesteps, again._num_timesteps_at_start = whole._total_timesteps, 0
    assert again.rollout_buffer.action_masks.sum() == 3 * 40
    assert contents(again) == contents(whole)


@pytest.mark.usefixtures("_forbidding")
def test_a_masked_maze_is_not_played_ahead() -> None:
    model = MASKED["a2c"]()
    with patch("plasticrl.agents.recurrent.on_policy_algorithm.play_ahead") as played:
        model.learn(2 * 40)
    assert not played.called
    rollout = model.rollout_buffer
    assert np.take_along_axis(rollout.action_masks, rollout.actions, axis=2).all()


@pytest.mark.usefixtures("_forbidding")
def test_two_processes_learn_what_one_does(tmp_path: Any) -> None:
    alone = joint.masked_agent()
    joint.train(alone, joint.UPDATES)
    assert alone.rollout_buffer.action_masks is not None
    joint.run_together(joint.train_masked, tmp_path)
    for rank in range(2):
        found = RecurrentPPO.load(tmp_path / f"masked_{rank}", device="cpu")
        for name, tensor in parameters(found).items():
            torch.testing.assert_close(tensor, alone.policy.state_dict()[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", LEARNERS)
def test_another_env_may_have_masks_or_none(kind: Any) -> None:
    model = agent(kind, envs(Free)).learn(24)
    model.set_env(envs(Strict, 2))
    model.learn(24)
    assert model.rollout_buffer.action_masks.shape == (8, 2, 4)
    model.set_env(envs(Free))
    model.learn(24)
    assert model.rollout_buffer.action_masks is None
    file = BytesIO()
    model.save(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these environments cannot be resumed
        kind.load(file, envs(), "cpu").learn(24, reset_num_timesteps=False)


# --- what is refused -------------------------------------------------------------------------------------

FOUR = [True] * 4
BAD: dict[str, tuple[spaces.Space[Any], Any, str]] = {
    "too long": (SPACES["discrete"], [True] * 5, r"must be 4 bools .*shape \(1, 4\), not \(1, 5\)"),
    "too short": (SPACES["multi-discrete"], [True] * 2, r"must be 5 bools .* not \(1, 2\)"),
    "one for each bit": (SPACES["multi-binary"], [True] * 3, r"must be 6 bools .* not \(1, 3\)"),
    "pairs": (SPACES["multi-binary"], [[True, True]] * 3, r"must be 6 bools .* not \(1, 3, 2\)"),
    "none": (SPACES["discrete"], None, r"must be 4 bools .* not \(1,\)"),
    "ragged": (SPACES["multi-discrete"], [[True, True], FOUR[:3]], r"must be 5 bools .*differ in shape"),
    "logits": (SPACES["discrete"], [0.0, -np.inf, 0.0, 0.0], r"not other values \(float64\)"),
    "words": (SPACES["discrete"], ["yes", "no", "no", "no"], r"not other values \(<U3\)"),
    "all false": (
        SPACES["discrete"],
        [False] * 4,
        r"environment 0 allow none of the 4 values of the action,",
    ),
    "a part": (SPACES["multi-discrete"], [1, 1, 0, 0, 0], r"none of the 3 values of part 1 of the action"),
    "a part of many": (
        SPACES["multi-discrete of two dimensions"],
        [1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1],
        r"none of the 4 values of part 2 of the action",
    ),
    "a bit": (SPACES["multi-binary"], [1, 1, 0, 0, 1, 0], r"none of the 2 values of part 1 of the action"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_masks_are_named(name: str) -> None:
    space, masks, says = BAD[name]

    class Bad(Strict):
        def action_masks(self) -> Any:
            return masks

    model = agent(env=envs(lambda: Bad(space), 1))
    raised = list[str]()
    with pytest.raises(ValueError, match=says) as error:
        model.learn(8)
    raised.append(str(error.value))
    with pytest.raises(ValueError, match=says) as error:
        evaluate_policy(model, envs(lambda: Bad(space), 1), 1)
    raised.append(str(error.value))
    with pytest.raises(ValueError, match="action_masks") as error:
        model.policy.predict(np.zeros(3, np.float32), action_masks=[masks])
    raised.append(str(error.value))
    assert all("\n" not in text and type(space).__name__ in text for text in raised)


def test_masks_must_be_for_all_environments() -> None:
    model = agent()
    with pytest.raises(ValueError, match=r"shape \(3, 4\), not \(2, 4\)"):
        model.predict(model.env.reset(), action_masks=[FOUR] * 2)
    with pytest.raises(ValueError, match=r"environment 1 allow none"):
        model.predict(model.env.reset(), action_masks=[FOUR, [False] * 4, FOUR])
    assert checked_masks([[1, 0, 0, 1]], SPACES["discrete"], 1).dtype == np.bool_
    assert checked_masks([1, 0, 0, 1], SPACES["discrete"], 1).shape == (1, 4)


def test_an_agent_with_masks_does_not_act_without() -> None:
    """SB3's own evaluation would take forbidden actions unnoticed."""
    model = agent()
    with pytest.raises(ValueError, match=r"predict\(\) got no action_masks.*evaluate_policy"):
        sb3_evaluate_policy(model, envs(), 1)
    obs = model.env.reset()
    np.testing.assert_array_equal(
        model.policy.predict(obs, deterministic=True)[0],
        model.predict(obs, deterministic=True, action_masks=[FOUR] * 3)[0],
    )


@pytest.mark.parametrize("kind", LEARNERS)
def test_numbers_have_no_masks(kind: Any) -> None:
    class Numbers(Strict):
        def __init__(self) -> None:
            super().__init__(spaces.Box(-1, 1, (2,)))

    class FreeNumbers(Numbers, Free):
        pass

    says = r"action_masks are for actions in Discrete, MultiDiscrete or MultiBinary, not in Box"
    with pytest.raises(ValueError, match=says):
        agent(kind, envs(Numbers))
    model = agent(kind, envs(FreeNumbers))
    with pytest.raises(ValueError, match=says):
        model.set_env(envs(Numbers))
    with pytest.raises(ValueError, match=says):
        model.predict(np.zeros(3, np.float32), action_masks=[True, True])

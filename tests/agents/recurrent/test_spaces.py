"""Every kind of action with every kind of observation: training, acting, saving; the others are refused."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces, wrappers
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import (
    FakeImageEnv,
    IdentityEnv,
    IdentityEnvBox,
    IdentityEnvMultiBinary,
    IdentityEnvMultiDiscrete,
)
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN
from stable_baselines3.common.vec_env import DummyVecEnv, VecTransposeImage

from plasticrl.agents import CORE_NAMES, CoreName, PlasticPolicy, RecurrentA2C
from plasticrl.agents.common.feature_extractors import DictExtractor, SmallCNN
from plasticrl.agents.recurrent.policies import default_extractor
from plasticrl.agents.recurrent.spaces import actions_to_env, check_spaces, chosen_space

ACTIONS = {
    "discrete": spaces.Discrete(3),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-binary": spaces.MultiBinary(3),
    "box": spaces.Box(-1, 1, (2,), np.float32),
    "box of two dimensions": spaces.Box(-2, 2, (2, 3), np.float32),
}
IMAGE = spaces.Box(0, 255, (36, 36, 1), np.uint8)
OBSERVATIONS = {
    "box": spaces.Box(-1, 1, (4,), np.float32),
    "box of two dimensions": spaces.Box(-1, 1, (2, 3), np.float64),
    "discrete": spaces.Discrete(5),
    "multi-discrete": spaces.MultiDiscrete([2, 5]),
    "multi-binary": spaces.MultiBinary(6),
    "dict": spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3), "c": spaces.MultiBinary(2)}),
    "image": IMAGE,
    "dict with image": spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "image": IMAGE}),
}


class OwnDiscrete(spaces.Discrete):
    """A subclass, as environments of others have them."""


class OwnBox(spaces.Box):
    """Another."""


ODD_ACTIONS: dict[str, spaces.Space[Any]] = {
    "discrete from 1": spaces.Discrete(3, start=1),
    "discrete from -1": spaces.Discrete(3, start=-1),
    "discrete of another dtype": spaces.Discrete(3, start=5, dtype=np.uint8),
    "discrete of one": spaces.Discrete(1, start=7),
    "discrete of a subclass": OwnDiscrete(3, start=2),
    "multi-discrete from 1": spaces.MultiDiscrete([2, 3], start=[1, -4]),
    "multi-discrete of two dimensions": spaces.MultiDiscrete([[2, 3], [4, 2]], start=[[0, 1], [2, -3]]),
    "multi-discrete of a small dtype": spaces.MultiDiscrete([200, 100], dtype=np.uint8),
    "multi-binary of two dimensions": spaces.MultiBinary((2, 3)),
    "box of whole numbers": spaces.Box(0, 5, (2,), np.int64),
    "box of bytes": spaces.Box(0, 3, (2, 2), np.uint8),
    "box of bools": spaces.Box(0, 1, (2,), np.bool_),
    "box of doubles": spaces.Box(-1, 1, (2,), np.float64),
    "box of halves": spaces.Box(-1, 1, (2,), np.float16),
    "box of one number": spaces.Box(-1, 1, ()),
    "box of a subclass": OwnBox(-1, 1, (2,)),
}
GRID = spaces.Box(0, 255, (7, 7, 3), np.uint8)
ODD_OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    **{name: space for name, space in ODD_ACTIONS.items() if not name.startswith("box of a sub")},
    "box of a subclass": OwnBox(-1, 1, (2,)),
    "box of words": spaces.Box(0, 3, (2,), np.uint16),
    "box without bounds": spaces.Box(-np.inf, np.inf, (3,)),
    "small image": GRID,
    "image of one pixel": spaces.Box(0, 255, (1, 1, 1), np.uint8),
    "low and wide image": spaces.Box(0, 255, (20, 70, 3), np.uint8),
    "dict with small image": spaces.Dict(image=GRID, direction=spaces.Discrete(4, start=1)),
    "dict with a small and a large image": spaces.Dict(small=GRID, large=IMAGE),
    "dict with keys that torch does not take": spaces.Dict(
        {key: spaces.Box(-1, 1, (2,)) for key in ("a.b", "type", "", "items", "training", "a/b")}
    ),
    "dict of odd parts": spaces.Dict(
        {
            "one": spaces.Box(-1, 1, ()),
            "grid": spaces.MultiDiscrete([[2, 3], [4, 2]], start=[[0, 1], [2, -3]]),
            "tens": spaces.Discrete(3, start=10),
        }
    ),
}


def holds(space: spaces.Space[Any], action: Any) -> bool:
    """Whether it is an action of the space; numbers of no dimension become what gymnasium asks for."""
    return space.contains(np.asarray(action) if isinstance(space, spaces.Box) else action)


class Draws(gym.Env[Any, Any]):
    """Draws observations; some episodes are cut off, some end. Refuses actions of other spaces."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.episodes = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.episodes += 1
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert holds(self.action_space, action), action
        self.steps += 1
        ends = self.episodes % 2 == 0 and self.steps == 3
        return self.observation_space.sample(), 1.0, ends, self.steps == 4, {}


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("observations", OBSERVATIONS)
def test_it_learns_acts_and_is_saved(actions: str, observations: str, tmp_path: Path) -> None:
    check_learns(OBSERVATIONS[observations], ACTIONS[actions], tmp_path)


@pytest.mark.parametrize("actions", ODD_ACTIONS)
def test_with_odd_actions(actions: str, tmp_path: Path) -> None:
    check_learns(OBSERVATIONS["box"], ODD_ACTIONS[actions], tmp_path)


@pytest.mark.parametrize("observations", ODD_OBSERVATIONS)
def test_with_odd_observations(observations: str, tmp_path: Path) -> None:
    check_learns(ODD_OBSERVATIONS[observations], ACTIONS["discrete"], tmp_path)


def check_learns(space: spaces.Space[Any], actions: spaces.Space[Any], tmp_path: Path) -> None:
    space.seed(0)  # of what is drawn at random, two steps of Adam may cancel each other
    env = make_vec_env(lambda: Draws(space, actions), n_envs=3, seed=0)
    model = RecurrentA2C(
        "PlasticPolicy", env, n_steps=6, seed=0, device="cpu", policy_kwargs={"hidden_size": 5}
    )
    before = {name: p.clone() for name, p in model.policy.named_parameters()}
    model.learn(2 * 6 * 3)
    for name, p in model.policy.named_parameters():
        assert torch.isfinite(p).all(), name
        # tanh units of an image may not fire at all, and a single action needs no learning
        if not name.startswith("features_extractor") and (name[:6] != "action" or len(p) > 1):
            assert not torch.equal(p, before[name]), name

    one, _ = model.predict(space.sample())
    assert holds(actions, int(one) if isinstance(actions, spaces.Discrete) else one)
    evaluate_policy(model, env, n_eval_episodes=3, deterministic=False)
    several, state = model.predict(model.env.reset(), None, np.ones(3, dtype=bool), deterministic=True)  # type: ignore[union-attr]
    assert len(several) == 3

    model.save(tmp_path / "model.zip")
    loaded = RecurrentA2C.load(tmp_path / "model.zip", device="cpu")
    assert loaded.observation_space == model.observation_space
    assert loaded.action_space == actions
    obs: Any = model._last_obs
    expected, _ = model.predict(obs, state, deterministic=True)
    assert np.array_equal(loaded.predict(obs, state, deterministic=True)[0], expected)
    loaded.set_env(env)
    loaded.learn(6 * 3)


@pytest.mark.parametrize(
    ("env", "goal"),
    [
        (lambda: IdentityEnv(4, ep_length=10), 0.9),
        (lambda: IdentityEnvMultiDiscrete(3, ep_length=10), 0.9),
        (lambda: IdentityEnvMultiBinary(3, ep_length=10), 0.9),
    ],
    ids=["discrete", "multi-discrete", "multi-binary"],
)
def test_it_learns_to_repeat_what_it_sees(env: Any, goal: float) -> None:
    """By chance one of 4, 9 or 8 actions is right."""
    model = RecurrentA2C(
        "PlasticPolicy",
        make_vec_env(env, n_envs=16, seed=0),
        learning_rate=0.02,
        n_steps=5,
        gamma=0.0,
        seed=0,
        device="cpu",
        policy_kwargs={"hidden_size": 16},
    )
    model.learn(200 * 5 * 16)
    venv = make_vec_env(env, n_envs=50, seed=1)
    actions, _ = model.predict(venv.reset(), deterministic=True)
    right = [e.unwrapped._get_reward(a) for e, a in zip(venv.envs, actions, strict=True)]  # type: ignore[attr-defined]
    assert np.mean(right) > goal


def test_it_learns_a_continuous_action() -> None:
    """The reward falls with the distance to the number seen; 0 for every number has an error of 1/2."""
    env = make_vec_env(lambda: CloseTo(), n_envs=16, seed=0)
    model = RecurrentA2C(
        "PlasticPolicy",
        env,
        learning_rate=0.01,
        n_steps=5,
        gamma=0.0,
        concentration_coef=0.0,
        seed=0,
        device="cpu",
        policy_kwargs={"hidden_size": 16, "log_std_init": -1.0},
    )
    model.learn(300 * 5 * 16)
    seen = np.linspace(-1, 1, 21, dtype=np.float32)[:, None]
    assert np.abs(model.predict(seen, deterministic=True)[0] - seen).mean() < 0.2


class CloseTo(IdentityEnvBox):
    def _get_reward(self, action: Any) -> float:
        return -float(np.abs(self.state - action).sum())


@pytest.mark.parametrize("core", CORE_NAMES)
@pytest.mark.parametrize("channel_first", [False, True])
def test_images_go_through_a_convolution(core: CoreName, channel_first: bool) -> None:
    def env() -> FakeImageEnv:
        return FakeImageEnv(screen_height=40, screen_width=40, n_channels=3, channel_first=channel_first)

    model = RecurrentA2C(
        "PlasticPolicy",
        make_vec_env(env, n_envs=2),
        n_steps=4,
        device="cpu",
        policy_kwargs={"core": core, "hidden_size": 5, "features_extractor_kwargs": {"features_dim": 9}},
    )
    assert isinstance(model.env, VecTransposeImage) is not channel_first
    assert model.policy.core.input_size == 9
    model.learn(16)
    action, _ = model.predict(env().observation_space.sample())
    assert 0 <= action < 6


class Shifted(gym.Env[Any, Any]):
    """The same walk, whatever number its first action and its first observation have."""

    def __init__(self, action_start: int, observation_start: int) -> None:
        self.action_space = spaces.Discrete(3, start=action_start)
        self.observation_space = spaces.MultiDiscrete([4, 2], start=[observation_start, -observation_start])

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        taken = int(action) - int(self.action_space.start)
        self.at = (self.at + taken) % 4
        return self._seen(), float(taken == self.at % 3), self.np_random.random() < 0.2, False, {}

    def _seen(self) -> Any:
        return self.observation_space.start + np.array([self.at, self.at % 2])


@pytest.mark.parametrize(("action_start", "observation_start"), [(1, 0), (-1, 0), (0, 3), (10**9, -7)])
def test_where_counting_starts_makes_no_difference(action_start: int, observation_start: int) -> None:
    def trained(*starts: int) -> RecurrentA2C:
        env = make_vec_env(lambda: Shifted(*starts), n_envs=4, seed=0)
        kwargs = {"hidden_size": 8}
        return RecurrentA2C("PlasticPolicy", env, n_steps=5, seed=0, policy_kwargs=kwargs).learn(200)

    plain, shifted = trained(0, 0), trained(action_start, observation_start)
    for name, value in plain.policy.state_dict().items():
        assert torch.equal(value, shifted.policy.state_dict()[name]), name
    seen = np.array([[0, 0], [1, 1], [2, 0], [3, 1]])
    moved = seen + np.array([observation_start, -observation_start])
    expected = plain.predict(seen, deterministic=True)[0] + action_start
    assert np.array_equal(shifted.predict(moved, deterministic=True)[0], expected)


@pytest.mark.parametrize("actions", [*ACTIONS, *ODD_ACTIONS])
@pytest.mark.parametrize("scale", [0.1, 3, 1e30])
def test_whatever_is_drawn_the_env_gets_an_action_of_its_space(actions: str, scale: float) -> None:
    space = {**ACTIONS, **ODD_ACTIONS}[actions]
    chosen = chosen_space(space)
    rng = np.random.default_rng(0)
    for _ in range(20):
        if isinstance(chosen, spaces.Box):
            drawn = (scale * rng.normal(size=(1, int(np.prod(chosen.shape))))).astype(np.float32)
        else:
            drawn = np.asarray(chosen.sample())[None]
        action = actions_to_env(drawn, space)[0]
        assert holds(space, action), action
        assert np.asarray(action).dtype == space.dtype


def test_numbers_are_rounded_to_the_nearest_whole_one_within_the_bounds() -> None:
    drawn = np.array([[-3.0, 0.4, 0.6, 1.5, 2.5, 9.0]], dtype=np.float32)
    assert actions_to_env(drawn, spaces.Box(0, 5, (6,), np.int64)).tolist() == [[0, 0, 1, 2, 2, 5]]
    assert actions_to_env(drawn, spaces.Box(0, 1, (6,), np.bool_)).tolist() == [
        [False, False, True, True, True, True]
    ]


VECTOR, TWO = OBSERVATIONS["box"], spaces.Discrete(2)
REFUSED_OBSERVATIONS: dict[str, tuple[spaces.Space[Any], str]] = {
    "tuple": (spaces.Tuple((VECTOR, TWO)), "observation space Tuple.*FlattenObservation"),
    "tuple of what has no length": (
        spaces.Tuple((VECTOR, spaces.Sequence(TWO))),
        "observation space Tuple.*ObservationWrapper",
    ),
    "text": (spaces.Text(5), "observation space Text.*ObservationWrapper"),
    "sequence": (spaces.Sequence(TWO), "observation space Sequence.*ObservationWrapper"),
    "graph": (spaces.Graph(VECTOR, None), "observation space Graph.*ObservationWrapper"),
    "one of": (spaces.OneOf((VECTOR, TWO)), "observation space OneOf.*FlattenObservation"),
    "empty box": (spaces.Box(-1, 1, (0,)), r"observation space Box of shape \(0,\) has no elements"),
    "empty picture": (spaces.Box(0, 255, (0, 7, 3), np.uint8), "has no elements"),
    "empty dict": (spaces.Dict(), "observation space Dict is empty"),
    "nested dict": (spaces.Dict(a=spaces.Dict(b=VECTOR)), "space Dict is nested.*FlattenObservation"),
    "tuple in a dict": (spaces.Dict(a=spaces.Tuple((TWO,))), "space Dict is nested.*FlattenObservation"),
    "deep text": (
        spaces.Dict(a=spaces.Dict(b=spaces.Sequence(TWO))),
        "space Dict is nested.*ObservationWrapper",
    ),
    "text in a dict": (
        spaces.Dict(image=GRID, direction=spaces.Discrete(4), mission=spaces.Text(9)),
        r"Dict holds 'mission': Text.*FilterObservation\(env, \['\w+', '\w+'\]\)",
    ),
    "only text in a dict": (spaces.Dict(mission=spaces.Text(9)), "'mission': Text.*write a gymnasium"),
    "empty box in a dict": (
        spaces.Dict(a=VECTOR, b=spaces.Box(0, 1, (0,))),
        "Dict's 'b', Box.*has no elements",
    ),
    "too many categories": (
        spaces.Discrete(2**40),
        "space Discrete has 1,099,511,627,776 categories",
    ),
    "too many categories in parts": (spaces.MultiDiscrete([2**33, 2]), "MultiDiscrete has 8,589,934,594"),
    "dict with a number as key": (spaces.Dict({1: VECTOR}), "has the key 1: keys must be text"),  # type: ignore[dict-item]
    "box of a dtype of no file": (
        spaces.Box(-1, 1, (2,), np.longdouble),
        "Box.*longdouble|float128.*cannot hold",
    ),
}
REFUSED_ACTIONS: dict[str, tuple[spaces.Space[Any], str]] = {
    "tuple": (spaces.Tuple((TWO,)), "action space Tuple is not Box.*ActionWrapper"),
    "too many categories": (spaces.Discrete(2**33), "action space Discrete has 8,589,934,592 categories"),
    "dict": (spaces.Dict(a=TWO), "action space Dict is not Box.*ActionWrapper"),
    "text": (spaces.Text(5), "action space Text"),
    "sequence": (spaces.Sequence(TWO), "action space Sequence"),
    "graph": (spaces.Graph(VECTOR, None), "action space Graph"),
    "one of": (spaces.OneOf((TWO, TWO)), "action space OneOf"),
    "box without bounds": (spaces.Box(-np.inf, np.inf, (2,)), "Box must have finite bounds.*TransformAction"),
    "box with one bound": (spaces.Box(0, np.inf, (2,)), "Box must have finite bounds"),
    "integers without bounds": (spaces.Box(-(2**62), 2**62, (2,), np.int64), r"for integers, up to 2\*\*53"),
    "empty box": (spaces.Box(-1, 1, (0,)), "action space Box.*has no elements"),
}


def refusals() -> list[Any]:
    return [
        *(pytest.param(s, TWO, t, id=f"observation: {i}") for i, (s, t) in REFUSED_OBSERVATIONS.items()),
        *(pytest.param(VECTOR, s, t, id=f"action: {i}") for i, (s, t) in REFUSED_ACTIONS.items()),
    ]


@pytest.mark.filterwarnings("ignore:.*(precision|unexpected results)")  # gymnasium's, of odd boxes
@pytest.mark.parametrize(("observations", "actions", "text"), refusals())
def test_other_spaces_are_refused_by_name_with_the_way_out(
    observations: spaces.Space[Any], actions: spaces.Space[Any], text: str
) -> None:
    def made(env: Any) -> RecurrentA2C:
        return RecurrentA2C("PlasticPolicy", env, n_steps=4, policy_kwargs={"hidden_size": 3})

    env, known = Draws(observations, actions), made(Draws(VECTOR, TWO))
    content = BytesIO()
    known.save(content)
    content.seek(0)
    ways: list[Callable[[], Any]] = [
        lambda: made(env),
        lambda: PlasticPolicy(observations, actions, lambda _: 1e-3),
        lambda: known.set_env(env),
        lambda: RecurrentA2C.load(content, env=env),
    ]
    for way in ways:
        with pytest.raises(ValueError, match=text):
            way()
    assert known.learn(8).num_timesteps == 8


@pytest.mark.parametrize(
    ("observations", "actions", "wrap"),
    [
        (REFUSED_OBSERVATIONS["tuple"][0], TWO, wrappers.FlattenObservation),
        (REFUSED_OBSERVATIONS["nested dict"][0], TWO, wrappers.FlattenObservation),
        (REFUSED_OBSERVATIONS["one of"][0], TWO, wrappers.FlattenObservation),
        (
            REFUSED_OBSERVATIONS["text in a dict"][0],
            TWO,
            lambda env: wrappers.FilterObservation(env, ["direction", "image"]),
        ),
        (
            VECTOR,
            REFUSED_ACTIONS["box without bounds"][0],
            lambda env: wrappers.TransformAction(env, lambda action: action, spaces.Box(-1, 1, (2,))),
        ),
    ],
    ids=["flatten a tuple", "flatten a dict", "flatten one of", "filter", "bounds"],
)
def test_the_way_out_leads_out(
    observations: spaces.Space[Any], actions: spaces.Space[Any], wrap: Callable[[Any], Any]
) -> None:
    env = wrap(Draws(observations, actions))
    model = RecurrentA2C("PlasticPolicy", env, n_steps=4, policy_kwargs={"hidden_size": 3})
    assert model.learn(8).num_timesteps == 8


def test_a_space_that_only_compares_equal_to_its_kind_is_refused() -> None:
    class Jealous(spaces.Discrete):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Jealous)

        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(ValueError, match="a file of an agent cannot hold: make it a plain Box, Discrete"):
        check_spaces(VECTOR, Jealous(3))


def test_an_id_is_as_good_as_an_env_in_set_env_and_load(tmp_path: Path) -> None:
    model = RecurrentA2C("PlasticPolicy", "CartPole-v1", n_steps=4, policy_kwargs={"hidden_size": 3})
    model.save(tmp_path / "model")
    loaded = RecurrentA2C.load(tmp_path / "model", env="CartPole-v1")
    assert loaded.learn(8).num_timesteps == 8
    loaded.set_env("CartPole-v1")
    assert loaded.learn(8).num_timesteps == 8
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        RecurrentA2C.load(tmp_path / "model", env="MountainCar-v0")


@pytest.mark.parametrize("height", [1, 2, 3, 7, 35])
@pytest.mark.parametrize("width", [1, 4, 5, 36])
def test_a_small_image_of_any_size_has_features(height: int, width: int) -> None:
    extractor = SmallCNN(spaces.Box(0, 255, (3, height, width), np.uint8), 9)
    features = extractor(torch.rand(2, 3, height, width))
    assert features.shape == (2, 9)
    features.sum().backward()
    assert all(p.grad is not None for p in extractor.parameters())


def test_every_pixel_of_a_small_image_is_seen() -> None:
    extractor = SmallCNN(spaces.Box(0, 255, (3, 7, 7), np.uint8))
    image = torch.rand(1, 3, 7, 7, requires_grad=True)
    extractor(image).square().sum().backward()
    assert image.grad is not None
    assert (image.grad != 0).all()


@pytest.mark.parametrize(("side", "kind"), [(35, SmallCNN), (36, NatureCNN)])
def test_nature_cnn_is_chosen_wherever_it_fits(side: int, kind: type) -> None:
    space = spaces.Box(0, 255, (3, side, side), np.uint8)
    assert default_extractor(space, normalize_images=True) is kind
    NatureCNN(spaces.Box(0, 255, (3, 36, 36), np.uint8))
    with pytest.raises(RuntimeError, match="Kernel size"):
        NatureCNN(spaces.Box(0, 255, (3, 35, 36), np.uint8))


@pytest.mark.parametrize(
    ("space", "extractor"),
    [
        (GRID, NatureCNN),
        (spaces.Dict(image=GRID), CombinedExtractor),
        (spaces.Dict({"a.b": VECTOR}), CombinedExtractor),
    ],
)
def test_an_extractor_of_sb3_that_does_not_fit_is_named(space: spaces.Space[Any], extractor: type) -> None:
    kwargs = {"features_extractor_class": extractor}
    with pytest.raises(ValueError, match=f"no {extractor.__name__} with .*leave out both for one that fits"):
        RecurrentA2C("PlasticPolicy", Draws(space, TWO), policy_kwargs=kwargs)


def test_images_that_are_normalised_already_have_their_channels_first() -> None:
    first, last = spaces.Box(0, 1, (3, 7, 7)), spaces.Box(0, 1, (7, 7, 3))
    assert default_extractor(first, normalize_images=False) is SmallCNN
    for space in (last, spaces.Dict(image=last)):
        with pytest.raises(ValueError, match=r"channels first, not shape.*TransformObservation"):
            PlasticPolicy(space, TWO, lambda _: 1e-3, normalize_images=False)
    policy = PlasticPolicy(spaces.Dict(image=first), TWO, lambda _: 1e-3, normalize_images=False)
    assert isinstance(policy.features_extractor, DictExtractor)
    assert policy.predict({"image": first.sample()})[0].shape == ()


@pytest.mark.parametrize("dict_space", [False, True])
def test_a_small_image_chosen_by_name_is_saved_and_loaded(dict_space: bool, tmp_path: Path) -> None:
    space = spaces.Dict(image=GRID) if dict_space else GRID
    kwargs = {
        "hidden_size": 3,
        "features_extractor_class": DictExtractor if dict_space else SmallCNN,
        "features_extractor_kwargs": {"cnn_output_dim" if dict_space else "features_dim": 9},
    }
    env = DummyVecEnv([lambda: Draws(space, TWO)])
    model = RecurrentA2C("PlasticPolicy", env, n_steps=4, device="cpu", policy_kwargs=kwargs).learn(8)
    model.save(tmp_path / "model")
    loaded = RecurrentA2C.load(tmp_path / "model", device="cpu")
    assert repr(loaded.policy) == repr(model.policy)
    seen = space.sample()
    assert np.array_equal(
        loaded.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0]
    )


class WhereIsTheLight(gym.Env[Any, Any]):
    """One of four corners of a small picture is lit; the action that names it is paid."""

    observation_space = spaces.Box(0, 255, (5, 5, 1), np.uint8)
    action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._draw(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = float(action == self.corner)
        self.steps += 1
        return self._draw(), reward, self.steps == 10, False, {}

    def _draw(self) -> Any:
        self.corner = int(self.np_random.integers(4))
        picture = np.zeros((5, 5, 1), dtype=np.uint8)
        picture[4 * (self.corner // 2), 4 * (self.corner % 2)] = 255
        return picture


def test_it_learns_from_small_pictures() -> None:
    """By chance one of 4 actions is right."""
    env = make_vec_env(WhereIsTheLight, n_envs=16, seed=0)
    kwargs = {"hidden_size": 16, "features_extractor_kwargs": {"features_dim": 16}}
    model = RecurrentA2C(
        "PlasticPolicy",
        env,
        n_steps=5,
        gamma=0.0,
        learning_rate=0.003,
        seed=0,
        device="cpu",
        policy_kwargs=kwargs,
    )
    model.learn(150 * 5 * 16)
    mean, _ = evaluate_policy(model, make_vec_env(WhereIsTheLight, seed=1), n_eval_episodes=20)
    assert mean > 9


@pytest.mark.parametrize("space", [*OBSERVATIONS.values(), *ODD_OBSERVATIONS.values()], ids=str)
def test_one_observation_and_several_are_told_apart(space: spaces.Space[Any]) -> None:
    env = make_vec_env(lambda: Draws(space, TWO), n_envs=3, seed=0)
    model = RecurrentA2C("PlasticPolicy", env, n_steps=4, device="cpu", policy_kwargs={"hidden_size": 3})
    assert not model.policy.is_vectorized_observation(space.sample())
    assert model.policy.is_vectorized_observation(env.reset())
    assert model.predict(space.sample())[0].shape == ()
    assert model.predict(env.reset())[0].shape == (3,)

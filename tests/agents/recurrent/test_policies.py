"""Acting with a state: what ``predict`` promises, and saving a policy alone."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN

from plasticrl.agents import CORE_NAMES, CoreName, PlasticPolicy, RecurrentA2C, TensorFileError
from plasticrl.agents.checkpoint.tensor_file import read_tensors, write_tensors

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
        # the mean as action: sensitive to the state
        spaces.Box(-100, 100, (2,)) if action_space is None else action_space,
        lambda _: 1e-3,
        core=core,
        **{"hidden_size": 7, **(strong if plastic else {}), **options},
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


# --- actions and distributions of whole sequences ----------------------------------------------------------

OWN_ACTIONS: list[spaces.Space[Any]] = [
    spaces.Discrete(3),
    spaces.Discrete(3, start=-1),
    spaces.MultiDiscrete([2, 3], start=[1, 5]),
    spaces.MultiDiscrete([[2, 3], [4, 2]]),
    spaces.MultiBinary((2, 2)),
    spaces.Box(-100, 100, (2, 3)),
]


@pytest.mark.parametrize("actions", OWN_ACTIONS, ids=str)
@pytest.mark.parametrize("core", ["plastic", "lstm", "feedforward"])
def test_whole_sequences_are_judged_as_step_by_step(core: CoreName, actions: spaces.Space[Any]) -> None:
    """What ``evaluate_actions`` and ``get_distribution`` say of a sequence is what each step says."""
    policy, obs, first = make(core, actions), torch.from_numpy(observations()), torch.from_numpy(starts())
    state = policy.initial_state(B)
    log_probs, values, entropies, taken = [], [], [], []
    for x, f in zip(obs, first, strict=True):
        acted, _ = policy.predict(x.numpy(), tuple(s.numpy() for s in state), f.numpy())
        taken.append(torch.from_numpy(np.asarray(acted)))
        of_one = policy.evaluate_actions(x, taken[-1], state, f)
        outputs = policy.step_(x, state, f)
        distribution = policy.distribution(outputs)
        torch.testing.assert_close(of_one[0], policy.values(outputs))
        torch.testing.assert_close(of_one[2], distribution.entropy())
        for kept, one in zip((values, log_probs, entropies), of_one, strict=True):
            kept.append(one)
    start = policy.initial_state(B)
    whole = policy.evaluate_actions(obs.flatten(0, 1), torch.cat(taken), start, first)
    for found, parts in zip(whole, (values, log_probs, entropies), strict=True):
        assert found.shape == (T * B,)
        torch.testing.assert_close(found, torch.cat(parts), rtol=1e-4, atol=1e-5)
    assert all((part == 0).all() for part in start)

    distribution, after = policy.get_distribution(obs.flatten(0, 1), None, first)
    torch.testing.assert_close(distribution.entropy(), whole[2])
    for ours, stepped in zip(after, state, strict=True):
        torch.testing.assert_close(ours, stepped, rtol=1e-4, atol=1e-5)


@EVERY_CORE
def test_judged_actions_have_gradients_and_forward_agrees(core: CoreName) -> None:
    policy, obs = make(core, spaces.Discrete(3, start=4)), torch.from_numpy(observations()).flatten(0, 1)
    first = torch.from_numpy(starts())
    actions = torch.randint(4, 7, (T * B,))
    values, log_prob, entropy = policy.evaluate_actions(obs, actions, None, first.float())
    (values.sum() + log_prob.sum() + entropy.sum()).backward()
    assert all(p.grad is not None for p in policy.parameters())
    distribution, forward_values, _ = policy(obs, policy.initial_state(B), first)
    assert torch.equal(values, forward_values)
    assert torch.equal(log_prob, distribution.log_prob(actions - 4))
    assert torch.equal(policy.predict_values(obs, None, first), values)


def test_the_probability_of_an_action_is_how_often_it_is_drawn() -> None:
    policy = make("plastic", spaces.MultiDiscrete([2, 2], start=[3, -1]))
    obs = np.repeat(observations()[:1, :1], 2000, axis=1)[0]
    drawn, _ = policy.predict(obs)
    one = torch.from_numpy(obs[:4])
    every = torch.tensor([[3, -1], [3, 0], [4, -1], [4, 0]])
    with torch.no_grad():
        log_prob = policy.evaluate_actions(one, every, None, torch.ones(4, dtype=torch.bool))[1]
    shares = [(drawn == np.array(action)).all(axis=1).mean() for action in every.tolist()]
    np.testing.assert_allclose(shares, log_prob.exp().numpy(), atol=0.05)  # 4.5 sigma
    assert log_prob.exp().sum() == pytest.approx(1, abs=1e-5)


# --- what predict is given ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        (np.zeros(3, dtype=np.float32), {}),
        (np.zeros(3, dtype=np.float32), 0.0, False, False, {}),
        (np.zeros((2, 3), dtype=np.float32), np.zeros(2), np.zeros(2, dtype=bool), [{}, {}]),
    ],
    ids=["reset", "step", "step of a VecEnv"],
)
def test_a_tuple_of_an_env_is_named(given: Any) -> None:
    with pytest.raises(ValueError, match=r"got a tuple.*obs, info = env.reset\(\)"):
        make("plastic").predict(given)


@pytest.mark.parametrize(
    ("space", "observation", "text"),
    [
        (
            SPACE,
            np.zeros(5),
            r"shape \(5,\) of the observation.*give shape \(3,\), or for n environments \(n, 3\)",
        ),
        (SPACE, np.zeros((2, 2, 3)), "Unexpected observation shape"),
        (SPACE, "north", "array of numbers, not of <U5"),
        (SPACE, None, "array of numbers, not of object"),
        (SPACE, [np.zeros(2), np.zeros(3)], "not a ragged sequence"),
        (SPACE, {"a": np.zeros(3)}, "is a dict, but the space is Box"),
        (SPACE, np.zeros(3, dtype=complex), "not of complex128"),
        (spaces.Discrete(3, start=1), 0, r"holds a number that is not in Discrete\(3, start=1\)"),
        (spaces.Discrete(3), np.array([0, 3]), "holds a number that is not in"),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 3]), "holds a number that is not in"),
        (spaces.Dict(a=SPACE), np.zeros(3), "must be a dict with 'a', not"),
        (spaces.Dict(a=SPACE, b=SPACE), {"a": np.zeros(3)}, "exactly 'a', 'b'; 'b' is missing or unknown"),
        (spaces.Dict(a=SPACE), {"a": np.zeros(3), "c": 1}, "exactly 'a'; 'c' is missing or unknown"),
        (spaces.Dict(a=SPACE), {"a": np.zeros(4)}, r"of the observation\['a'\]: the space is Box"),
        (
            spaces.Dict(a=SPACE, b=SPACE),
            {"a": np.zeros((2, 3)), "b": np.zeros((4, 3))},
            "the same number of environments, not {'a': 2, 'b': 4}",
        ),
        (
            spaces.Dict(a=SPACE, b=SPACE),
            {"a": np.zeros((1, 3)), "b": np.zeros(3)},
            "the same number of environments, not {'a': 1, 'b': None}",
        ),
    ],
)
def test_what_is_no_observation_is_named(space: spaces.Space[Any], observation: Any, text: str) -> None:
    policy = make("plastic", observation_space=space)
    for ask in (policy.predict, policy.obs_to_tensor, policy.is_vectorized_observation):
        with pytest.raises(ValueError, match=text):
            ask(observation)


@pytest.mark.filterwarnings("error")
def test_an_observation_may_be_a_list_a_view_or_a_tensor() -> None:
    policy, obs = make("plastic"), observations()[0]
    expected, _ = policy.predict(obs, deterministic=True)
    read_only = obs.copy()
    read_only.setflags(write=False)
    flipped = obs[::-1].copy()[::-1]
    for same in (obs.tolist(), read_only, flipped, obs.astype(np.float64), torch.from_numpy(obs)):
        assert np.array_equal(policy.predict(same, deterministic=True)[0], expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [[True], [True] * (B + 1), [[True] * B], "yes", [None] * B], ids=str)
def test_starts_of_another_number_of_envs_are_named(wrong: Any) -> None:
    with pytest.raises(ValueError, match="episode_start must be one bool for each of 4 environments"):
        make("plastic").predict(observations()[0], None, wrong)


def test_starts_may_be_numbers_or_one_for_all() -> None:
    policy, obs = make("lstm"), observations()
    _, state = policy.predict(obs[0])
    fresh, _ = policy.predict(obs[0], deterministic=True)
    for every in (np.ones(B), np.ones(B, dtype=np.float32), [1] * B, True, np.True_):
        again, _ = policy.predict(obs[0], state, every, deterministic=True)  # type: ignore[arg-type]
        assert np.array_equal(again, fresh)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (3.0, "not float; pass state=None at the start"),
        (np.zeros((B, 7)), "not ndarray"),
        ({"hidden": 1}, "not dict"),
        (("a", "b"), "and hold numbers"),
        ((None, None), "and hold numbers"),
        (
            (np.zeros((B, 7)),),
            r"state must have shapes \[\(4, 7\), \(4, 7\)\] for 4 environments, not \[\(4, 7\)\]",
        ),
        ((np.zeros((1, B, 7)),) * 2, "not .*pass state=None when the number of environments changes"),
    ],
)
def test_what_is_no_state_is_named(wrong: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make("lstm").predict(observations()[0], wrong)


@EVERY_CORE
def test_a_state_of_tensors_is_as_good(core: CoreName) -> None:
    policy, obs = make(core), observations()
    _, state = policy.predict(obs[0])
    assert state is not None
    expected, _ = policy.predict(obs[1], state, deterministic=True)
    tensors: Any = tuple(torch.from_numpy(s) for s in state)
    before = [t.clone() for t in tensors]
    assert np.array_equal(policy.predict(obs[1], tensors, deterministic=True)[0], expected)
    assert all(torch.equal(t, b) for t, b in zip(tensors, before, strict=True))


# --- files -------------------------------------------------------------------------------------------------


class Mine(FlattenExtractor):
    """What no file can hold."""


def test_the_file_of_a_policy_holds_how_it_was_made(tmp_path: Path) -> None:
    options = {
        "features_extractor_class": CombinedExtractor,
        "features_extractor_kwargs": {"cnn_output_dim": 9},
        "optimizer_class": torch.optim.SGD,
        "optimizer_kwargs": {"momentum": 0.5},
        "rule": "oja",
        "backend": "adjoint",
        "ortho_init": False,
        "normalize_images": False,
    }
    space = spaces.Dict(b=SPACE, a=spaces.Discrete(3, start=4))
    policy = make("plastic", spaces.MultiDiscrete([2, 3], start=[1, 2]), observation_space=space, **options)
    file = BytesIO()
    policy.save(file)
    file.seek(0)
    loaded = PlasticPolicy.load(file, device="cpu")
    assert repr(loaded) == repr(policy)
    assert loaded.core.backend == "adjoint"
    kept, before = (one._get_constructor_parameters() for one in (loaded, policy))
    assert {k: v for k, v in kept.items() if k != "lr_schedule"} == {
        k: v for k, v in before.items() if k != "lr_schedule"
    }
    assert type(loaded.optimizer) is torch.optim.SGD


def test_what_no_file_holds_must_be_given_again(tmp_path: Path) -> None:
    policy = make("plastic", features_extractor_class=Mine)
    policy.save(tmp_path / "policy")
    with pytest.raises(ValueError, match=r"features_extractor_class was .*Mine.*load\(\.\.\., features_ex"):
        PlasticPolicy.load(tmp_path / "policy")
    loaded = PlasticPolicy.load(tmp_path / "policy", "cpu", features_extractor_class=Mine)
    assert type(loaded.features_extractor) is Mine


def test_a_pickled_policy_is_refused(tmp_path: Path) -> None:
    """As SB3's policies are saved."""
    torch.save({"data": {}, "state_dict": {}}, tmp_path / "policy.pth")
    with pytest.raises(TensorFileError, match="never unpickled"):
        PlasticPolicy.load(tmp_path / "policy.pth")


def test_the_file_of_an_agent_is_not_that_of_a_policy(tmp_path: Path) -> None:
    agent = RecurrentA2C("PlasticPolicy", "CartPole-v1", policy_kwargs={"hidden_size": 3})
    agent.save(tmp_path / "agent")
    agent.policy.save(tmp_path / "policy")
    with pytest.raises(TensorFileError, match=r"this plasticrl reads 'plasticrl.PlasticPolicy'"):
        PlasticPolicy.load(tmp_path / "agent")
    with pytest.raises(TensorFileError, match=r"this plasticrl reads 'plasticrl.RecurrentA2C'"):
        RecurrentA2C.load(tmp_path / "policy")


HOSTILE: dict[str, Any] = {
    "hidden_size": 10**9,
    "core": "os.system",
    "rule": {"$rule": "os.system"},
    "features_extractor_class": {"$class": "Popen"},
    "features_extractor_kwargs": {"features_dim": 0},
    "optimizer_class": {"$class": "Tanh"},
    "optimizer_kwargs": {"eps": "x"},
    "normalize_images": {"$tensor": "nowhere"},
    "no_such_argument": 1,
    "log_std_init": "x",
    "observation_space": 3,
    "lr_schedule": 3,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_with_other_arguments_is_refused_by_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    make("plastic").save(path)
    tensors, data = read_tensors(path)
    data["arguments"][name] = HOSTILE[name]
    write_tensors(path, tensors, data)
    if name in ("observation_space", "lr_schedule"):  # of the file's own spaces, and of none
        PlasticPolicy.load(path)
        return
    with pytest.raises(TensorFileError):
        PlasticPolicy.load(path)


@pytest.mark.parametrize("part", ["policy", "spaces", "arguments"])
@pytest.mark.parametrize("other", [None, 3, [], {}, [1, 2], {"a": 1}, "x"], ids=str)
def test_a_file_with_another_part_is_refused_by_name(part: str, other: Any, tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    make("plastic").save(path)
    tensors, data = read_tensors(path)
    data[part] = other
    write_tensors(path, tensors, data)
    with pytest.raises(TensorFileError):
        PlasticPolicy.load(path)
    del data[part]
    write_tensors(path, tensors, data)
    with pytest.raises(TensorFileError, match="incomplete or invalid"):
        PlasticPolicy.load(path)

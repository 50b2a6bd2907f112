"""``save`` refuses by name what ``load`` would, before anything is written; all else comes back."""

import math
import os
import tempfile
from collections.abc import Callable
from functools import partial
from io import BytesIO
from operator import attrgetter
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import ConstantSchedule, LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.optim.optimizer import register_optimizer_step_post_hook

from plasticrl.agents import EpisodeLearner, PlasticPolicy, RecurrentA2C, TensorFileError, make_network
from plasticrl.agents.checkpoint.network import frozen, parameters_of
from plasticrl.agents.checkpoint.tensor_file import read_tensors, write_tensors
from plasticrl.agents.ppo.contrib import PlainRecurrentPPO
from plasticrl.envs import make_vec_env
from plasticrl.envs.supervised.patterns import PatternsTask
from plasticrl.nn import PlasticRNN
from plasticrl.rules import ClippedHebb, Hebb, Oja, Rule

TASK = PatternsTask(n_bits=10, n_patterns=2, n_cycles=1, steps_on=3, steps_off=1, test_steps=3)


def mazes() -> VecEnv:
    return make_vec_env("PlasticMaze-v0", 2, seed=5, size=5, episode_length=10)


def agent(env: VecEnv | None = None, **options: Any) -> RecurrentA2C:
    kwargs = {"hidden_size": 6}
    return RecurrentA2C(
        "PlasticPolicy",
        env or mazes(),
        **{"n_steps": 5, "policy_kwargs": kwargs, "seed": 2, "device": "cpu", **options},
    )


def ppo(**options: Any) -> PlainRecurrentPPO:
    return PlainRecurrentPPO("MlpLstmPolicy", mazes(), **{**PPO, **options}, device="cpu")


PPO: dict[str, Any] = {
    "n_steps": 5,
    "batch_size": 10,
    "n_epochs": 1,
    "policy_kwargs": {"lstm_hidden_size": 5},
}


def learner(network: Any = "plastic", **options: Any) -> EpisodeLearner:
    return EpisodeLearner(network, TASK, **{"seed": 0, "device": "cpu", **options})


def load_agent(file: Any, env: VecEnv | None = None, **options: Any) -> RecurrentA2C:
    return RecurrentA2C.load(file, env, "cpu", **options)


def load_ppo(file: Any, **options: Any) -> PlainRecurrentPPO:
    return PlainRecurrentPPO.load(file, mazes(), "cpu", **{**PPO, **options})


def load_learner(file: Any, **options: Any) -> EpisodeLearner:
    return EpisodeLearner.load(file, TASK, device="cpu", **options)


LEARNERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "agent": (agent, load_agent),
    "ppo": (ppo, load_ppo),
    "learner": (learner, load_learner),
}
each_learner = pytest.mark.parametrize(("make", "load"), LEARNERS.values(), ids=LEARNERS)


def network(model: Any) -> nn.Module:
    return model.network if isinstance(model, EpisodeLearner) else model.policy  # type: ignore[no-any-return]


def saved(model: Any, **options: Any) -> BytesIO:
    file = BytesIO()
    model.save(file, **options)
    return file


def rewritten(file: BytesIO, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], object]) -> BytesIO:
    """A file as an older version would have written it."""
    tensors, data = read_tensors(file)
    change(tensors, data)
    other = BytesIO()
    write_tensors(other, tensors, data)
    return other


# ------------------------------------------------------------------------------- learn(1e6)


@pytest.mark.parametrize(
    ("steps", "total"), [(20, 20), (20.0, 20), (20.5, 21), (np.float32(20), 20), (np.int64(20), 20), (0, 0)]
)
def test_learn_takes_any_number_of_steps(steps: Any, total: int) -> None:
    model = agent().learn(steps)
    assert model.num_timesteps == 10 * math.ceil(steps / 10)
    assert type(model._total_timesteps) is int
    assert model._total_timesteps == total
    again = load_agent(saved(model), env=mazes())
    assert again._total_timesteps == total
    again.learn(steps, reset_num_timesteps=False)


def test_learn_without_end_can_be_saved() -> None:
    model = agent().learn(math.inf, callback=lambda locals_, _: locals_["self"].num_timesteps < 20)
    assert model._current_progress_remaining == 1
    load_agent(saved(model), env=mazes()).learn(10, reset_num_timesteps=False)


@pytest.mark.parametrize("steps", [math.nan, "many", None, -5])
@pytest.mark.parametrize("make", [agent, ppo])
def test_what_is_no_number_of_steps_is_named(steps: Any, make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=r"total_timesteps must be a number of at least 0, not"):
        make().learn(steps)


@pytest.mark.parametrize("interval", [0, -1, 1.5, "1"])
def test_an_interval_of_logs_is_named_before_anything_is_played(interval: Any) -> None:
    model = agent()
    with pytest.raises(ValueError, match="log_interval must be a whole number of at least 1"):
        model.learn(20, log_interval=interval)
    assert model.num_timesteps == 0


def test_episodes_may_be_given_as_whole_floats() -> None:
    assert learner().learn(2e0).num_episodes == 2


# ------------------------------------------------------------------------------ older files


@pytest.mark.parametrize(
    "change",
    [
        lambda t, d: d["counters"].update(_total_timesteps=20.0, _num_timesteps_at_start=0.0),
        lambda t, d: d["counters"].update(_total_timesteps=19.5),
        lambda t, d: d["counters"].update(_total_timesteps={"$float": "inf"}),
        lambda t, d: d["settings"].update(verbose=True, seed=True),
        lambda t, d: d["settings"].update(normalize_advantage=0),
        lambda t, d: d.pop("frozen"),
    ],
)
def test_files_that_the_first_versions_wrote_are_loaded(change: Any) -> None:
    model = agent().learn(20)
    again = load_agent(rewritten(saved(model), change), env=mazes())
    assert again._total_timesteps in (20, 2**63 - 1)
    assert again.verbose == (1 if again.seed == 1 else 0)
    again.learn(10, reset_num_timesteps=False)


def compiled_names(tensors: dict[str, torch.Tensor], data: dict[str, Any]) -> None:
    """As ``agent.policy = torch.compile(agent.policy)`` had them."""

    def named(name: str) -> str:
        return f"_orig_mod.{name}"

    data["policy"] = {named(name): value for name, value in data["policy"].items()}
    data["optimizer"]["state"] = {named(n): value for n, value in data["optimizer"]["state"].items()}
    for group in data["optimizer"]["groups"]:
        group["params"] = [named(name) for name in group["params"]]


def test_files_with_names_of_compiled_modules_are_loaded() -> None:
    model = agent().learn(20)
    file = saved(model)
    again = load_agent(rewritten(file, compiled_names), env=mazes())
    assert saved(again).getvalue() == file.getvalue()

    trained = learner().learn(2)
    file = saved(trained)
    tensors, data = read_tensors(file)
    prefixed = {
        name.replace("/core", "/core._orig_mod")
        if name.startswith(("network", "optimizer"))
        else name: tensor
        for name, tensor in tensors.items()
    }
    assert prefixed != tensors
    other = BytesIO()
    write_tensors(other, prefixed, data)
    assert saved(load_learner(other)).getvalue() == file.getvalue()


def test_what_is_given_to_load_is_not_looked_at_in_the_file() -> None:
    file = rewritten(saved(agent()), lambda t, d: d["settings"].update(verbose="loud", gamma="a"))
    with pytest.raises(TensorFileError, match="verbose"):
        load_agent(file)
    again = load_agent(file, verbose=0, custom_objects={"gamma": 0.5})
    assert (again.verbose, again.gamma) == (0, 0.5)
    other = rewritten(saved(learner()), lambda t, d: d["settings"].update(verbose="loud", learning_rate=[1]))
    with pytest.raises(TensorFileError, match=r"verbose|settings"):
        load_learner(other)
    assert load_learner(other, verbose=1, learning_rate=0.5).learning_rate == 0.5


# ----------------------------------------------------------------------- settings, numbers


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("gamma", np.float64(0.5), 0.5),
        ("ent_coef", np.float32(0.25), 0.25),
        ("max_grad_norm", np.int64(3), 3.0),
        ("learning_rate", np.float32(0.5), 0.5),
        ("n_steps", np.int32(7), 7),
        ("verbose", False, 0),
        ("seed", True, 1),
        ("seed", np.uint8(9), 9),
        ("seed", 3.0, 3),
        ("normalize_advantage", np.bool_(True), True),
        ("normalize_advantage", 0, False),
        ("stats_window_size", np.int64(5), 5),
    ],
)
def test_numbers_are_kept_as_pythons_own(name: str, given: Any, kept: Any) -> None:
    model = agent(**{name: given})
    held = getattr(model, "_stats_window_size" if name == "stats_window_size" else name)
    assert type(held) is type(kept)
    assert held == kept
    load_agent(saved(model))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("seed", v) for v in (-1, 1.5, 2**32)),
        *(("stats_window_size", v) for v in (-1, 2.5)),
        ("verbose", "all"),
        ("normalize_advantage", "yes"),
    ],
)
def test_what_no_file_would_give_back_is_refused_by_the_constructor(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .*{value!r}"):
        agent(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("ent_coef", np.float32(0.25), 0.25),
        ("ent_coef", torch.tensor(0.5), 0.5),
        ("vf_coef", np.array(0.5), 0.5),
        ("verbose", True, 1),
        ("normalize_advantage", np.bool_(True), True),
        ("seed", 4.0, 4),
    ],
)
def test_what_a_callback_changed_is_saved_as_pythons_own(name: str, value: Any, kept: Any) -> None:
    model = agent()
    setattr(model, name, value)
    assert getattr(load_agent(saved(model)), name) == kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("ent_coef", v) for v in (-0.1, math.nan, "0.1", torch.ones(2), lambda left: 0.1)),
        *(("gamma", v) for v in (1.5, None)),
        *(("n_steps", v) for v in (0, 2.5)),
        *(("seed", v) for v in (-1, 0.5)),
        *(("num_timesteps", v) for v in (-1, 0.5, "many")),
        ("_n_updates", None),
        ("learning_rate", -1.0),
    ],
)
def test_what_load_would_refuse_is_refused_by_save_and_the_old_file_stays(
    name: str, value: Any, tmp_path: Path
) -> None:
    model = agent()
    model.save(tmp_path / "file")
    before = (tmp_path / "file.safetensors").read_bytes()
    setattr(model, name, value)
    with pytest.raises(ValueError, match=name):
        model.save(tmp_path / "file")
    held = BytesIO(b"old")
    with pytest.raises(ValueError, match=name):
        model.save(held)
    assert held.getvalue() == b"old"
    assert (tmp_path / "file.safetensors").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_grad_norm", -1),
        ("batch_size", 0),
        ("seed", "a"),
        ("num_timesteps", 1.5),
        ("stats_window_size", None),
    ],
)
def test_the_learner_of_episodes_refuses_too(name: str, value: Any) -> None:
    model = learner()
    setattr(model, name, value)
    with pytest.raises(ValueError, match=name):
        saved(model)


def test_the_learner_of_episodes_keeps_pythons_own_numbers() -> None:
    model = learner(
        batch_size=np.int64(2),
        max_grad_norm=np.float32(5),
        stats_window_size=np.int64(6),
        learning_rate=np.float32(0.0625),
        network_kwargs={"extra_neurons": np.int64(1), "eta": np.float32(0.25)},
        optimizer_kwargs={"betas": (np.float32(0.5), 0.75)},
    ).learn(4)
    model.max_grad_norm, model.num_timesteps = np.float64(5), np.int64(4)  # type: ignore[assignment]
    again = load_learner(saved(model))
    assert (again.batch_size, again.max_grad_norm, again.stats_window_size) == (2, 5, 6)
    assert again.network_kwargs == model.network_kwargs == {"extra_neurons": 1, "eta": 0.25}
    assert again.optimizer_kwargs == model.optimizer_kwargs == {"betas": [0.5, 0.75]}
    assert saved(again).getvalue() == saved(model).getvalue()


def test_a_generator_of_another_kind_is_refused() -> None:
    model = learner()
    model.rng = np.random.Generator(np.random.MT19937(0))
    with pytest.raises(ValueError, match="rng must be a generator"):
        saved(model)


def test_options_are_the_agents_own() -> None:
    """What happens to the dict that was given later is not its business."""
    kwargs: dict[str, Any] = {"hidden_size": 6, "optimizer_kwargs": {"eps": 1e-3}}
    model = agent(policy_kwargs=kwargs)
    kwargs["hidden_size"] = 7
    kwargs["optimizer_kwargs"]["eps"] = 1.0
    again = load_agent(saved(model))
    assert again.policy_kwargs == {"hidden_size": 6, "optimizer_kwargs": {"eps": 1e-3}}


# ------------------------------------------------------------------ networks that were changed


class Wrapped(nn.Module):
    """What ``torch.compile`` makes of a module, as far as its parameters' names go."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._orig_mod(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_orig_mod"), name)


def test_a_compiled_part_is_saved_by_its_plain_names() -> None:
    plain, model = agent().learn(20), agent()
    model.policy.core = Wrapped(model.policy.core)  # type: ignore[assignment]
    model.learn(20)
    assert any("_orig_mod" in name for name in model.policy.state_dict())
    again = load_agent(saved(model))
    for name, tensor in plain.policy.state_dict().items():
        torch.testing.assert_close(again.policy.state_dict()[name], tensor)
    assert set(model.get_parameters()["policy"]) == set(plain.get_parameters()["policy"])
    model.set_parameters(saved(plain))
    model.set_parameters(plain.get_parameters())


@pytest.mark.parametrize("where", ["after", "before"])
def test_a_compiled_network_of_episodes_is_saved_by_its_plain_names(where: str) -> None:
    if where == "before":
        model = learner(Wrapped(make_network(TASK, "plastic")))
    else:
        model = learner()
        model.network = Wrapped(model.network)  # type: ignore[assignment]
    file = saved(model.learn(2))
    options = {} if where == "after" else {"network": make_network(TASK, "plastic")}
    again = load_learner(file, **options)
    assert not any("_orig_mod" in name for name in again.network.state_dict())
    assert saved(again).getvalue() == file.getvalue()
    if where == "before":
        load_learner(file, network=Wrapped(make_network(TASK, "plastic"))).learn(2)


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "spectral norm": parametrizations.spectral_norm,
    "weight norm": parametrizations.weight_norm,
    "pruned": lambda module: prune.l1_unstructured(module, "weight", 0.5),
    "another parameter": lambda module: module.register_parameter("more", nn.Parameter(torch.ones(2))),
    "another buffer": lambda module: module.register_buffer("more", torch.ones(2)),
    "another dtype": lambda module: module.double(),
    "replaced": lambda module: setattr(module, "weight", nn.Parameter(torch.ones(3, 3))),
}


@pytest.mark.filterwarnings("ignore:the optimizer holds parameters")  # that are no longer there
@each_learner
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_network_that_its_settings_do_not_make_is_refused_while_it_exists(
    change: Callable[[nn.Module], object], make: Callable[..., Any], load: Callable[..., Any], tmp_path: Path
) -> None:
    model = make() if make is not learner else learner("lstm", network_kwargs={"hidden_size": 4})
    target = next(m for m in network(model).modules() if isinstance(m, nn.Linear))
    change(target)
    with pytest.raises(ValueError, match=r"^(policy|network)/.*\bin a network built from the settings"):
        model.save(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_head_that_was_replaced_is_saved_without_what_the_optimizer_still_holds_of_the_old_one() -> None:
    model = agent().learn(20)
    model.policy.value_net = nn.Linear(6, 1)
    with pytest.warns(UserWarning, match=r"the optimizer holds parameters of shapes \[\(1, 6\), \(1,\)\]"):
        file = saved(model)
    again = load_agent(file, env=mazes())
    assert saved(again).getvalue() == file.getvalue()
    again.learn(10)
    assert torch.equal(again.policy.value_net.weight, model.policy.value_net.weight)


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), torch.tensor(0.5)])
def test_schedules_of_other_numbers_are_kept(number: Any) -> None:
    for schedule in (ConstantSchedule(number), LinearSchedule(number, number, number)):
        for model, load in (
            (agent(learning_rate=schedule), load_agent),
            (learner(learning_rate=schedule), load_learner),
        ):
            assert load(saved(model)).lr_schedule(0.7) == 0.5


# --------------------------------------------------------------- what lives beside the state dict


@each_learner
def test_what_was_frozen_stays_frozen(make: Callable[..., Any], load: Callable[..., Any]) -> None:
    model = make()
    first = next(iter(network(model).parameters()))
    first.requires_grad_(False)
    before = first.clone()
    again = load(saved(model))
    assert frozen(network(again)) == frozen(network(model)) != []
    if make is agent:
        again.set_env(mazes())
    again.learn(20)
    assert torch.equal(next(iter(network(again).parameters())), before)
    assert not frozen(network(load(saved(make()))))


@each_learner
def test_what_the_optimizer_holds_comes_back(make: Callable[..., Any], load: Callable[..., Any]) -> None:
    """Groups with options of their own; not all of the parameters."""
    model = make()
    parameters = list(network(model).parameters())
    groups = [{"params": parameters[1:2], "weight_decay": 0.5}, {"params": parameters[2:]}]
    optimizer = torch.optim.Adam(groups, lr=0.01)
    if make is learner:
        model.optimizer = optimizer
    else:
        model.policy.optimizer = optimizer
    model.learn(20)
    file = saved(model)
    again = load(file)
    other = again.optimizer if make is learner else again.policy.optimizer
    assert [len(g["params"]) for g in other.param_groups] == [1, len(parameters) - 2]
    assert [g["weight_decay"] for g in other.param_groups] == [0.5, 0]
    assert saved(again).getvalue() == file.getvalue()


def test_options_given_to_load_come_before_those_of_the_file() -> None:
    model = agent(policy_kwargs={"hidden_size": 6, "optimizer_kwargs": {"weight_decay": 0.5}})
    again = load_agent(
        saved(model),
        custom_objects={"policy_kwargs": {"hidden_size": 6, "optimizer_kwargs": {"weight_decay": 0.25}}},
    )
    assert again.policy.optimizer.param_groups[0]["weight_decay"] == 0.25
    trained = learner()
    trained.optimizer.param_groups[0]["weight_decay"] = 0.5
    file = saved(trained)
    assert load_learner(file).optimizer.param_groups[0]["weight_decay"] == 0.5
    given = load_learner(file, optimizer_kwargs={"weight_decay": 0.25})
    assert given.optimizer.param_groups[0]["weight_decay"] == 0.25


@pytest.mark.parametrize("amsgrad", [False, True])
def test_an_optimizer_that_replaced_the_agents_comes_back(amsgrad: bool) -> None:
    model = agent()
    parameters = model.policy.parameters()
    model.policy.optimizer = (
        torch.optim.AdamW(parameters, amsgrad=True)
        if amsgrad
        else torch.optim.SGD(parameters, 0.01, momentum=0.5)
    )
    file = saved(model.learn(20))
    again = load_agent(file)
    assert type(again.policy.optimizer) is type(model.policy.optimizer)
    assert saved(again).getvalue() == file.getvalue()


@pytest.mark.parametrize("make", [ppo, learner])
def test_where_the_settings_have_no_optimizer_another_is_refused(make: Callable[..., Any]) -> None:
    model = make()
    holder = model if make is learner else model.policy
    holder.optimizer = torch.optim.SGD(network(model).parameters(), 0.01)
    with pytest.raises(ValueError, match="the optimizer is SGD, but the settings make Adam"):
        saved(model)


class LooksAtValues(PlasticPolicy):
    """Its constructor cannot be run without memory, and draws random numbers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("drawn", torch.tensor(np.random.rand(2)))  # noqa: NPY002
        assert float(self.value_net.bias.detach().sum()) == 0


def test_a_policy_that_looks_at_values_is_saved_and_loaded_and_saving_draws_nothing() -> None:
    model = RecurrentA2C(LooksAtValues, mazes(), n_steps=5, policy_kwargs={"hidden_size": 4}, device="cpu")
    before = (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # type: ignore[index,union-attr]  # noqa: NPY002
    file = saved(model)
    assert before == (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # type: ignore[index,union-attr]  # noqa: NPY002
    again = load_agent(file, policy_class=LooksAtValues)
    assert torch.equal(again.policy.drawn, model.policy.drawn)  # type: ignore[arg-type]


def test_layers_that_share_a_tensor_are_saved() -> None:
    class Tied(PlasticPolicy):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.again = self.value_net

    model = RecurrentA2C(Tied, mazes(), n_steps=5, policy_kwargs={"hidden_size": 4}, device="cpu").learn(10)
    again = load_agent(saved(model), policy_class=Tied)
    assert again.policy.again.weight is again.policy.value_net.weight  # type: ignore[union-attr]


# ------------------------------------------------------------------ what environments say and are


class Tells(gym.Env[Any, Any]):
    """Says odd things at the end of its episodes, and cannot say where it is."""

    def __init__(self, space: spaces.Space[Any], info: dict[str, Any]) -> None:
        self.observation_space, self.action_space, self.info = space, spaces.Discrete(2), info

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), 1.0, True, False, dict(self.info)

    def state_dict(self) -> dict[str, Any]:
        raise RuntimeError("broken")

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def telling(space: spaces.Space[Any] | None = None, **info: Any) -> VecEnv:
    env = Tells(space or spaces.Discrete(3), info)
    return DummyVecEnv([lambda: Monitor(env, info_keywords=tuple(info))])


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        b"bytes",
        object(),
        np.array(["text"]),
        np.array([object()]),
        1j,
        pytest.param(10**5000, id="huge"),
        [{3}],
        len,
    ],
)
def test_what_no_file_holds_is_left_out_of_the_logs_with_a_warning(value: Any) -> None:
    model = agent(telling(odd=value, even=2)).learn(5)
    with pytest.warns(UserWarning, match="a file cannot hold 'odd' .* of ep_info_buffer: left out") as warned:
        file = saved(model)
    assert len(warned) == 1
    again = load_agent(file)
    assert again.ep_info_buffer is not None
    assert all(set(info) == {"r", "l", "t", "even"} for info in again.ep_info_buffer)


@pytest.mark.parametrize(
    "value",
    [
        {1: "a"},
        {"$float": "x"},
        {None: {(1, 2): 3.5}},
        np.arange(6)[::-2],
        np.arange(3, dtype=">i4"),
        math.nan,
    ],
)
def test_odd_keys_and_arrays_come_back(value: Any) -> None:
    model = agent(telling(odd=value)).learn(5)
    again = load_agent(saved(model))
    assert again.ep_info_buffer is not None
    np.testing.assert_equal(again.ep_info_buffer[0]["odd"], value)


class OwnBox(spaces.Box):
    pass


class OwnDict(spaces.Dict):
    pass


@pytest.mark.parametrize(
    "space",
    [
        OwnBox(0, 1, (2,)),
        OwnDict({"a": OwnBox(0, 1, (2,))}),
        spaces.Dict(
            {"$cost": spaces.Discrete(2), "a/b": spaces.Box(0, 1, (2,)), "a": spaces.Box(0, 1, (1,))}
        ),
        spaces.Dict({"\ud800": spaces.Discrete(2)}),
        *([spaces.Discrete(3, dtype=np.int32)] if hasattr(spaces.Discrete(2), "dtype") else []),  # type: ignore[call-overload]
    ],
)
def test_spaces_come_back_and_fit_their_env(space: spaces.Space[Any]) -> None:
    model = agent(telling(space)).learn(5)
    again = load_agent(saved(model), env=telling(space))
    assert again.observation_space == space
    with pytest.warns(UserWarning, match="new episodes"):
        again.learn(5, reset_num_timesteps=False)


# ---------------------------------------------------------------------------- set_parameters


@pytest.mark.parametrize(("make", "load"), [LEARNERS["agent"], LEARNERS["ppo"]], ids=["agent", "ppo"])
def test_parameters_are_taken_from_a_file_or_a_dict(
    make: Callable[..., Any], load: Callable[..., Any], tmp_path: Path
) -> None:
    teacher = make(seed=3).learn(20)
    teacher.save(tmp_path / "teacher")
    for given in (
        str(tmp_path / "teacher"),
        tmp_path / "teacher.zip",
        saved(teacher),
        teacher.get_parameters(),
    ):
        pupil = make(seed=4)
        pupil.set_parameters(given)
        for name, state in teacher.get_parameters().items():
            torch.testing.assert_close(pupil.get_parameters()[name], state)


@pytest.mark.parametrize("exact", [True, False])
def test_options_of_numpys_numbers_are_no_obstacle(exact: bool) -> None:
    options = {"betas": (np.float32(0.5), np.float64(0.75)), "weight_decay": np.float64(0.25)}
    agents = [agent(policy_kwargs={"hidden_size": 6, "optimizer_kwargs": options}, seed=s) for s in (1, 2)]
    agents[1].set_parameters(saved(agents[0].learn(10)), exact_match=exact)
    group = agents[1].policy.optimizer.param_groups[0]
    assert (group["betas"], group["weight_decay"]) == ((0.5, 0.75), 0.25)
    assert torch.equal(agents[0].policy.value_net.weight, agents[1].policy.value_net.weight)


@pytest.mark.parametrize("make", [agent, ppo])
def test_parameters_that_do_not_fit_change_nothing(make: Callable[..., Any], tmp_path: Path) -> None:
    model = make(seed=3)
    before = {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}
    given = model.get_parameters()
    some = {name: tensor + 1 for name, tensor in list(given["policy"].items())[1:]}
    wrong = {**some, next(iter(some)): torch.ones(7, 7)}
    (tmp_path / "pickle").write_bytes(b"\x80\x04.")
    other = saved(ppo() if make is agent else agent())
    for parameters, error in (
        ({**given, "policy": some}, RuntimeError),
        ({**given, "policy": wrong}, RuntimeError),
        ({"policy": some}, ValueError),
        ({**given, "critic": {}}, ValueError),
        (tmp_path / "pickle", TensorFileError),
        (tmp_path / "none", FileNotFoundError),
        (other, TensorFileError),
    ):
        with pytest.raises(error):
            model.set_parameters(parameters)
    with pytest.raises(ValueError, match="has no object 'critic'"):
        model.set_parameters({"critic": {}}, exact_match=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.policy.state_dict().items())
    model.set_parameters({"policy": {**some, "unknown": torch.ones(1)}}, exact_match=False)
    changed = [
        name for name, tensor in model.policy.state_dict().items() if not torch.equal(tensor, before[name])
    ]
    assert set(changed) == set(some)


def test_a_file_of_a_larger_agent_gives_what_both_have() -> None:
    box = agent(telling(spaces.Dict({"a": spaces.Box(0, 1, (2,))}))).learn(5)

    class More(PlasticPolicy):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.more = nn.Linear(2, 2)
            self.optimizer = torch.optim.Adam(self.parameters())

    env = telling(spaces.Dict({"a": spaces.Box(0, 1, (2,))}))
    larger = RecurrentA2C(More, env, n_steps=5, policy_kwargs={"hidden_size": 6}, device="cpu").learn(5)
    for teacher, pupil in ((larger, box), (box, larger)):
        with pytest.raises(TensorFileError, match="policy/more"):
            pupil.set_parameters(saved(teacher))
        pupil.set_parameters(saved(teacher), exact_match=False)
        assert torch.equal(pupil.policy.value_net.weight, teacher.policy.value_net.weight)
        pupil.learn(5)


# --------------------------------------------------------------------------------- paths, files


@each_learner
def test_names_with_and_without_suffix_stand_for_one_another(
    make: Callable[..., Any], load: Callable[..., Any], tmp_path: Path
) -> None:
    model = make()
    for number, written in enumerate(("a", "a.zip", "a.safetensors", "lr_0.1")):
        folder = tmp_path / str(number)
        model.save(folder / written)
        (found,) = folder.iterdir()
        stem = found.name.removesuffix(".safetensors").removesuffix(".zip")
        for name in (stem, f"{stem}.zip", f"{stem}.safetensors"):
            load(folder / name)
            load(str(folder / name).encode())
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "0" / "b")


def test_the_name_itself_comes_first(tmp_path: Path) -> None:
    for seed, name in enumerate(("a.safetensors", "a.zip", "b.zip", "b")):
        (tmp_path / "saved").unlink(missing_ok=True)
        agent(seed=seed).save(tmp_path / "saved.x")
        (tmp_path / "saved.x").rename(tmp_path / name)
    seeds = {name: load_agent(tmp_path / name).seed for name in ("a", "a.zip", "a.safetensors", "b", "b.zip")}
    assert seeds == {"a": 0, "a.zip": 1, "a.safetensors": 0, "b": 3, "b.zip": 2}


def test_what_sb3s_callbacks_save_is_found_by_its_documented_names(tmp_path: Path) -> None:
    best = EvalCallback(
        mazes(), eval_freq=5, n_eval_episodes=1, best_model_save_path=str(tmp_path), verbose=0
    )
    agent().learn(20, callback=[CheckpointCallback(5, str(tmp_path)), best])
    for name in ("rl_model_10_steps", "best_model"):
        assert load_agent(tmp_path / name).num_timesteps
        assert load_agent(tmp_path / f"{name}.zip").num_timesteps


@each_learner
def test_the_home_folder_is_where_it_is(
    make: Callable[..., Any], load: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    model = make()
    model.save("~/new/file")
    load(Path("~/new/file"))
    if make is not learner:
        model.set_parameters("~/new/file")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert (tmp_path / "home" / "new" / "file.safetensors").is_file()


@each_learner
@pytest.mark.parametrize(
    "make_file",
    [
        BytesIO,
        tempfile.TemporaryFile,
        tempfile.NamedTemporaryFile,
        tempfile.SpooledTemporaryFile,
        partial(tempfile.TemporaryFile, buffering=0),
    ],
)
def test_file_objects_hold_one_save_and_are_read_from_their_start(
    make_file: Callable[[], Any], make: Callable[..., Any], load: Callable[..., Any]
) -> None:
    model = make()
    with make_file() as file:
        file.write(b"x" * 10**6)
        model.save(file)
        model.save(file)
        load(file)
        load(file)


def test_a_pipe_takes_a_save() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb") as target:
        small = learner("rnn")
        small.save(target)
        target.close()
        load_learner(source)


@each_learner
@pytest.mark.parametrize("place", [None, 3, 1.5, ["file"]])
def test_what_is_neither_path_nor_file_is_named(
    place: Any, make: Callable[..., Any], load: Callable[..., Any]
) -> None:
    for use in (make().save, load):
        with pytest.raises(TypeError, match=r"neither a path nor a binary file object"):
            use(place)


@each_learner
def test_a_text_file_is_named(make: Callable[..., Any], load: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    with (tmp_path / "text").open("r+") as file:
        for use in (make().save, load):
            with pytest.raises(TypeError, match="binary file object"):
                use(file)
    assert (tmp_path / "text").read_text() == "text"


@pytest.mark.parametrize("make", [agent, ppo])
def test_hooks_on_optimiser_steps_do_not_see_saving_and_loading(make: Callable[[], Any]) -> None:
    model, steps = make().learn(20), 0

    def count(*_: Any) -> None:
        nonlocal steps
        steps += 1

    hook = register_optimizer_step_post_hook(count)
    try:
        file = saved(model)
        model.set_parameters(file)
        assert steps == 0
        model.learn(20)
        assert steps > 0
    finally:
        hook.remove()


def test_logs_for_tensorboard_go_to_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    agent(tensorboard_log="~/logs").learn(20)
    learner(tensorboard_log="~/logs").learn(2)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


# ------------------------------------------------------------- what computes, and is in no tensor


class Looks(BaseFeaturesExtractor):
    """Looks at its values while it is made, and draws random numbers."""

    def __init__(self, space: spaces.Space[Any], error: type[Exception] | None = None) -> None:
        super().__init__(space, 3)
        self.layer = nn.Linear(spaces.flatdim(space), 3)
        self.total = float(self.layer.weight.detach().sum())
        np.random.rand()  # noqa: NPY002
        if error is not None:
            raise error("not today")

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.layer(observations)  # type: ignore[no-any-return]


class LooksDifferently(Looks):
    """Fails with another kind of error where tensors have no values."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        super().__init__(space)
        if self.layer.weight.is_meta:
            raise KeyError("no values")


class LooksUp(Looks):
    def __init__(self, space: spaces.Space[Any]) -> None:
        nn.Module.__init__(self)
        if torch.empty(0).is_meta:
            raise ZeroDivisionError("no values")
        super().__init__(space)


def generators() -> Any:
    numpy = np.random.get_state()  # noqa: NPY002
    return numpy[1].tolist(), numpy[2], torch.get_rng_state().tolist()  # type: ignore[index,union-attr]


@pytest.mark.parametrize("extractor", [Looks, LooksDifferently, LooksUp])
def test_a_features_extractor_may_look_at_values(extractor: type[Looks], tmp_path: Path) -> None:
    kwargs = {"hidden_size": 4, "features_extractor_class": extractor}
    model = agent(policy_kwargs=kwargs).learn(10)
    before = generators()
    file = saved(model)
    model.policy.save(tmp_path / "policy")
    assert generators() == before
    given = {"features_extractor_class": extractor}
    again = load_agent(file, env=mazes(), policy_kwargs=given)
    assert saved(again).getvalue() == file.getvalue()
    again.learn(10)
    alone = PlasticPolicy.load(tmp_path / "policy", "cpu", **given)
    for name, tensor in model.policy.state_dict().items():
        assert torch.equal(alone.state_dict()[name], tensor)


def test_an_extractor_that_fails_says_why(tmp_path: Path) -> None:
    kwargs: dict[str, Any] = {"hidden_size": 4, "features_extractor_class": Looks}
    model = agent(policy_kwargs=kwargs)
    file = saved(model)
    model.policy.save(tmp_path / "policy")
    given = {"features_extractor_class": Looks, "features_extractor_kwargs": {"error": ValueError}}
    with pytest.raises(ValueError, match="not today"):
        load_agent(file, custom_objects={"policy_kwargs": {"hidden_size": 4, **given}})
    with pytest.raises(ValueError, match="not today"):
        PlasticPolicy.load(tmp_path / "policy", **given)


class Slow(Rule):
    """One of the user's own, which no file holds."""

    name, formula, citation = "slow", "H <- H", "none"
    bound = 1.0  # type: ignore[assignment]

    def update(self, trace: Any, pre: Any, post: Any, eta: Any) -> Any:
        return trace * (1 - eta)


@pytest.mark.parametrize("core", ["plastic", "homogeneous"])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, Oja()),
        ("oja", Hebb()),
        ("clipped", ClippedHebb(0.5)),
        (ClippedHebb(2.0), Oja()),
        (Slow(), Hebb()),
    ],
    ids=lambda rule: "own rule" if isinstance(rule, Slow) else str(rule),
)
def test_a_rule_that_was_replaced_is_kept(
    before: Any, after: Rule, compiled: bool, core: str, tmp_path: Path
) -> None:
    model = agent(policy_kwargs={"hidden_size": 6, "core": core, "rule": before})
    model.policy.core.plasticity.rule = after  # type: ignore[union-attr]
    if compiled:
        model.policy.core = Wrapped(model.policy.core)  # type: ignore[assignment]
    file = saved(model.learn(10))
    again = load_agent(file, env=mazes())
    assert again.policy.core.plasticity.rule == after  # type: ignore[union-attr]
    assert saved(again).getvalue() == file.getvalue()
    model.policy.save(tmp_path / "policy")
    assert PlasticPolicy.load(tmp_path / "policy").core.plasticity.rule == after  # type: ignore[union-attr]


@pytest.mark.parametrize("backend", ["reference", "adjoint", "numba", "auto"])
def test_a_backend_that_was_replaced_is_kept(backend: Any, tmp_path: Path) -> None:
    model = agent(policy_kwargs={"hidden_size": 6, "backend": "adjoint"})
    model.policy.core.backend = backend
    assert load_agent(saved(model)).policy.core.backend == backend
    model.policy.save(tmp_path / "policy")
    assert PlasticPolicy.load(tmp_path / "policy").core.backend == backend


def test_a_rule_of_ones_own_must_be_given_again(tmp_path: Path) -> None:
    model, rule = agent(), Slow()
    model.policy.core.plasticity.rule = rule  # type: ignore[union-attr]
    file = saved(model)
    model.policy.save(tmp_path / "policy")
    with pytest.raises(ValueError, match=r"rule was .*Slow"):
        load_agent(file)
    with pytest.raises(ValueError, match=r"rule was .*Slow"):
        PlasticPolicy.load(tmp_path / "policy")
    assert load_agent(file, policy_kwargs={"rule": rule}).policy.core.plasticity.rule is rule  # type: ignore[union-attr]
    assert PlasticPolicy.load(tmp_path / "policy", rule=rule).core.plasticity.rule is rule  # type: ignore[union-attr]


class Fading(PlasticRNN):
    """Of the same parameters, but computes something else."""


def _set(path: str, value: Any) -> Callable[[Any], None]:
    *where, name = path.split(".")

    def change(model: Any) -> None:
        setattr(attrgetter(".".join(where))(model) if where else model, name, value)

    return change


def _replace_core(policy: PlasticPolicy) -> None:
    policy.core = Fading(policy.core.input_size, policy.core.output_size)


REPLACED: dict[str, tuple[Callable[[Any], None], str]] = {
    "bound_eta": (_set("policy.core.plasticity.bound_eta", False), "policy/core.plasticity.bound_eta"),
    "alpha mode": (_set("policy.core.plasticity.mode", "none"), "policy/core.plasticity.mode"),
    "images": (_set("policy.normalize_images", False), "policy/normalize_images"),
    "core": (lambda model: _replace_core(model.policy), "policy/core is a .*Fading"),
    "layer": (
        _set("policy.features_extractor.flatten", nn.Identity()),
        "policy/features_extractor.flatten is",
    ),
}


@pytest.mark.filterwarnings("ignore:the optimizer holds parameters")  # that are no longer there
@pytest.mark.parametrize(("change", "text"), REPLACED.values(), ids=REPLACED)
@pytest.mark.parametrize("alone", [False, True])
def test_what_would_be_loaded_as_another_network_is_refused(
    change: Callable[[Any], None], text: str, alone: bool, tmp_path: Path
) -> None:
    model = agent()
    change(model)
    if alone and "normalize_images" in text:  # an argument of the policy's own, which is kept
        model.policy.save(tmp_path / "policy")
        assert PlasticPolicy.load(tmp_path / "policy").normalize_images is False
        return
    with pytest.raises(ValueError, match=rf"^{text}.*\bin a network built from the settings"):
        (model.policy if alone else model).save(tmp_path / "file")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("network.core.plasticity.bound_eta", True, "network/core.plasticity.bound_eta is "),
        ("network.core.plasticity.mode", "shared", "network/core.plasticity.mode is "),
        ("network.core.plasticity.rule", ClippedHebb(0.5), "network_kwargs: rule must be a plain"),
        ("network.core.plasticity.rule", Slow(), "network_kwargs: rule must be a plain"),
        ("network", nn.Linear(2, 2), "network/.* in a network built from the settings"),
        ("network.extra_neurons", 2, "network/extra_neurons is "),
    ],
)
def test_a_learner_of_episodes_refuses_what_would_be_loaded_as_another(
    path: str, value: Any, text: str
) -> None:
    model = learner()
    _set(path, value)(model)
    with pytest.raises(ValueError, match=f"^{text}"):
        saved(model)


@pytest.mark.parametrize("kwargs", [{}, {"rule": "oja", "backend": "adjoint"}], ids=str)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("rule", [Hebb(), Oja(), ClippedHebb()], ids=str)
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_a_rule_and_a_backend_that_were_replaced_in_a_learner_are_kept(
    backend: Any, rule: Rule, compiled: bool, kwargs: dict[str, Any]
) -> None:
    model = learner(network_kwargs=kwargs)
    core: Any = model.network.core
    core.plasticity.rule, core.backend = rule, backend
    if compiled:
        model.network.core = Wrapped(core)  # type: ignore[assignment]
    file = saved(model.learn(2))
    again = load_learner(file)
    assert (again.network.core.plasticity.rule, again.network.core.backend) == (rule, backend)  # type: ignore[union-attr]
    assert saved(again).getvalue() == file.getvalue()


@pytest.mark.filterwarnings("ignore:.*torch.jit")  # torch advises another way
def test_a_layer_that_torch_script_compiled_is_saved() -> None:
    model = agent()
    model.policy.value_net = torch.jit.script(model.policy.value_net)
    again = load_agent(saved(model))
    assert torch.equal(again.policy.value_net.weight, model.policy.value_net.weight)


def test_a_layer_of_a_class_that_each_constructor_makes_anew_is_saved() -> None:
    class Local(PlasticPolicy):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)

            class Layer(nn.Linear):
                pass

            self.more = Layer(2, 2)

    model = RecurrentA2C(Local, mazes(), n_steps=5, policy_kwargs={"hidden_size": 4}, device="cpu")
    load_agent(saved(model), policy_class=Local)


class WithOja(PlasticPolicy):
    """Sets its rule itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.core.plasticity.rule = Oja()  # type: ignore[union-attr]


def test_a_policy_of_ones_own_that_sets_its_rule_is_saved_and_another_rule_refused(tmp_path: Path) -> None:
    model = RecurrentA2C(WithOja, mazes(), n_steps=5, policy_kwargs={"hidden_size": 4}, device="cpu")
    again = load_agent(saved(model), policy_class=WithOja)
    assert again.policy.core.plasticity.rule == Oja()  # type: ignore[union-attr]
    model.policy.save(tmp_path / "policy")
    assert WithOja.load(tmp_path / "policy").core.plasticity.rule == Oja()  # type: ignore[union-attr]
    model.policy.core.plasticity.rule = Hebb()  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"^policy/core\.plasticity\.rule is Hebb"):
        saved(model)


# ------------------------------------------------------------------------- a policy alone


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_policy_alone_that_its_arguments_do_not_make_is_refused_while_it_exists(
    change: Callable[[nn.Module], object], tmp_path: Path
) -> None:
    policy = agent().policy
    change(next(m for m in policy.modules() if isinstance(m, nn.Linear)))
    with pytest.raises(ValueError, match=r"^policy/.*\bin a network built from the settings"):
        policy.save(tmp_path / "file")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["core", "features_extractor", "value_net"])
def test_a_policy_alone_is_saved_by_its_plain_names_and_stays_frozen(part: str, tmp_path: Path) -> None:
    policy = agent().policy
    for parameter in policy.value_net.parameters():
        parameter.requires_grad_(False)
    setattr(policy, part, Wrapped(getattr(policy, part)))
    policy.save(tmp_path / "policy")
    again = PlasticPolicy.load(tmp_path / "policy", "cpu")
    assert frozen(again) == frozen(policy) == ["value_net.bias", "value_net.weight"]
    for name, tensor in parameters_of(policy).items():
        assert torch.equal(again.state_dict()[name], tensor)


def test_files_of_policies_that_older_versions_wrote_are_loaded(tmp_path: Path) -> None:
    policy = agent().policy
    policy.save(tmp_path / "policy")
    tensors, data = read_tensors(tmp_path / "policy.safetensors")
    del data["frozen"]
    data["policy"] = {name.replace("core.", "core._orig_mod."): at for name, at in data["policy"].items()}
    write_tensors(tmp_path / "old.safetensors", tensors, data)
    again = PlasticPolicy.load(tmp_path / "old", "cpu")
    assert not frozen(again)
    assert torch.equal(again.core.weight_hh, policy.core.weight_hh)  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [None, 3, "value_net.bias", ["other"], [3], [["value_net.bias"]]], ids=str)
def test_frozen_parameters_in_a_policys_file_are_checked(names: Any, tmp_path: Path) -> None:
    agent().policy.save(tmp_path / "policy")
    tensors, data = read_tensors(tmp_path / "policy.safetensors")
    write_tensors(tmp_path / "bad.safetensors", tensors, {**data, "frozen": names})
    with pytest.raises(TensorFileError):
        PlasticPolicy.load(tmp_path / "bad")


class Needs(PlasticPolicy):
    """Has an argument that its file does not hold."""

    def __init__(self, *args: Any, gain: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gain = gain


def test_a_policy_with_an_argument_of_its_own_is_saved_and_loaded(tmp_path: Path) -> None:
    policy = Needs(spaces.Box(-1, 1, (3,)), spaces.Discrete(2), lambda _: 1e-3, hidden_size=3, gain=2.0)
    policy.save(tmp_path / "policy")
    assert Needs.load(tmp_path / "policy", gain=3.0).gain == 3.0

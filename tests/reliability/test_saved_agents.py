"""Whatever is trained, however unusual, can be saved, and what was saved can be loaded and is the same."""

import datetime
import warnings
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from plasticrl.agents import CORE_NAMES, EpisodeLearner, RecurrentA2C
from plasticrl.agents.checkpoint.network import frozen
from plasticrl.agents.ppo.contrib import PlainRecurrentPPO
from plasticrl.agents.recurrent.checkpoint import POLICY
from plasticrl.envs import make_task, make_vec_env

Rng = np.random.Generator
OBSERVATION_KEYS = ("position", "goal in view", "a/b", "$cost", "été")
INFOS: tuple[Any, ...] = (
    *(3, 0.5, "text", None, True, [1, 2], (1, 2), {"a": {"b": 1}}, {1: "key"}, {"$tuple": 2}, 10**40),
    *(np.int64(3), np.float32(0.5), np.arange(3), np.array(["text"]), np.array(0.5), np.bool_(True)),
    *(
        {1, 2},
        b"bytes",
        object(),
        datetime.date(2026, 1, 2),
        np.datetime64("2026-01-02"),
        1 + 2j,
        float("nan"),
    ),
    *(torch.ones(2), np.arange(6)[::-2], np.arange(3, dtype=">i4"), 10**5000),
)
SUCCESSES = (True, 0.0, np.bool_(False), np.array(1.0), np.float16(0.5))  # SB3 takes their mean
# What a file leaves out of the logs' buffers; all else in INFOS is kept.
LEFT_OUT = "a file cannot hold .* of ep_(info|success)_buffer: left out"


class Own(spaces.Box):
    """A space of the user's own, derived from one of Gymnasium's."""


class World(gym.Env[Any, Any]):
    """Draws observations; tells odd things at the end of its episodes."""

    def __init__(
        self, observations: spaces.Space[Any], actions: spaces.Space[Any], told: dict[str, Any]
    ) -> None:
        self.observation_space, self.action_space, self.told = observations, actions, told

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        ends = self.steps == 5
        return self.observation_space.sample(), 1.0, ends, False, dict(self.told) if ends else {}


def pick(rng: Rng, *choices: Any) -> Any:
    return choices[rng.integers(len(choices))]


def as_given(rng: Rng, number: float) -> Any:
    """A number as users give it: Python's or numpy's."""
    if isinstance(number, int):
        return pick(rng, number, np.int64(number), np.int32(number))
    return pick(rng, number, np.float64(number), np.float32(number), np.float16(number))


def leaf(rng: Rng) -> spaces.Space[Any]:
    size = int(rng.integers(1, 4))
    return pick(
        rng,
        spaces.Box(-1, 1, (size,), np.float32),
        spaces.Box(-np.inf, np.inf, (size, 2), np.float64),
        Own(0, 1, (size,)),
        spaces.Discrete(size + 1),
        spaces.MultiDiscrete([2, size + 1]),
        spaces.MultiBinary(size),
    )


def observation_space(rng: Rng) -> spaces.Space[Any]:
    if rng.random() < 0.6:
        return leaf(rng)
    keys = rng.choice(OBSERVATION_KEYS, rng.integers(1, 4), replace=False)
    return spaces.Dict({str(key): leaf(rng) for key in keys})


def action_space(rng: Rng) -> spaces.Space[Any]:
    return pick(
        rng,
        spaces.Discrete(3),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(2),
        spaces.Box(-1, 1, (2,), np.float32),
    )


def world(rng: Rng) -> VecEnv:
    if rng.random() < 0.25:
        return make_vec_env("PlasticMaze-v0", int(rng.integers(1, 3)), seed=0, size=5, episode_length=10)
    told = {"is_success": pick(rng, *SUCCESSES), "extra": pick(rng, *INFOS), "episode": _episode(rng)}
    seen, acts = observation_space(rng), action_space(rng)

    def one() -> gym.Env[Any, Any]:
        env: gym.Env[Any, Any] = World(seen, acts, told)
        if limited:
            env = TimeLimit(env, 3)
        # It wants its keywords wherever an episode ends.
        return Monitor(env, info_keywords=() if limited else ("extra",)) if monitored else env

    limited, monitored = rng.random(2) < 0.5
    env: VecEnv = DummyVecEnv([one] * int(rng.integers(1, 3)))
    boxes = seen.values() if isinstance(seen, spaces.Dict) else [seen]
    if rng.random() < 0.3 and all(isinstance(space, spaces.Box) for space in boxes):
        env = VecNormalize(env)
    return env


def _episode(rng: Rng) -> dict[Any, Any]:
    return {"r": 1.0, "l": np.int64(5), pick(rng, "more", 7, "$more", None): pick(rng, *INFOS)}


def agent_kwargs(rng: Rng) -> dict[str, Any]:
    core = pick(rng, *CORE_NAMES)
    kwargs: dict[str, Any] = {"core": core, "hidden_size": as_given(rng, int(rng.integers(1, 6)))}
    if core in ("plastic", "homogeneous") and rng.random() < 0.5:
        kwargs |= {"rule": pick(rng, "hebb", "oja", "clipped"), "eta": as_given(rng, 0.25)}
    if rng.random() < 0.4:
        kwargs["optimizer_class"] = pick(rng, torch.optim.RMSprop, torch.optim.AdamW, torch.optim.SGD)
    if rng.random() < 0.3:
        kwargs["optimizer_kwargs"] = {"weight_decay": as_given(rng, 0.25)}
    return kwargs


def a2c(rng: Rng) -> tuple[RecurrentA2C, Callable[[Any], RecurrentA2C]]:
    settings = {
        "n_steps": as_given(rng, 4),
        "learning_rate": as_given(rng, 0.0078125),
        "gamma": as_given(rng, 0.75),
        "gae_lambda": as_given(rng, 1),
        "ent_coef": as_given(rng, 0.125),
        "concentration_coef": as_given(rng, 0),
        "vf_coef": as_given(rng, 0.5),
        "max_grad_norm": as_given(rng, 1.5),
        "max_grad_ratio": pick(rng, np.float32(4), float("inf"), 3),
        "normalize_advantage": pick(rng, True, False, np.bool_(True), 1),
        "stats_window_size": as_given(rng, 3),
        "verbose": pick(rng, 0, False, np.int64(0)),
        "seed": pick(rng, None, 3, np.int64(4), True, np.uint32(5)),
    }
    model = RecurrentA2C(
        "PlasticPolicy", world(rng), policy_kwargs=agent_kwargs(rng), device="cpu", **settings
    )
    disturb(rng, model)
    learn(rng, model)
    for name, value in (("ent_coef", np.float32(0.25)), ("vf_coef", torch.tensor(0.5)), ("verbose", True)):
        if rng.random() < 0.2:  # as a callback does
            setattr(model, name, value)
    return model, lambda file: RecurrentA2C.load(file, device="cpu")


def disturb(rng: Rng, model: Any) -> None:
    """What users do to a policy between the constructor and learn()."""
    policy = model.policy
    named = dict(policy.named_parameters())
    if rng.random() < 0.3:
        for parameter in rng.choice(np.array(list(named)), rng.integers(1, len(named)), replace=False):
            named[str(parameter)].requires_grad_(False)
    left = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    if rng.random() < 0.15 and isinstance(model, RecurrentA2C):
        policy.optimizer = torch.optim.SGD(left, lr=0.01, momentum=0.5)
    elif rng.random() < 0.2:
        policy.optimizer = type(policy.optimizer)(
            [{"params": left[:1]}, {"params": left[1:], "lr": 1e-4}], lr=0.1
        )


def learn(rng: Rng, model: Any) -> None:
    if rng.random() < 0.75:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Gymnasium, SB3 and numpy, about these worlds
            model.learn(
                pick(rng, 1, 6, 12.0, 9.5, np.int64(7), np.float32(5)), log_interval=pick(rng, None, 1)
            )


def ppo(rng: Rng) -> tuple[PlainRecurrentPPO, Callable[[Any], PlainRecurrentPPO]]:
    env = make_vec_env("PlasticMaze-v0", 2, seed=0, size=5, episode_length=10)
    kwargs = {"lstm_hidden_size": int(rng.integers(1, 5)), "net_arch": []}
    given: dict[str, Any] = {"n_steps": 4, "batch_size": 8, "n_epochs": 1, "policy_kwargs": kwargs}
    model = PlainRecurrentPPO("MlpLstmPolicy", env, device="cpu", **given)
    disturb(rng, model)
    learn(rng, model)
    return model, lambda file: PlainRecurrentPPO.load(file, env, "cpu", **given)


def learner(rng: Rng) -> tuple[EpisodeLearner, Callable[[Any], EpisodeLearner]]:
    task = make_task("patterns", n_bits=6, n_patterns=2, n_cycles=1)
    model = EpisodeLearner(
        pick(rng, "plastic", "homogeneous", "rnn"),
        task,
        learning_rate=as_given(rng, 0.0078125),
        batch_size=as_given(rng, 2),
        max_grad_norm=pick(rng, np.float32(5), float("inf"), 2),
        stats_window_size=as_given(rng, 5),
        network_kwargs=pick(
            rng, None, {"init_scale": as_given(rng, 0.25), "extra_neurons": as_given(rng, 2)}
        ),
        optimizer_kwargs=pick(
            rng, None, {"betas": (np.float32(0.5), 0.75)}, {"weight_decay": np.float64(0.5)}
        ),
        verbose=pick(rng, 0, False, np.int64(0)),
        seed=pick(rng, None, 3, np.int64(4)),
        device="cpu",
    )
    first, *others = model.network.parameters()
    if others and rng.random() < 0.3:
        first.requires_grad_(False)
    if rng.random() < 0.2:
        model.optimizer.param_groups[0]["weight_decay"] = np.float64(0.125)
    if rng.random() < 0.75:
        model.learn(pick(rng, 1, 4.0, np.int64(3), 2.5))
    return model, lambda file: EpisodeLearner.load(file, task, device="cpu")


KINDS = {"RecurrentA2C": a2c, "PlainRecurrentPPO": ppo, "EpisodeLearner": learner}


def saved(rng: Rng, model: Any, folder: Path) -> tuple[Any, Any]:
    """A file of it, and the name or the object by which it is loaded."""
    name = pick(rng, "agent", "agent.zip", "agent.safetensors", "agent.v1", None)
    place: Any = BytesIO() if name is None else folder / name
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", LEFT_OUT)
        model.save(place)
    if name is None:
        return place, place.getvalue()
    (file,) = folder.iterdir()
    return folder / pick(rng, name, name.removesuffix(".zip").removesuffix(".safetensors")), file.read_bytes()


def numbers(model: Any) -> dict[str, Any]:
    """Its settings, with numpy's and torch's numbers as Python's."""
    if isinstance(model, EpisodeLearner):
        names = ("batch_size", "max_grad_norm", "stats_window_size", "learning_rate", "verbose", "seed")
        found = {name: getattr(model, name) for name in names}
        return found | {
            "network": model.network_name,
            "kwargs": (model.network_kwargs, model.optimizer_kwargs),
        }
    if isinstance(model, PlainRecurrentPPO):
        return {"policy_kwargs": model.policy_kwargs}
    found = {
        name: value for name, value in model.file_format.current_settings(model).items() if name not in POLICY
    }
    return {name: value.item() if hasattr(value, "item") else value for name, value in found.items()}


def acts(model: Any) -> list[Any]:
    """What it does from a fixed beginning."""
    if isinstance(model, EpisodeLearner):
        return [model.predict(model.task.sample(2, np.random.default_rng(0)))]
    model.observation_space.seed(0)
    state, outputs = None, []
    for _ in range(3):
        action, state = model.predict(model.observation_space.sample(), state, deterministic=True)
        outputs += [action, *state]
    return outputs


def check_same(model: Any, again: Any) -> None:
    network, other = (m.network if isinstance(m, EpisodeLearner) else m.policy for m in (model, again))
    assert frozen(network) == frozen(other)
    assert numbers(again) == numbers(model)
    assert again.num_timesteps == model.num_timesteps
    for ours, theirs in zip(acts(model), acts(again), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_is_trained_is_saved_and_what_is_saved_is_loaded(
    tmp_path: Path, soak: bool, figures: Callable[..., None]
) -> None:
    count = 2000 if soak else 40
    kinds: Counter[str] = Counter()
    for seed in range(count):
        rng = np.random.default_rng(seed)
        kind = "RecurrentA2C" if rng.random() < 0.7 else pick(rng, *KINDS)
        model, load = KINDS[kind](rng)
        folder = tmp_path / str(seed)
        folder.mkdir()
        place, content = saved(rng, model, folder)
        again = load(place)
        check_same(model, again)
        resaved = BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", LEFT_OUT)
            again.save(resaved)
        assert resaved.getvalue() == content
        kinds[kind] += 1
    assert set(kinds) == set(KINDS)
    figures("saved_agents", agents=count, **kinds, lost=0)

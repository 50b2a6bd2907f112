"""What a rollout stores and what training makes of it: borders, bootstrapping, stopping, gradients."""

from typing import Any

import gymnasium as gym
import maze_settings
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper
from torch import Tensor, nn

from plasticrl.agents import CORE_NAMES, CoreName, PlasticPolicy, RecurrentA2C
from plasticrl.agents.recurrent.native_rollout import Replay
from plasticrl.envs import make_vec_env
from plasticrl.nn import PlasticRNN, plastic_rnn
from plasticrl.ops import plastic_scan

EVERY_CORE = pytest.mark.parametrize("core", CORE_NAMES)
STILL = 1e-30  # a learning rate that leaves float32 parameters as they are


class Counter(gym.Env[Any, int]):
    """Episodes of ``length`` steps, reward 1 each; shows the step number and two random numbers."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,))
    action_space = spaces.Discrete(2)

    def __init__(self, length: int, truncates: bool) -> None:
        self.length, self.truncates = length, truncates

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        end = self.steps == self.length
        return self._observe(), 1.0, end and not self.truncates, end and self.truncates, {}

    def _observe(self) -> Any:
        return np.array([self.steps, *self.np_random.normal(size=2)], dtype=np.float32)


class Recorder(BaseCallback):
    """Keeps copies of every rollout, of what ends episodes, and of the gradients training left."""

    def _on_training_start(self) -> None:
        self.rollouts: list[dict[str, Any]] = []
        self.terminal: list[dict[int, Any]] = []

    def _on_step(self) -> bool:
        infos = enumerate(self.locals["infos"])
        self.terminal.append(
            {i: info["terminal_observation"] for i, info in infos if "terminal_observation" in info}
        )
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer
        names = ("observations", "actions", "rewards", "values", "episode_starts", "returns", "advantages")
        kept = {name: torch.from_numpy(getattr(buffer, name).copy()) for name in names}  # type: ignore[union-attr]
        kept["state"] = [s.clone() for s in buffer.state]  # type: ignore[union-attr]
        self.rollouts.append(kept)

    def together(self, name: str) -> Tensor:
        return torch.cat([rollout[name] for rollout in self.rollouts])


def agent(core: CoreName, *envs: Counter, n_steps: int = 5, **options: Any) -> RecurrentA2C:
    strong = {"eta": 0.3, "init": "normal", "init_scale": 0.3}
    plastic = core in ("plastic", "homogeneous", "rnn")
    venv = DummyVecEnv([lambda env=env: env for env in envs])  # type: ignore[misc]
    return RecurrentA2C(
        "PlasticPolicy",
        venv,
        n_steps=n_steps,
        seed=0,
        device="cpu",
        policy_kwargs={"core": core, "hidden_size": 7, **maze_settings.POLICY, **(strong if plastic else {})},
        **{
            **maze_settings.AGENT,
            "gamma": 0.5,
            "learning_rate": STILL,
            "max_grad_norm": float("inf"),
            **options,
        },
    )


def unroll(model: RecurrentA2C, observations: Tensor, starts: Tensor) -> tuple[Tensor, Tensor, Any]:
    """Outputs and values from zeros, one step at a time, with gradient; and the state at the end."""
    policy = model.policy
    state, outputs = policy.core.initial_state(observations.shape[1]), []
    for x, first in zip(observations, starts, strict=True):
        y, state = policy.core(x[None], state, first[None])
        outputs.append(y[0])
    stacked = torch.stack(outputs)
    return stacked, policy.value_net(stacked).squeeze(-1), state


def constant_value(model: RecurrentA2C, value: float) -> None:
    with torch.no_grad():
        model.policy.value_net.weight.zero_()
        model.policy.value_net.bias.fill_(value)


def returns_of_five_steps(truncates: bool) -> list[float]:
    """gamma 1/2, reward 1, every state worth 8, and an episode that ends after the third of five steps."""
    model, recorder = agent("plastic", Counter(3, truncates)), Recorder()
    constant_value(model, 8.0)
    model.learn(5, recorder)
    returns: list[float] = recorder.rollouts[0]["returns"].flatten().tolist()
    return returns


def test_truncation_bootstraps() -> None:
    # third step: 1 + 8/2 = 5, before it 1 + 5/2, 1 + 3.5/2; the last: 1 + 8/2, before it 1 + 5/2
    assert returns_of_five_steps(truncates=True) == [2.75, 3.5, 5, 3.5, 5]


def test_termination_does_not_bootstrap() -> None:
    # third step: 1, before it 1 + 1/2, 1 + 1.5/2; the last: 1 + 8/2, before it 1 + 5/2
    assert returns_of_five_steps(truncates=False) == [1.75, 1.5, 1, 3.5, 5]


@EVERY_CORE
def test_the_bootstrap_values_the_last_observation_in_the_light_of_the_episode(core: CoreName) -> None:
    model, recorder = agent(core, Counter(3, truncates=True), Counter(9, truncates=True)), Recorder()
    model.learn(10, recorder)
    rollout = recorder.rollouts[0]
    observations = rollout["observations"][:3, :1]
    last = torch.from_numpy(recorder.terminal[2][0])
    assert last[0] == 3  # not the first observation of the next episode, which shows 0
    episode = torch.cat([observations, last[None, None]])
    starts = torch.tensor([True, False, False, False])[:, None]
    worth = unroll(model, episode, starts)[1][-1].item()
    assert rollout["rewards"][:, 0].tolist() == pytest.approx([1, 1, 1 + 0.5 * worth, 1, 1], abs=1e-6)
    assert rollout["rewards"][:, 1].tolist() == [1, 1, 1, 1, 1]
    assert abs(worth) > 1e-3


@EVERY_CORE
def test_memory_runs_through_rollouts_and_stops_at_borders(core: CoreName) -> None:
    """Four rollouts of 5 steps with borders of two kinds anywhere equal one unroll of 20 steps.

    Bootstrapping must leave no mark either: neither that of a rollout's end nor that of a truncated
    episode beside one that goes on.
    """
    envs = Counter(3, truncates=True), Counter(5, truncates=False), Counter(7, truncates=True)
    model, recorder = agent(core, *envs), Recorder()
    model.learn(4 * 5 * 3, recorder)
    assert len(recorder.rollouts) == 4
    starts, observations = recorder.together("episode_starts"), recorder.together("observations")
    assert torch.equal(starts, observations[..., 0] == 0)
    _, values, _ = unroll(model, observations, starts)
    torch.testing.assert_close(recorder.together("values"), values.detach(), rtol=1e-5, atol=1e-6)
    _, _, state = unroll(model, observations[:15], starts[:15])
    for kept, expected in zip(recorder.rollouts[3]["state"], state, strict=True):
        torch.testing.assert_close(kept, expected, rtol=1e-5, atol=1e-6)


@EVERY_CORE
@pytest.mark.parametrize(
    "options", [{}, {"ent_coef": 0.2, "concentration_coef": 0.0, "normalize_advantage": True}]
)
def test_training_takes_the_gradient_of_the_loss_of_a_plain_unroll(
    core: CoreName, options: dict[str, Any]
) -> None:
    """Borders inside; the second rollout, which begins with memory, through which no gradient goes."""
    model, recorder = agent(core, Counter(3, True), Counter(7, False), vf_coef=0.4, **options), Recorder()
    model.learn(2 * 5 * 2, recorder)
    left = {name: p.grad.clone() for name, p in model.policy.named_parameters() if p.grad is not None}
    rollout, policy = recorder.rollouts[1], model.policy
    state, outputs = type(policy.initial_state(2))(*rollout["state"]), []
    for x, first in zip(rollout["observations"], rollout["episode_starts"], strict=True):
        y, state = policy.core(x[None], state, first[None])
        outputs.append(y[0])
    latent = torch.stack(outputs)
    policies = torch.distributions.Categorical(logits=policy.action_net(latent))
    weights = rollout["advantages"]
    if options:
        weights = (weights - weights.mean()) / weights.std()
    loss = -(weights * policies.log_prob(rollout["actions"].squeeze(-1))).mean()
    loss = loss + 0.4 * (rollout["returns"] - policy.value_net(latent).squeeze(-1)).square().mean()
    loss = loss - model.ent_coef * policies.entropy().mean()
    loss = loss + model.concentration_coef * policies.probs.square().sum(-1).mean()
    policy.zero_grad()
    loss.backward()
    expected = {name: p.grad for name, p in policy.named_parameters() if p.grad is not None}
    assert expected.keys() == left.keys() == dict(policy.named_parameters()).keys()
    for name, grad in expected.items():
        assert grad is not None
        assert grad.any(), name
        torch.testing.assert_close(left[name], grad, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


class StopAt(Recorder):
    """Stops the run at a step of the first rollout."""

    def _on_step(self) -> bool:
        return super()._on_step() and self.n_calls != 3


@EVERY_CORE
def test_a_run_stopped_in_a_rollout_goes_on_where_it_was(core: CoreName) -> None:
    envs = Counter(9, True), Counter(2, False)
    model = agent(core, *envs, learning_rate=0.1)
    before = {name: p.clone() for name, p in model.policy.state_dict().items()}
    stop, recorder = StopAt(), Recorder()
    model.learn(100, stop)
    assert (model.num_timesteps, model._n_updates) == (6, 0)
    assert all(torch.equal(p, before[name]) for name, p in model.policy.state_dict().items())
    seen = torch.from_numpy(model.rollout_buffer.observations[:3].copy())  # type: ignore[index]
    model.learn(10, recorder, reset_num_timesteps=False)
    assert (model.num_timesteps, model._n_updates) == (16, 1)
    after = recorder.rollouts[0]
    assert after["observations"][:, 0, 0].tolist() == [3, 4, 5, 6, 7]
    assert after["observations"][:, 1, 0].tolist() == [1, 0, 1, 0, 1]
    assert after["episode_starts"][:, 1].tolist() == [False, True, False, True, False]
    model.policy.load_state_dict(before)
    whole = torch.cat([seen, after["observations"]])
    _, values, _ = unroll(model, whole, whole[..., 0] == 0)
    torch.testing.assert_close(after["values"], values[3:].detach(), rtol=1e-5, atol=1e-6)


def test_a_new_run_starts_new_episodes() -> None:
    model, recorder = agent("plastic", Counter(9, True)), Recorder()
    for _ in range(2):
        model.learn(5, recorder)
        assert recorder.rollouts[0]["observations"][:, 0, 0].tolist() == [0, 1, 2, 3, 4]
        assert recorder.rollouts[0]["episode_starts"][:, 0].tolist() == [True, False, False, False, False]


class NumberedDones(VecEnvWrapper):
    """Tells the ends of episodes as numbers, as some envs do; SB3 takes them."""

    def __init__(self, venv: VecEnv, dtype: Any) -> None:
        super().__init__(venv)
        self.dtype = dtype

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        obs, rewards, dones, infos = self.venv.step_wait()
        return obs, rewards, dones.astype(self.dtype), infos


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_the_ends_of_episodes_may_be_numbers(dtype: Any) -> None:
    rollouts = []
    for wrapped in (False, True):
        model, recorder = agent("plastic", Counter(3, truncates=True)), Recorder()
        if wrapped:
            assert model.env is not None
            model.set_env(NumberedDones(model.env, dtype))
        model.env.seed(3)  # type: ignore[union-attr]
        torch.manual_seed(0)
        model.learn(10, recorder)
        rollouts.append(recorder.rollouts[1])
    state, expected = rollouts[1].pop("state"), rollouts[0].pop("state")
    assert all(torch.equal(one, other) for one, other in zip(state, expected, strict=True))
    for name, kept in rollouts[0].items():
        assert torch.equal(kept, rollouts[1][name]), name


def test_the_advantage_of_a_single_step_is_not_normalized() -> None:
    trained = [
        agent("plastic", Counter(3, truncates=True), n_steps=1, learning_rate=0.1, normalize_advantage=on)
        .learn(4)
        .policy.state_dict()
        for on in (False, True)
    ]
    for name, tensor in trained[0].items():
        assert torch.equal(tensor, trained[1][name]), name


class Others(VecEnv):
    """Someone else's batch: three numbers are seen, episodes have 3 steps, and ``told`` is what it gives.

    Args:
        told: makes of observations, rewards, dones and infos what ``step`` returns.
        first: makes of the first observations what ``reset`` returns.
        space: of one observation.
    """

    render_mode = None

    def __init__(self, told: Any, first: Any = lambda obs: obs, space: Any = None) -> None:
        super().__init__(2, space or spaces.Box(-9, 9, (3,)), spaces.Discrete(2))
        self.told, self.first = told, first
        self.actions: list[Any] = []

    def reset(self) -> Any:
        self.t = 0
        return self.first(self._observe())

    def _observe(self) -> Any:
        return np.array([[self.t, 1, -1], [-1, self.t % 3, 2]], dtype=np.float32)

    def step_async(self, actions: Any) -> None:
        self.t += 1
        self.actions.append(actions)

    def step_wait(self) -> Any:
        done = np.array([self.t % 3 == 0, self.t % 4 == 0])
        infos = [
            {"TimeLimit.truncated": True, "terminal_observation": self._observe()[0]} if d else {}
            for d in done
        ]
        return self.told(self._observe(), np.array([1.0, 2.0], dtype=np.float32), done, infos)

    def close(self) -> None: ...

    def get_attr(self, name: str, indices: Any = None) -> Any:
        return [getattr(self, name)] * 2

    def set_attr(self, name: str, value: Any, indices: Any = None) -> None: ...

    def env_method(self, name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        return [None] * 2

    def env_is_wrapped(self, wrapper: Any, indices: Any = None) -> Any:
        return [False] * 2


def trained_by(env: Others, core: CoreName = "plastic") -> Recorder:
    model = RecurrentA2C(
        "PlasticPolicy", env, n_steps=7, seed=0, device="cpu", policy_kwargs={"core": core, "hidden_size": 7}
    )
    recorder = OnlyRollouts()
    model.learn(3 * 7 * 2, recorder)
    return recorder


class OnlyRollouts(Recorder):
    def _on_step(self) -> bool:
        return True


def check_alike(one: Recorder, other: Recorder) -> None:
    for kept, expected in zip(one.rollouts, other.rollouts, strict=True):
        for name, tensor in expected.items():
            if name != "state":
                torch.testing.assert_close(kept[name], tensor, rtol=0, atol=0, check_dtype=False)


FORMS = {
    "rewards as float64": lambda obs, rewards, dones, infos: (obs, rewards.astype(float), dones, infos),
    "rewards as integers": lambda obs, rewards, dones, infos: (obs, rewards.astype(int), dones, infos),
    "rewards in a list": lambda obs, rewards, dones, infos: (obs, rewards.tolist(), dones, infos),
    "dones as float32": lambda obs, rewards, dones, infos: (obs, rewards, dones.astype(np.float32), infos),
    "dones in a list": lambda obs, rewards, dones, infos: (obs, rewards, dones.tolist(), infos),
    "infos in a tuple": lambda obs, rewards, dones, infos: (obs, rewards, dones, tuple(infos)),
    "observations as float64": lambda obs, rewards, dones, infos: (obs.astype(float), rewards, dones, infos),
    "observations as integers": lambda obs, rewards, dones, infos: (obs.astype(int), rewards, dones, infos),
    "observations in Fortran's order": lambda obs, *rest: (np.asfortranarray(obs), *rest),
}


def plain(*told: Any) -> Any:
    return told


@pytest.mark.parametrize("core", ["plastic", "lstm"])
@pytest.mark.parametrize("form", FORMS)
def test_what_an_env_tells_may_have_other_types(form: str, core: CoreName) -> None:
    check_alike(trained_by(Others(FORMS[form]), core), trained_by(Others(plain), core))


class Reuses:
    """Gives the same arrays again and again."""

    def __init__(self) -> None:
        self.obs, self.rewards = np.zeros((2, 3), np.float32), np.zeros(2, np.float32)
        self.dones, self.infos = np.zeros(2, bool), [{}, {}]

    def first(self, obs: Any) -> Any:
        self.obs[:] = obs
        return self.obs

    def told(self, obs: Any, rewards: Any, dones: Any, infos: Any) -> Any:
        self.obs[:], self.rewards[:], self.dones[:], self.infos[:] = obs, rewards, dones, infos
        return self.obs, self.rewards, self.dones, self.infos


@EVERY_CORE
def test_an_env_may_write_into_what_it_has_given(core: CoreName) -> None:
    reuses = Reuses()
    check_alike(trained_by(Others(reuses.told, reuses.first), core), trained_by(Others(plain), core))


def without(*names: str) -> Any:
    def told(obs: Any, rewards: Any, dones: Any, infos: Any) -> Any:
        return obs, rewards, dones, [{k: v for k, v in i.items() if k not in names} for i in infos]

    return told


def with_none(obs: Any, rewards: Any, dones: Any, infos: Any) -> Any:
    return obs, rewards, dones, [{**info, "terminal_observation": None} for info in infos]


@pytest.mark.parametrize(
    "told",
    [
        without("terminal_observation"),
        without("TimeLimit.truncated"),
        without("terminal_observation", "TimeLimit.truncated"),
        with_none,
    ],
)
def test_without_the_last_observation_or_the_word_of_a_time_limit_nothing_is_bootstrapped(told: Any) -> None:
    """As in SB3, whose A2C trains on it."""
    A2C("MlpPolicy", Others(told), n_steps=7, device="cpu").learn(28)
    assert (trained_by(Others(told)).together("rewards") == torch.tensor([1.0, 2.0])).all()
    assert (trained_by(Others(plain)).together("rewards") != torch.tensor([1.0, 2.0])).any()


def test_an_env_gets_the_actions_that_sb3_would_give_it() -> None:
    ours, theirs = Others(plain), Others(plain)
    trained_by(ours)
    A2C("MlpPolicy", theirs, n_steps=7, device="cpu").learn(28)
    assert {(a.shape, a.dtype) for a in ours.actions} == {(a.shape, a.dtype) for a in theirs.actions}


class Dropping(FlattenExtractor):
    """Zeroes features in training, with no module that tells so."""

    def forward(self, observations: Tensor) -> Tensor:
        return torch.nn.functional.dropout(super().forward(observations), 0.5, self.training)


class LayersOnTop(FlattenExtractor):
    def __init__(self, observation_space: Any, layer: type[nn.Module]) -> None:
        super().__init__(observation_space)
        self.layers = nn.Sequential(nn.Flatten(), layer())


class NoisyFeatures(PlasticPolicy):
    def extract_features(self, obs: Any, features_extractor: Any = None) -> Any:
        return super().extract_features(obs, features_extractor) + torch.randn(1)


class OwnForward(PlasticPolicy):
    def forward(self, obs: Any, state: Any, episode_starts: Any) -> Any:
        return super().forward(obs * 2, state, episode_starts)


class OwnValues(PlasticPolicy):
    def values(self, outputs: Tensor) -> Tensor:
        return super().values(outputs) + 1


class TwiceAsLoud(PlasticRNN):
    def forward(self, *given: Any, **more: Any) -> Any:
        outputs, state = super().forward(*given, **more)
        return outputs * 2, state


def hooked(policy: Any) -> None:
    policy.core.register_forward_hook(lambda module, inputs, found: (found[0] * 2, found[1]))


def of_own_class(policy: Any) -> None:
    policy.core.__class__ = TwiceAsLoud


def dropout_before_the_core(policy: Any) -> None:
    policy.core.in_proj = nn.Sequential(nn.Dropout(), policy.core.in_proj)


def normalised_before_the_core(policy: Any) -> None:
    policy.core.in_proj = torch.nn.utils.parametrizations.spectral_norm(policy.core.in_proj)


def usual(policy: Any) -> None: ...


def in_a_list(policy: Any) -> None:
    policy.features_extractor = nn.Sequential(policy.features_extractor, nn.Dropout())


OTHERS: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "features that drop out": ("PlasticPolicy", {"features_extractor_class": Dropping}, usual),
    "a policy that adds noise": (NoisyFeatures, {}, usual),
    "a policy with its own forward": (OwnForward, {}, usual),
    "a policy of one's own": (OwnValues, {}, usual),
    "a hook on the core": ("PlasticPolicy", {}, hooked),
    "a core of one's own": ("PlasticPolicy", {}, of_own_class),
    "dropout in the core": ("PlasticPolicy", {}, dropout_before_the_core),
    "spectral norm in the core": ("PlasticPolicy", {}, normalised_before_the_core),
    "dropout after the features": ("PlasticPolicy", {}, in_a_list),
    **{
        f"{layer.__name__} in the features": (
            "PlasticPolicy",
            {"features_extractor_class": LayersOnTop, "features_extractor_kwargs": {"layer": layer}},
            usual,
        )
        for layer in (nn.Dropout, nn.AlphaDropout, nn.RReLU)
    },
}


def cores_run(
    monkeypatch: pytest.MonkeyPatch, policy: Any, kwargs: dict[str, Any], change: Any
) -> list[bool]:
    """For each update whether the core was run again."""
    env = DummyVecEnv([lambda: Counter(3, True), lambda: Counter(7, False)])
    model = RecurrentA2C(
        policy, env, n_steps=5, seed=0, device="cpu", policy_kwargs={"hidden_size": 7, **kwargs}
    )
    change(model.policy)
    found = []

    def spy(*given: Any, known: Any = None, **more: Any) -> Any:
        if torch.is_grad_enabled():
            found.append(known is None)
        return plastic_scan(*given, known=known, **more)

    monkeypatch.setattr(plastic_rnn, "plastic_scan", spy)
    model.learn(30)
    return found


def test_an_update_of_the_usual_policy_does_not_run_the_core_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cores_run(monkeypatch, "PlasticPolicy", {}, usual) == [False] * 3


@pytest.mark.parametrize("kind", OTHERS)
def test_an_update_runs_the_core_where_training_may_compute_something_else(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cores_run(monkeypatch, *OTHERS[kind]) == [True] * 3


@pytest.mark.parametrize("change", [hooked, of_own_class])
def test_a_step_is_what_the_core_computes_when_it_is_called(change: Any) -> None:
    policy = agent("plastic", Counter(3, True)).policy
    change(policy)
    x, first = torch.randn(4, 3), torch.tensor([True, False, False, True])
    state = type(policy.initial_state(4))(torch.randn(4, 7), torch.randn(4, 7, 7))
    expected, after = policy.core(x[None], state, first[None])
    outputs = policy.core.step_(x, state, first)
    torch.testing.assert_close(outputs, expected[0].detach())
    for one, other in zip(state, after, strict=True):
        torch.testing.assert_close(one, other.detach())


def stepped_inputs(model: RecurrentA2C) -> None:
    model.rollout_buffer.observations[1] *= 0.5  # type: ignore[index, operator]


def all_inputs(model: RecurrentA2C) -> None:
    model.rollout_buffer.observations[...] *= 0.5  # type: ignore[call-overload, operator]


def swapped_inputs(model: RecurrentA2C) -> None:
    observations: Any = model.rollout_buffer.observations
    observations[:8] = observations[:8][::-1].copy()


def other_inputs(model: RecurrentA2C) -> None:
    model.rollout_buffer.observations = model.rollout_buffer.observations + 1  # type: ignore[operator]


def starts(model: RecurrentA2C) -> None:
    model.rollout_buffer.episode_starts[2] = True


def start_state(model: RecurrentA2C) -> None:
    for part in model.rollout_buffer.state:
        part.fill_(0.3)


def other_start_state(model: RecurrentA2C) -> None:
    state = model.rollout_buffer.state
    model.rollout_buffer.state = type(state)(*(part + 0.3 for part in state))


def outputs(model: RecurrentA2C) -> None:
    model.rollout_buffer.outputs.mul_(0.5)


def other_outputs(model: RecurrentA2C) -> None:
    model.rollout_buffer.outputs = model.rollout_buffer.outputs * 0.5


def final_state(model: RecurrentA2C) -> None:
    for part in model._state:
        part.fill_(0.3)


class ChangesTheRollout(BaseCallback):
    def __init__(self, change: Any, at: int | None) -> None:
        super().__init__()
        self.change, self.at = change, at

    def _on_step(self) -> bool:
        if self.n_calls == self.at:
            self.change(self.model)
        return True

    def _on_rollout_end(self) -> None:
        if self.at is None:
            self.change(self.model)


@pytest.mark.parametrize("at", [None, 9])
@pytest.mark.parametrize(
    "change",
    [
        all_inputs, swapped_inputs, other_inputs, starts, start_state, other_start_state, outputs,
        other_outputs, final_state, stepped_inputs,
    ],
)  # fmt: skip
@pytest.mark.parametrize("native", [False, True])
def test_an_update_learns_from_the_rollout_that_callbacks_leave(change, at, native, monkeypatch) -> None:
    """Results that are known from the rollout are used only where they would be the same again."""
    if native and at and change in (start_state, other_start_state, outputs, other_outputs, final_state):
        pytest.skip("an error: see test_native_rollout.py")

    def learned() -> dict[str, Tensor]:
        options: Any = {"size": 5, "episode_length": 7}
        env = make_vec_env("PlasticMaze-v0", 3, seed=1, **options)
        kwargs = {"hidden_size": 7, "eta": 0.3, "init": "normal", "init_scale": 0.3, **maze_settings.POLICY}
        model = RecurrentA2C(
            "PlasticPolicy",
            env if native else Hidden(env),
            n_steps=10,
            seed=0,
            policy_kwargs=kwargs,
            learning_rate=0.01,
        )
        return model.learn(60, ChangesTheRollout(change, at)).policy.state_dict()

    quick = learned()
    monkeypatch.setattr(Replay, "holds", lambda *given: False)
    for name, expected in learned().items():
        torch.testing.assert_close(
            quick[name], expected, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


class Hidden(VecEnvWrapper):
    """Changes nothing, but hides the maze, so that it has to be stepped."""

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        return self.venv.step_wait()


class Chooses(Counter):
    def __init__(self, action_space: spaces.Space[Any]) -> None:
        super().__init__(3, truncates=True)
        self.action_space = action_space  # type: ignore[assignment]


@EVERY_CORE
@pytest.mark.parametrize(
    "action_space",
    [spaces.Discrete(2), spaces.Box(-1, 1, (2,)), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2)],
    ids=lambda space: type(space).__name__,
)
def test_an_agent_learns_and_acts_under_autocast(core: CoreName, action_space: spaces.Space[Any]) -> None:
    model, recorder = agent(core, Chooses(action_space), learning_rate=0.01), Recorder()
    with torch.autocast("cpu", torch.bfloat16):
        model.learn(20, recorder)
        actions, state = model.predict(model._last_obs)  # type: ignore[arg-type]
        model.predict(model._last_obs, state)  # type: ignore[arg-type]
    assert model._n_updates == 4
    assert recorder.rollouts[0]["values"].dtype == torch.float32
    assert actions[0] in action_space


def test_an_agent_learns_the_maze_under_autocast() -> None:
    env = make_vec_env("PlasticMaze-v0", 3, seed=1, size=5, episode_length=7)
    kwargs = {"hidden_size": 7, **maze_settings.POLICY}
    model = RecurrentA2C("PlasticPolicy", env, n_steps=10, policy_kwargs=kwargs)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.learn(60).num_timesteps == 60

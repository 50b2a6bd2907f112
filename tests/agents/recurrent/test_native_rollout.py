"""Playing a rollout in one compiled loop against stepping policy and maze in turn."""

import copy
from contextlib import nullcontext
from io import BytesIO
from typing import Any

import gymnasium as gym
import maze_settings
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    EveryNTimesteps,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.env_util import make_vec_env as ordinary_vec_env
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecEnvWrapper, VecNormalize
from torch.nn.utils import prune

from plasticrl.agents import PlasticPolicy, RecurrentA2C, RecurrentPPO
from plasticrl.agents.recurrent import on_policy_algorithm
from plasticrl.agents.recurrent.native_rollout import (
    Played,
    Replay,
    Watch,
    can_play,
    computing,
    unmodified,
)
from plasticrl.envs import MazeConfig, make_vec_env
from plasticrl.envs.maze.env import MazeDynamics, PlasticMazeVectorEnv
from plasticrl.nn import Plasticity, PlasticRNN
from plasticrl.rules import Hebb, Oja

CORES = ("plastic", "homogeneous", "rnn", "plastic_lstm", "plastic_gru")
ARRAYS = ("observations", "actions", "rewards", "episode_starts", "values", "returns", "advantages")
RULES = ("hebb", "oja", "clipped")


class Stepwise(VecEnvWrapper):
    """Changes nothing, but hides the maze, so that it has to be stepped."""

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        return self.venv.step_wait()


class Recorder(BaseCallback):
    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.stop_at = stop_at
        self.rollouts: list[dict[str, Any]] = []
        self.steps: list[tuple[Any, ...]] = []

    def _on_step(self) -> bool:
        found = self.locals
        ends = [(i, info["episode"]["r"]) for i, info in enumerate(found["infos"]) if "episode" in info]
        self.steps.append((self.num_timesteps, found["rewards"].tolist(), found["dones"].tolist(), ends))
        return self.n_calls != self.stop_at

    def _on_rollout_end(self) -> None:
        kept = vars(self.model.rollout_buffer)
        self.rollouts.append(
            {name: kept[name].copy() for name in ARRAYS} | {"outputs": kept["outputs"].numpy()}
        )


def trained(
    stepwise: bool,
    n_steps: int,
    total: int,
    callback: Any,
    core: str,
    n_envs: int = 3,
    kind: Any = RecurrentA2C,
    maze: dict[str, Any] | None = None,
    **more: Any,
) -> Any:
    maze = {"size": 5, "episode_length": 20, **(maze or {})}
    env = make_vec_env("PlasticMaze-v0", n_envs=n_envs, seed=5, **maze)
    kwargs = {"core": core, "hidden_size": 19, **maze_settings.POLICY, **more}
    if core != "rnn":
        kwargs["eta"] = 0.1
    model = kind(
        "PlasticPolicy",
        Stepwise(env) if stepwise else env,
        n_steps=n_steps,
        policy_kwargs=kwargs,
        learning_rate=1e-2,
        seed=2,
    )
    assert can_play(model.policy, model.env) != stepwise
    return model.learn(total, callback)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n_steps", [20, 33, 7])  # whole episodes, more, less
def test_playing_ahead_is_stepping(core, rule, n_steps):
    more = {} if core == "rnn" else {"rule": rule}
    check_playing_ahead(core, n_steps, **more)


@pytest.mark.parametrize("n_steps", [20, 33, 7])
@pytest.mark.parametrize(
    "maze",
    [
        {"relocate_every": 1},
        {"relocate_every": 3},
        {"random_layout": True},
        {"random_layout": True, "episode_length": 1},
        {"random_layout": True, "relocate_every": 3, "reward_on_border": True, "observe_time": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [RecurrentA2C, RecurrentPPO])
def test_playing_ahead_is_stepping_in_other_mazes(n_steps, maze, kind):
    check_playing_ahead("plastic", n_steps, kind=kind, maze=maze)


@pytest.mark.parametrize("core", CORES)
def test_playing_ahead_among_random_layouts_is_stepping_with_every_core(core):
    check_playing_ahead(core, 33, maze={"random_layout": True})


def check_playing_ahead(core, n_steps, **more):
    records = [Recorder(), Recorder()]
    models = [
        trained(stepwise, n_steps, 4 * 3 * n_steps, record, core, **more)
        for stepwise, record in zip((False, True), records, strict=True)
    ]
    for ahead, stepped in zip(records[0].rollouts, records[1].rollouts, strict=True):
        for name in ("observations", "actions", "rewards", "episode_starts"):
            np.testing.assert_array_equal(ahead[name], stepped[name], err_msg=name)
        for name in ("outputs", "values", "returns", "advantages"):
            np.testing.assert_allclose(ahead[name], stepped[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert records[0].steps == records[1].steps
    for one, other in zip(models[0].core_state, models[1].core_state, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("core", CORES)
def test_a_run_that_a_callback_stops_goes_on_from_there(core):
    models = []
    for stepwise in (False, True):
        model = trained(stepwise, 33, 10_000, Recorder(stop_at=45), core)
        assert model.num_timesteps == 45 * 3
        models.append(model)
    np.testing.assert_array_equal(models[0]._last_obs, models[1]._last_obs)
    for one, other in zip(models[0].core_state, models[1].core_state, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


class BreaksOff(BaseCallback):
    """Ends a run in its third step: by returning False, or by an exception."""

    def __init__(self, error: type[BaseException] | None) -> None:
        super().__init__()
        self.error = error

    def _on_step(self) -> bool:
        if self.n_calls == 3 and self.error is not None:
            raise self.error
        return self.n_calls < 3


def broken_off(core: str, error: type[BaseException] | None, *, stepwise: bool = False) -> RecurrentA2C:
    more = {"eta": 0.1} if core in ("plastic", "homogeneous") else {}
    env = make_vec_env("PlasticMaze-v0", n_envs=2, seed=5, size=5, episode_length=20)
    model = RecurrentA2C(
        "PlasticPolicy",
        Stepwise(env) if stepwise else env,
        n_steps=10,
        learning_rate=1e-2,
        seed=2,
        policy_kwargs={"core": core, "hidden_size": 9, **maze_settings.POLICY, **more},
    ).learn(20)
    with pytest.raises(error) if error else nullcontext():
        model.learn(200, BreaksOff(error), reset_num_timesteps=False)
    assert model.num_timesteps == 20 + 2 * 3
    return model


class SavesAtTheStart(BaseCallback):
    def _on_training_start(self) -> None:
        self.file = BytesIO()
        self.model.save(self.file, exclude=["ep_info_buffer"])  # it tells times of day

    def _on_step(self) -> bool:
        return True


def gone_on(model: RecurrentA2C) -> tuple[bytes, dict[str, torch.Tensor]]:
    """The checkpoint from which a model goes on, and its parameters after that."""
    save = SavesAtTheStart()
    model.learn(60, save, reset_num_timesteps=False)
    return save.file.getvalue(), model.policy.state_dict()


def check_same(
    one: tuple[bytes, dict[str, torch.Tensor]], other: tuple[bytes, dict[str, torch.Tensor]]
) -> None:
    assert one[0] == other[0]
    for name, tensor in one[1].items():
        assert torch.equal(tensor, other[1][name]), name


@pytest.mark.parametrize("core", [*CORES, "lstm"])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_run_that_an_exception_breaks_off_goes_on_as_one_that_a_callback_stops(core, error):
    stopped = gone_on(broken_off(core, None))
    check_same(gone_on(broken_off(core, error)), stopped)


@pytest.mark.parametrize("core", CORES)
def test_after_an_exception_the_core_s_state_is_that_of_the_steps_taken(core):
    ahead, stepped = (broken_off(core, ZeroDivisionError, stepwise=stepwise) for stepwise in (False, True))
    for one, other in zip(ahead.core_state, stepped.core_state, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_an_interrupt_while_playing_ahead_leaves_the_state_as_it_was(monkeypatch):
    model = broken_off("plastic", None)
    before = [part.clone() for part in model.core_state]

    def interrupted(policy, env, state, *rest):
        for part in state:
            part.fill_(torch.nan)
        raise KeyboardInterrupt

    monkeypatch.setattr(on_policy_algorithm, "play_ahead", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.learn(60, reset_num_timesteps=False)
    for one, other in zip(model.core_state, before, strict=True):
        assert torch.equal(one, other)


def test_an_interrupt_of_going_back_is_made_good_when_training_goes_on(monkeypatch):
    stopped = gone_on(broken_off("plastic", None))
    with monkeypatch.context() as patch:
        patch.setattr(RecurrentA2C, "_settle", lambda self: None)
        interrupted = broken_off("plastic", ZeroDivisionError)
    check_same(gone_on(interrupted), stopped)


def test_another_env_may_follow_an_interrupt_of_going_back(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(RecurrentA2C, "_settle", lambda self: None)
        model = broken_off("plastic", ZeroDivisionError)
    model.set_env(make_vec_env("PlasticMaze-v0", n_envs=3, size=5, episode_length=20))
    assert model.core_state is None
    model.learn(60, SavesAtTheStart())


def test_sb3_callbacks_see_every_step():
    stop = StopTrainingOnMaxEpisodes(4)
    model = trained(False, 100, 100_000, stop, "plastic")
    assert model.num_timesteps == 20 * 3 * 4  # four episodes of each maze


def test_what_is_not_the_plain_case_is_stepped():
    env = make_vec_env("PlasticMaze-v0", n_envs=2)

    def policy(kind: Any = PlasticPolicy, **more: Any) -> PlasticPolicy:
        kwargs = {"hidden_size": 8, "normalize_observations": False, **more}
        return RecurrentA2C(kind, env, policy_kwargs=kwargs).policy

    class Own(PlasticPolicy):
        pass

    assert can_play(policy(), env)
    assert can_play(policy(normalize_returns=False), env)
    assert not can_play(policy(normalize_observations=True), env)
    assert not can_play(policy(), VecNormalize(env))
    assert not can_play(policy(), make_vec_env("CartPole-v1"))
    assert not can_play(policy(core="lstm"), env)
    assert not can_play(policy(Own), env)
    assert not can_play(policy().double(), env)


def test_a_play_with_many_mazes_and_threads_is_the_same():
    torch.set_num_threads(2)
    records = [Recorder(), Recorder()]
    for stepwise, record in zip((False, True), records, strict=True):
        trained(stepwise, 40, 40 * 40, record, "plastic", n_envs=40, hidden_size=64)
    np.testing.assert_array_equal(records[0].rollouts[0]["actions"], records[1].rollouts[0]["actions"])


@pytest.mark.parametrize("seed", range(3))
def test_actions_have_the_policy_s_probabilities(seed):
    torch.manual_seed(seed)
    env = make_vec_env("PlasticMaze-v0", n_envs=2)
    policy = RecurrentA2C("PlasticPolicy", env, policy_kwargs={"hidden_size": 8, "ortho_init": False}).policy
    outputs = torch.randn(1, 8).expand(40_000, 8) * 4
    wanted = policy.distribution(outputs[:1]).distribution.probs[0]
    counts = torch.bincount(policy.sample(outputs), minlength=4)
    spread = (wanted * (1 - wanted) / len(outputs)).sqrt()
    assert ((counts / len(outputs) - wanted).abs() < 5 * spread + 1e-9).all()


class Shifted(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.arange(self.out_features)


def first_is_likelier(module, inputs, logits):
    return logits + torch.tensor([3.0, 0, 0, 0])


def stronger(module, inputs):
    return (inputs[0] * 3,)


def no_change(agent, patch):
    pass


def hook_on_the_head(agent, patch):
    agent.policy.action_net.register_forward_hook(first_is_likelier)


def hook_before_the_head(agent, patch):
    agent.policy.action_net.register_forward_pre_hook(stronger)


def hook_on_the_input_layer(agent, patch):
    agent.policy.core.in_proj.register_forward_hook(lambda module, inputs, drive: drive.flip(-1))


def hook_on_the_features(agent, patch):
    agent.policy.features_extractor.flatten.register_forward_hook(lambda *_: 1 - _[2])


def hook_on_the_core(agent, patch):
    agent.policy.core.register_forward_hook(lambda module, inputs, found: (found[0] * 2, found[1]))


def hook_for_all(agent, patch):
    def shift(module, inputs, found):
        return found + torch.arange(4) if module is agent.policy.action_net else None

    handle = torch.nn.modules.module.register_module_forward_hook(shift)
    patch.setattr(agent, "_unhook", handle.remove, raising=False)


def another_class_of_head(agent, patch):
    agent.policy.action_net = Shifted(8, 4)


def deeper_head(agent, patch):
    agent.policy.action_net = torch.nn.Sequential(
        torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4)
    )


def head_without_bias(agent, patch):
    agent.policy.action_net = torch.nn.Linear(8, 4, bias=False)


def input_layer_without_bias(agent, patch):
    agent.policy.core.in_proj = torch.nn.Linear(agent.policy.core.input_size, 8, bias=False)


def new_head(agent, patch):
    agent.policy.action_net = torch.nn.Linear(8, 4)


def double_head(agent, patch):
    class Double(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x.double()).float()

    agent.policy.action_net = Double(8, 4, dtype=torch.float64)


def parametrized(agent, patch):
    class Halved(torch.nn.Module):
        def forward(self, weight):
            return weight * -5

    torch.nn.utils.parametrize.register_parametrization(agent.policy.core.in_proj, "weight", Halved())


def weight_norm(agent, patch):
    torch.nn.utils.parametrizations.weight_norm(agent.policy.core.in_proj)
    with torch.no_grad():
        agent.policy.core.in_proj.parametrizations.weight.original0.mul_(4)


def pruned(agent, patch):
    prune.l1_unstructured(agent.policy.core.in_proj, "weight", 0.7)


def own_sample(agent, patch):
    sample = agent.policy.sample
    agent.policy.sample = lambda outputs: (sample(outputs) + 1) % 4


def own_distribution(agent, patch):
    distribution = agent.policy.distribution
    agent.policy.distribution = lambda outputs: distribution(outputs * 0 + torch.arange(8.0))


def own_action_dist(agent, patch):
    class Greedy(CategoricalDistribution):
        def sample(self):
            return self.mode()

    agent.policy.action_dist = Greedy(4)


def own_sample_of_the_distribution(agent, patch):
    agent.policy.action_dist.sample = lambda: agent.policy.action_dist.mode()


def sample_of_the_class(agent, patch):
    original = PlasticPolicy.sample
    patch.setattr(PlasticPolicy, "sample", lambda self, outputs: (original(self, outputs) + 1) % 4)


def linear_of_the_class(agent, patch):
    original = torch.nn.Linear.forward
    patch.setattr(
        torch.nn.Linear, "forward", lambda self, x: original(self, x) + torch.arange(self.out_features)
    )


def features_of_the_class(agent, patch):
    original = PlasticPolicy.extract_features
    patch.setattr(
        PlasticPolicy, "extract_features", lambda self, obs, extractor=None: 1 - original(self, obs)
    )


def step_of_the_core_s_class(agent, patch):
    original = PlasticRNN.step_
    patch.setattr(PlasticRNN, "step_", lambda self, x, state, reset: original(self, x * 2, state, reset))


def coefficients_of_the_core(agent, patch):
    coefficients = agent.policy.core.coefficients
    agent.policy.core.coefficients = lambda: tuple(one * 2 for one in coefficients())


def eta_of_the_class(agent, patch):
    patch.setattr(Plasticity, "eta", property(lambda self: torch.sigmoid(self.eta_raw + 2)))


def own_rule(agent, patch):
    class Fading(Hebb):
        def update(self, trace, pre, post, eta):
            return super().update(trace, pre, post, eta) / 2

    agent.policy.core.plasticity.rule = Fading()


def other_rule(agent, patch):
    agent.policy.core.plasticity.rule = Oja()


def other_backend(agent, patch):
    agent.policy.core.backend = "reference"


def own_extractor(agent, patch):
    class Doubled(FlattenExtractor):
        def forward(self, obs):
            return super().forward(obs) * 2

    agent.policy.features_extractor = Doubled(agent.observation_space)


def weights_in_place(agent, patch):
    with torch.no_grad():
        agent.policy.action_net.weight.normal_()
        agent.policy.core.plasticity.alpha.mul_(30)


def weights_past_autograd(agent, patch):
    agent.policy.core.in_proj.weight.data.mul_(-3)
    agent.policy.action_net.weight.detach().numpy()[2] = 1


def other_parameter(agent, patch):
    agent.policy.core.weight_hh = torch.nn.Parameter(torch.randn(8, 8))


def other_parameters(agent, patch):
    with torch.no_grad():
        agent.policy.load_state_dict({k: v + 0.3 for k, v in agent.policy.state_dict().items()})


def other_policy(agent, patch):
    old = agent.policy
    spaces = agent.observation_space, agent.action_space
    agent.policy = PlasticPolicy(*spaces, lambda _: 0.01, hidden_size=8, **maze_settings.POLICY)
    assert old.core.hidden_size == 8


def random_numbers_drawn(agent, patch):
    torch.randn(3)


def reseeded(agent, patch):
    torch.manual_seed(7)


CHANGES = [
    no_change, hook_on_the_head, hook_before_the_head, hook_on_the_input_layer, hook_on_the_features,
    hook_on_the_core, hook_for_all, another_class_of_head, deeper_head, head_without_bias,
    input_layer_without_bias, new_head, double_head, parametrized, weight_norm, pruned, own_sample,
    own_distribution, own_action_dist, own_sample_of_the_distribution, sample_of_the_class,
    linear_of_the_class, features_of_the_class, step_of_the_core_s_class, coefficients_of_the_core,
    eta_of_the_class, own_rule, other_rule, other_backend, own_extractor, weights_in_place,
    weights_past_autograd, other_parameter, other_parameters, other_policy,
    random_numbers_drawn, reseeded,
]  # fmt: skip


class Changes(Recorder):
    """Changes something when the rollout of this number begins, ends, or has made this many steps."""

    def __init__(self, change: Any, patch: pytest.MonkeyPatch, rollout: int, when: str | int) -> None:
        super().__init__()
        self.change, self.patch, self.at = change, patch, (rollout, when)
        self.rollout = self.step = 0
        self.actions: list[Any] = []

    def _change_at(self, when: str | int) -> None:
        if (self.rollout, when) == self.at:
            self.change(self.model, self.patch)
            policy: Any = self.model.policy
            trained = policy.optimizer.param_groups[0]["params"]
            if list(map(id, trained)) != list(map(id, policy.parameters())):  # there are other layers now
                policy.optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)

    def _on_rollout_start(self) -> None:
        self.rollout += 1
        self.step = 0
        self._change_at("start")

    def _on_step(self) -> bool:
        self.step += 1
        self.actions.append(self.locals["actions"].copy())
        self._change_at(self.step)
        return super()._on_step()

    def _on_rollout_end(self) -> None:
        super()._on_rollout_end()
        self._change_at("end")


def changed(
    change: Any, rollout: int, when: str | int, *, native: bool = True
) -> tuple[Changes, RecurrentA2C]:
    maze = {"size": 5, "episode_length": 9}
    env = (
        make_vec_env("PlasticMaze-v0", n_envs=3, seed=5, **maze)
        if native
        else ordinary_vec_env("PlasticMaze-v0", 3, seed=5, env_kwargs=maze)
    )
    policy = {"hidden_size": 8, "eta": 0.1, "init": "normal", "init_scale": 0.4, **maze_settings.POLICY}
    agent = RecurrentA2C("PlasticPolicy", env, n_steps=7, policy_kwargs=policy, seed=2, learning_rate=1e-2)
    assert can_play(agent.policy, agent.env) == native
    with torch.no_grad():
        agent.policy.action_net.weight.normal_()
    with pytest.MonkeyPatch.context() as patch:
        seen = Changes(change, patch, rollout, when)
        try:
            agent.learn(4 * 7 * 3, seen)
        finally:
            getattr(agent, "_unhook", lambda: None)()
    return seen, agent


@pytest.mark.parametrize(
    ("rollout", "when"), [(1, "start"), (2, "start"), (2, 1), (2, 4), (2, 7), (2, "end")]
)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_takes_effect_where_it_does_in_an_ordinary_vec_env(change, rollout, when):
    """Before training, between rollouts and within one; the update learns from what was seen, too."""
    if change is weights_past_autograd and isinstance(when, int):
        with pytest.raises(RuntimeError, match="changed the policy within a rollout"):
            changed(change, rollout, when)
        return
    native, agent = changed(change, rollout, when, native=True)
    ordinary, other = changed(change, rollout, when, native=False)
    np.testing.assert_array_equal(native.actions, ordinary.actions)
    for one, expected in zip(native.rollouts, ordinary.rollouts, strict=True):
        for name in ("observations", "actions", "rewards", "episode_starts"):
            np.testing.assert_array_equal(one[name], expected[name], err_msg=name)
        for name in ("outputs", "values", "returns"):
            np.testing.assert_allclose(one[name], expected[name], rtol=1e-3, atol=1e-4, err_msg=name)
    for (name, one), expected in zip(agent.policy.named_parameters(), other.policy.parameters(), strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-2, atol=1e-3, msg=lambda m, n=name: f"{n}: {m}")
    for one, expected in zip(agent.core_state, other.core_state, strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("rollout", "when"), [(1, "start"), (2, 4), (2, "end")])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("native", [False, True])
def test_an_update_learns_what_it_would_without_the_rollout_s_outputs(
    change, rollout, when, native, monkeypatch
):
    if native and change is weights_past_autograd and isinstance(when, int):
        pytest.skip("raises, as tested above")
    quick = changed(change, rollout, when, native=native)[1]
    monkeypatch.setattr(Replay, "holds", lambda *given: False)
    plain = changed(change, rollout, when, native=native)[1]
    for one, expected in zip(quick.policy.parameters(), plain.policy.parameters(), strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-2, atol=1e-3)


def test_where_nothing_changes_every_step_is_played_ahead_and_nothing_is_computed_twice(monkeypatch):
    went_on, again = [], []
    goes_on, holds = Played.goes_on, Replay.holds
    monkeypatch.setattr(Played, "goes_on", lambda *given: went_on.append(goes_on(*given)) or went_on[-1])
    monkeypatch.setattr(Replay, "holds", lambda *given: again.append(holds(*given)) or again[-1])
    changed(no_change, 1, "start")
    assert went_on == [True] * 28
    assert again == [True] * 4


@pytest.mark.parametrize(
    "maze", [{"random_layout": True}, {"random_layout": True, "relocate_every": 4}], ids=str
)
@pytest.mark.parametrize("kind", [RecurrentA2C, RecurrentPPO])
def test_among_random_layouts_every_step_is_played_ahead(kind, maze, monkeypatch):
    """Also where a rollout holds the end of two episodes."""
    went_on, goes_on = [], Played.goes_on
    monkeypatch.setattr(Played, "goes_on", lambda *given: went_on.append(goes_on(*given)) or went_on[-1])
    trained(False, 50, 4 * 3 * 50, None, "plastic_lstm", kind=kind, maze=maze)
    assert went_on == [True] * 200


@pytest.mark.parametrize("rollout", [1, 2])
def test_a_change_that_no_step_notices_is_no_silent_one(rollout):
    """One of ten thousand weights, past torch's counter: found at the end, before anything is learned."""

    class Pokes(BaseCallback):
        def _on_step(self) -> bool:
            if self.n_calls == 10 * rollout - 3:
                self.model.policy.core.weight_hh.data[37, 41] = 5
            return True

    env = make_vec_env("PlasticMaze-v0", n_envs=2, seed=5, size=5, episode_length=10)
    kwargs = {"hidden_size": 100, **maze_settings.POLICY}
    agent = RecurrentA2C("PlasticPolicy", env, n_steps=10, policy_kwargs=kwargs, seed=2)
    with pytest.raises(RuntimeError, match=r"changed the policy within a rollout.*torch.no_grad\(\)"):
        agent.learn(100, Pokes())
    assert (agent.num_timesteps, agent._n_updates) == (20 * rollout, rollout - 1)
    assert agent.learn(40, reset_num_timesteps=False)._n_updates == rollout + 1


@pytest.mark.parametrize("at", [2, 5])
def test_a_hidden_change_is_no_silent_one_where_a_counted_one_follows(at):
    class Pokes(BaseCallback):
        def _on_step(self) -> bool:
            if self.n_calls == at:
                self.model.policy.core.weight_hh.data[3, 4] = 5
            if self.n_calls == at + 2:
                with torch.no_grad():
                    self.model.policy.action_net.weight.mul_(2)
            return True

    with pytest.raises(RuntimeError, match="changed the policy within a rollout"):
        trained(False, 20, 200, Pokes(), "plastic")


def stronger_head(model: RecurrentA2C) -> None:
    with torch.no_grad():
        model.policy.action_net.weight[0].add_(3)


def by_a_callback_of_sb3(model: RecurrentA2C, at: int) -> BaseCallback:
    callback, n = CheckpointCallback(10**9, "unused"), 0

    def on_step() -> bool:
        nonlocal n
        n += 1
        if n == at:
            stronger_head(model)
        return True

    callback._on_step = on_step  # type: ignore[method-assign]
    return callback


def by_an_env(method: str) -> Any:
    def patch(model: RecurrentA2C, at: int) -> None:
        outer = method == "step" or not isinstance(model.env, Stepwise)
        holder: Any = model.env if outer else model.env.venv
        holder = holder.env if method == "env.step" else holder
        original, n = getattr(holder, method.split(".")[-1]), 0

        def changes(*given: Any) -> Any:
            nonlocal n
            n += 1
            if n == at:
                stronger_head(model)
            return original(*given)

        setattr(holder, method.split(".")[-1], changes)

    return patch


def by_a_logger(model: RecurrentA2C, at: int) -> BaseCallback:
    """A function of the package's own module that someone has replaced."""
    every = EveryNTimesteps(3 * at, StopTrainingOnMaxEpisodes(10**9))
    original = every.callback.on_step

    def on_step() -> bool:
        stronger_head(model)
        return original()

    every.callback.on_step = on_step  # type: ignore[method-assign]
    return every


@pytest.mark.parametrize("at", [5, 20, 27])
@pytest.mark.parametrize(
    "change",
    [by_a_callback_of_sb3, by_a_logger, *map(by_an_env, ("step", "step_wait", "step_async", "env.step"))],
    ids=["callback", "inner callback", "step", "step_wait", "step_async", "step of the batch"],
)
def test_whoever_changes_the_policy_changes_what_is_done(change, at):
    found = []
    for stepwise in (False, True):
        model = small_agent(stepwise)
        record = Recorder()
        callback = change(model, at)
        found.append((record, model.learn(4 * 3 * 20, [record, *([callback] if callback else [])])))
    check_alike(*found)


def small_agent(stepwise: bool, kind: type[RecurrentA2C] = RecurrentA2C) -> RecurrentA2C:
    env = make_vec_env("PlasticMaze-v0", n_envs=3, seed=5, size=5, episode_length=9)
    policy = {"hidden_size": 8, "eta": 0.1, **maze_settings.POLICY}
    return kind("PlasticPolicy", Stepwise(env) if stepwise else env, n_steps=20, policy_kwargs=policy, seed=2)


def check_alike(one: tuple[Recorder, RecurrentA2C], other: tuple[Recorder, RecurrentA2C]) -> None:
    for ahead, stepped in zip(one[0].rollouts, other[0].rollouts, strict=True):
        for name in ("observations", "actions", "episode_starts"):
            np.testing.assert_array_equal(ahead[name], stepped[name], err_msg=name)
        for name in ("rewards", "outputs", "values", "returns"):
            np.testing.assert_allclose(ahead[name], stepped[name], rtol=1e-4, atol=1e-5, err_msg=name)
    for name, tensor in one[1].policy.state_dict().items():
        torch.testing.assert_close(tensor, other[1].policy.state_dict()[name], rtol=1e-3, atol=1e-5)
    for part, expected in zip(one[1].core_state, other[1].core_state, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-5)


class Lazy(RecurrentA2C):
    def _sampled(self, outputs):
        return torch.zeros(len(outputs), dtype=torch.long)


@pytest.mark.parametrize("where", ["subclass", "object", "class", "within a rollout"])
def test_an_agent_that_draws_actions_in_another_way_does_so(where, monkeypatch):
    class Late(BaseCallback):
        def _on_step(self) -> bool:
            if self.n_calls == 5 and where == "within a rollout":
                self.model._sampled = lambda outputs: Lazy._sampled(None, outputs)
            return True

    if where == "class":
        monkeypatch.setattr(RecurrentA2C, "_sampled", Lazy._sampled)
    found = []
    for stepwise in (False, True):
        model = small_agent(stepwise, Lazy if where == "subclass" else RecurrentA2C)
        if where == "object":
            model._sampled = lambda outputs: Lazy._sampled(None, outputs)
        record = Recorder()
        found.append((record, model.learn(2 * 3 * 20, [record, Late()])))
    assert not found[0][0].rollouts[1]["actions"].any()
    check_alike(*found)


def test_autocast_that_begins_within_a_rollout_takes_effect():
    class Begins(BaseCallback):
        def _on_step(self) -> bool:
            if self.n_calls == 5:
                torch.set_autocast_enabled("cpu", True)
            return self.n_calls < 15

    found = []
    for stepwise in (False, True):
        model = small_agent(stepwise)
        try:
            found.append((Recorder(), model.learn(60, Begins())))
        finally:
            torch.set_autocast_enabled("cpu", False)
    check_alike(*found)


def of_the_agent(model: RecurrentA2C) -> Any:
    return model._state


def of_the_start(model: RecurrentA2C) -> Any:
    return model.rollout_buffer.state


def of_other_outputs(model: RecurrentA2C) -> Any:
    model.rollout_buffer.outputs = model.rollout_buffer.outputs.clone()
    return []


def of_the_outputs(model: RecurrentA2C) -> Any:
    return [model.rollout_buffer.outputs]


class Clears(Recorder):
    """Sets tensors to zero in place, when the rollout begins or has made this many steps."""

    def __init__(self, tensors: Any, when: str | int) -> None:
        super().__init__()
        self.tensors, self.when = tensors, when

    def _clear(self, when: str | int) -> None:
        if when == self.when:
            for tensor in self.tensors(self.model):
                tensor.zero_()

    def _on_rollout_start(self) -> None:
        if self.num_timesteps:
            self._clear("start")

    def _on_step(self) -> bool:
        self._clear(self.n_calls)
        return super()._on_step()


@pytest.mark.parametrize("at", [5, 20, 33])
@pytest.mark.parametrize("tensors", [of_the_agent, of_the_start, of_the_outputs, of_other_outputs])
def test_a_core_that_is_changed_in_place_within_a_rollout_is_no_silent_change(tensors, at):
    with pytest.raises(RuntimeError, match="changed the core's state or outputs within a rollout"):
        small_agent(stepwise=False).learn(120, Clears(tensors, at))


@pytest.mark.parametrize("when", ["start", 5, 33])
def test_the_core_s_state_is_given_as_a_copy(when):
    found = []
    for callback in (lambda: Clears(lambda model: model.core_state, when), Recorder):
        for stepwise in (False, True):
            record = callback()
            found.append((record, small_agent(stepwise).learn(120, record)))
    for other in found[1:]:
        check_alike(found[0], other)


@pytest.mark.parametrize("replays", [True, False])
def test_a_state_that_is_changed_when_a_rollout_begins_is_that_which_it_begins_with(replays, monkeypatch):
    if not replays:
        monkeypatch.setattr(Replay, "holds", lambda *given: False)
    found = []
    for stepwise in (False, True):
        record = Clears(of_the_agent, "start")
        found.append((record, small_agent(stepwise).learn(180, record)))
    check_alike(*found)
    agent = found[0][1]
    assert not any(part.any() for part in agent.rollout_buffer.state)


def test_what_python_keeps_in_a_class_is_no_change():
    policy = small_agent(stepwise=False).policy
    watch = Watch(computing(policy))
    copy.deepcopy(policy.core.in_proj)
    for kind in type(policy.core).__mro__:
        getattr(kind, "__annotations__", None)
    assert watch.unchanged()
    assert unmodified(computing(policy))


class Doubled(gym.vector.VectorWrapper):
    def step(self, actions):
        obs, *rest = super().step(actions)
        return obs * 2, *rest


def step_of_the_batch(env, patch):
    maze = env.env
    step = maze.step

    def doubled(actions):
        obs, *rest = step(actions)
        return obs * 2, *rest

    patch.setattr(maze, "step", doubled)


def step_of_the_adapter(env, patch):
    step_wait = env.step_wait

    def shifted():
        obs, rewards, dones, infos = step_wait()
        return obs + 1, rewards - 1, dones, infos

    patch.setattr(env, "step_wait", shifted)


def step_of_the_class_of_batches(env, patch):
    step = PlasticMazeVectorEnv.step

    def flipped(self, actions):
        return step(self, 3 - actions)

    patch.setattr(PlasticMazeVectorEnv, "step", flipped)


def wrapped_batch(env, patch):
    patch.setattr(env, "env", Doubled(env.env))


def other_dynamics(env, patch):
    patch.setattr(env.env, "dynamics", MazeDynamics(MazeConfig(size=5, episode_length=9, reward=3.0)))


def dynamics_of_a_subclass(env, patch):
    class Mirrored(MazeDynamics):
        def step(self, state, action, rngs):
            return super().step(state, 3 - action, rngs)

    patch.setattr(env.env, "dynamics", Mirrored(env.env.config))


def step_of_the_class_of_dynamics(env, patch):
    step = MazeDynamics.step
    patch.setattr(MazeDynamics, "step", lambda self, state, action, rngs: step(self, state, 3 - action, rngs))


def other_table(env, patch):
    tables = env.env.dynamics.one_layout
    patch.setattr(env.env.dynamics, "one_layout", tables._replace(rewards=tables.rewards + 0.25))


def earlier_end(env, patch):
    """A time limit that someone puts on the batch itself: what it cuts off is bootstrapped."""
    maze = env.env
    step, n = maze.step, 0

    def cut(actions):
        nonlocal n
        n += 1
        obs, rewards, ended, truncated, infos = step(actions)
        if n % 5 == 0 and not ended[0]:
            whole = np.ones(len(obs), dtype=bool)
            rows = np.empty(len(obs), dtype=object)
            rows[:] = list(obs)
            infos = {"final_obs": rows, "_final_obs": whole, "final_info": {}, "_final_info": whole}
            obs, truncated = maze.reset()[0], whole
        return obs, rewards, ended, truncated, infos

    patch.setattr(maze, "step", cut)


def started_again(env, patch):
    env.reset()


def random_numbers_of_a_maze(env, patch):
    env.env._rngs[1].random(3)


def own_attribute(env, patch):
    env.set_attr("episodes_of_mine", 3)


@pytest.mark.parametrize("at", [1, 4, 7, 9, 10, 17])
@pytest.mark.parametrize(
    "change",
    [
        step_of_the_batch, step_of_the_adapter, step_of_the_class_of_batches, wrapped_batch, other_dynamics,
        dynamics_of_a_subclass, step_of_the_class_of_dynamics, other_table, earlier_end, started_again,
        random_numbers_of_a_maze, own_attribute,
    ],
)  # fmt: skip
def test_what_the_envs_really_do_is_what_is_learned_from(change, at):
    """A callback changes the mazes; with a wrapper around them all steps are taken one after the other."""
    found = []
    for stepwise in (False, True):
        env = make_vec_env("PlasticMaze-v0", n_envs=3, seed=5, size=5, episode_length=9)
        seen = EnvChanges(change, env, at)
        agent = RecurrentA2C(
            "PlasticPolicy",
            Stepwise(env) if stepwise else env,
            n_steps=7,
            policy_kwargs={"hidden_size": 8, "eta": 0.1, **maze_settings.POLICY},
            seed=2,
        )
        with pytest.MonkeyPatch.context() as seen.patch:
            found.append((seen, agent.learn(4 * 7 * 3, seen)))
    (ahead, one), (stepped, other) = found
    assert ahead.steps == stepped.steps
    for rollout, expected in zip(ahead.rollouts, stepped.rollouts, strict=True):
        for name in ("observations", "actions", "episode_starts"):
            np.testing.assert_array_equal(rollout[name], expected[name], err_msg=name)
        for name in ("rewards", "outputs", "values", "returns"):
            np.testing.assert_allclose(rollout[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)
    for state, expected in zip(one.core_state, other.core_state, strict=True):
        torch.testing.assert_close(state, expected, rtol=1e-4, atol=1e-5)


class EnvChanges(Recorder):
    patch: pytest.MonkeyPatch

    def __init__(self, change: Any, env: Any, at: int) -> None:
        super().__init__()
        self.change, self.env, self.at = change, env, at

    def _on_step(self) -> bool:
        if self.n_calls == self.at:
            self.change(self.env, self.patch)
        return super()._on_step()

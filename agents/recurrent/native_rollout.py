"""Shortcuts of a rollout, and the guard that allows them.

A whole rollout on the native maze is played ahead of the envs, and an update takes over the outputs of the
rollout. Both hold for networks that compute what the source of their classes says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import is_
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from plasticrl.agents.common.distributed import ALONE, Ranks
from plasticrl.agents.common.feature_extractors import DictExtractor, SmallCNN
from plasticrl.agents.recurrent.native_rollout_kernel import play
from plasticrl.agents.recurrent.normalization import Moments, ObservationNormalizer
from plasticrl.agents.recurrent.policies import PlasticPolicy, draws_from_softmax
from plasticrl.agents.recurrent.rollout import Actor, Record, Rollout
from plasticrl.envs.common.vec_env import VectorEnvAdapter
from plasticrl.envs.maze.config import MazeTables
from plasticrl.envs.maze.env import MazeDynamics, PlasticMazeVectorEnv
from plasticrl.envs.maze.kernel import Stretch, stretches
from plasticrl.nn import PlasticGRU, Plasticity, PlasticLSTM, PlasticRNN
from plasticrl.nn.plastic_rnn import HOOKS, PlasticCore, hooks_for_all
from plasticrl.ops.numba import engine as native
from plasticrl.ops.problem import Problem, state_of
from plasticrl.rules import has_numbers
from plasticrl.state import PlasticLSTMState, RecurrentState

# They compute the same in training and evaluation, without random numbers; with all their attributes' names.
_NAMES = {
    kind: frozenset(dir(kind))
    for kind in (
        PlasticPolicy, PlasticRNN, PlasticLSTM, PlasticGRU, Plasticity,
        ObservationNormalizer, Moments, FlattenExtractor, CombinedExtractor, NatureCNN, SmallCNN,
        DictExtractor, nn.Conv2d, nn.Flatten, nn.Linear, nn.ModuleDict, nn.ModuleList, nn.ReLU, nn.Sequential,
    )
}  # fmt: skip
# These classes and those they derive from, as they were when this module was imported.
_ORIGINAL = {base: dict(vars(base)) for base in chain.from_iterable(kind.__mro__[:-1] for kind in _NAMES)}
_COMPUTING = ("__call__", "__getattr__", "__setattr__")  # other special methods, torch.compile replaces some


def unmodified(modules: Iterable[Any]) -> bool:
    """Return True if each module computes what its class's source says, the same at every call.

    Return False if a module is of an unknown class (including a subclass of a known one), has a hook or an
    attribute that hides one of its class, or if a method of its class was replaced, or if global hooks for
    all modules are registered.
    """
    modules = list(modules)
    return (
        all(
            type(module) in _NAMES
            and _NAMES[type(module)].isdisjoint(vars(module))
            and not any(vars(module)[name] for name in HOOKS)
            for module in modules
        )
        and not hooks_for_all()
        and _methods_hold(_bases(modules))
    )


def _bases(modules: Sequence[nn.Module]) -> list[type]:
    return list(dict.fromkeys(chain.from_iterable(type(module).__mro__[:-1] for module in modules)))


def _methods_hold(bases: Iterable[type]) -> bool:
    for base in bases:
        if vars(base) != _ORIGINAL[base]:
            now = dict(vars(base))
            if _computing_part(now) != _computing_part(_ORIGINAL[base]):
                return False
            _ORIGINAL[base] = now
    return True


def _computing_part(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name[:2] != "__" or name in _COMPUTING}


def computing(policy: Any) -> list[Any]:
    """The policy and the layers that decide an action; the policy alone where it is of another class."""
    if type(policy) is not PlasticPolicy:
        return [policy]
    normalizer = policy.observation_normalizer
    return [
        policy,
        *([] if normalizer is None else normalizer.modules()),
        *policy.features_extractor.modules(),
        *policy.core.modules(),
        policy.action_net,
    ]


def mark(tensors: Iterable[Tensor]) -> list[tuple[int, int]]:
    """Identity and version of tensors; another mark means another tensor or a change that torch counts."""
    return [(id(tensor), tensor._version) for tensor in tensors]


class Watch:
    """Notices that modules which are :func:`unmodified` are no longer what they were.

    It sees their attributes, layers, hooks, methods, parameters and buffers.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        own = [vars(module) for module in modules]
        inner = [one[name] for one in own for name in ("_parameters", "_buffers", "_modules", *HOOKS)]
        self._dicts = own + inner
        self._sizes = list(map(len, self._dicts))
        self._values = [one.values() for one in self._dicts if one]
        self._held = list(chain.from_iterable(self._values))
        self._bases = _bases(modules)
        self._parameters = [held for held in self._held if isinstance(held, Tensor)]
        self._copies = [parameter.detach().clone() for parameter in self._parameters]
        self._versions = [parameter._version for parameter in self._parameters]

    def unchanged(self) -> bool:
        """False after any change that Python or torch count; cheap enough for every step."""
        return (
            list(map(len, self._dicts)) == self._sizes
            and all(map(is_, chain.from_iterable(self._values), self._held))
            and [parameter._version for parameter in self._parameters] == self._versions
            and not hooks_for_all()
            and _methods_hold(self._bases)
        )

    def no_hidden_change(self) -> bool:
        """False where torch did not count that a parameter changed, as through ``.data`` or numpy."""
        return all(
            parameter._version != version or _equal(parameter, copy)
            for parameter, version, copy in zip(self._parameters, self._versions, self._copies, strict=True)
        )


def _equal(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one, other) or torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


class Replay:
    """Check that a rollout's outputs are what the update would compute again.

    Args:
        policy: the policy that begins the rollout.
        rollout: what it fills; its ``state`` is set.
    """

    def __init__(self, policy: Any, rollout: Rollout) -> None:
        self._policy, self._rollout, self._start = policy, rollout, rollout.state
        modules = computing(policy)
        self._watch = Watch(modules) if unmodified(modules) else None
        self._start_mark = mark(self._start)
        self._results: tuple[Tensor, ...] = ()
        self._results_mark: list[tuple[int, int]] = []

    def note_results(self, final: Iterable[Tensor]) -> None:
        """Take note of the rollout's outputs and of the state after its last step."""
        self._results = (self._rollout.outputs, *final)
        self._results_mark = mark(self._results)

    def holds(self, policy: Any, rollout: Rollout, final: Iterable[Tensor]) -> bool:
        """False where that is not known: the update must then run the core again."""
        return (
            self._watch is not None
            and policy is self._policy
            and rollout is self._rollout
            and mark(rollout.state) == self._start_mark
            and mark((rollout.outputs, *final)) == self._results_mark
            and rollout.is_as_put()
            and self._watch.unchanged()
            and self._watch.no_hidden_change()
        )


class Played:
    """The next T steps of the policy in B mazes, as long as nothing is changed meanwhile.

    Args:
        policy: the policy that played.
        problem: the recurrence of all T steps, with copies of the parameters; its state is not used.
        record: the observations, actions and inner values of all steps.
        outputs: the core's outputs ``(T, B, hidden_size)``.
        noise: the random numbers that decided the actions.
        start: the core's state before the first step.
        final: the core's state after the last step.

    Attributes:
        taken: number of steps that the envs have taken.
    """

    taken = 0

    def __init__(
        self,
        policy: PlasticPolicy,
        problem: Problem,
        record: Record,
        outputs: Tensor,
        noise: Noise,
        start: RecurrentState,
        final: RecurrentState,
    ) -> None:
        self.outputs, self.final = outputs, final
        self._policy, self._problem, self._record, self._noise = policy, problem, record, noise
        self._start = start
        self._as_planned = True  # torch's random numbers are those that the actions were drawn with
        self._watch = Watch(computing(policy))

    def actions(self, t: int) -> npt.NDArray[np.int64]:
        """Return the actions of step t, ``(B,)``; call it for each step in turn."""
        actions: npt.NDArray[np.int64] = self._record.actions[t]
        own = self._noise.draw()
        if own.tobytes() != self._noise.own[t].tobytes():
            self._as_planned = False
            with torch.no_grad():
                shares = torch.softmax(self._policy.action_net(self.outputs[t]), dim=-1)
            actions = (shares / torch.from_numpy(own)).argmax(dim=-1).numpy()
        return actions

    def goes_on(self, policy: object, t: int, obs: object, starts: npt.NDArray[np.bool_]) -> bool:
        """True where the steps after t are still those that stepping would take.

        Args:
            policy: the agent's policy now.
            t: the step that was taken.
            obs: the envs' observations after it.
            starts: true where they began an episode.
        """
        record = self._record
        return (
            isinstance(obs, np.ndarray)
            and obs.tobytes() == record.observations[t + 1].tobytes()
            and starts.tobytes() == record.starts[t + 1].tobytes()
            and policy is self._policy
            and self._as_planned
            and self._watch.unchanged()
            and draws_from_softmax(self._policy)
            and not torch.is_autocast_enabled("cpu")
        )

    def check(self) -> None:
        """Make sure that no step up to here had other parameters than those played with.

        Raises:
            RuntimeError: they were changed in a way that no step noticed.
        """
        if not self._watch.no_hidden_change():
            raise RuntimeError(
                "a callback changed the policy within a rollout where torch does not count it (.data, "
                "numpy): change it under torch.no_grad(), or in on_rollout_start or on_rollout_end"
            )

    def state(self) -> RecurrentState:
        """Return the core's state after the steps taken."""
        p, steps, start = self._problem, self.taken, self._start
        if not steps:
            return type(start)(*(part.clone() for part in start))
        problem = p._replace(
            drive=p.drive[:steps],
            reset=None if p.reset is None else p.reset[:steps],
            hidden=start.hidden,
            memory=_memory(start),
            trace=start.trace,
        )
        _, memory, trace, _ = native.run(problem)
        return state_of(
            self.outputs[steps - 1].clone(), memory, trace if p.alpha is not None else start.trace.clone()
        )


class Noise:
    """The random numbers that ``torch.multinomial`` draws at each of T steps.

    Drawn in one piece they would be others. They are drawn for all processes, so that they stay the same on
    each. Torch's generator is left as it was: the numbers are drawn again, step by step.
    """

    def __init__(self, n_steps: int, batch: int, n_actions: int, ranks: Ranks) -> None:
        self._row = native.empty(batch * ranks.size, n_actions)
        self._share = ranks.share(batch * ranks.size)
        self.own: npt.NDArray[np.float32] = np.empty((n_steps, batch, n_actions), dtype=np.float32)
        with torch.random.fork_rng(devices=[]):
            for row in self.own:
                row[:] = self.draw()

    def draw(self) -> npt.NDArray[np.float32]:
        """Draw the numbers of the next step, ``(B, A)``; the next call overwrites them."""
        drawn: npt.NDArray[np.float32] = self._row.exponential_().numpy()[self._share]
        return drawn


def can_play(policy: BasePolicy, env: VecEnv) -> bool:
    """Return True if :func:`play_ahead` does what stepping would do.

    This holds for a :class:`PlasticPolicy` with a plastic core on the CPU, in float32, without normalized
    observations, on the package's own batched maze without wrappers, provided that all of them behave as
    their classes say. Only those parts of the envs that playing reads are checked here; their behaviour is
    compared step by step.
    """
    if type(env) is not VectorEnvAdapter or type(env.env) is not PlasticMazeVectorEnv:
        return False
    maze, modules = env.env, computing(policy)
    dynamics = maze.dynamics
    return (
        vars(env).keys().isdisjoint(("step", "step_async", "step_wait"))
        and isinstance(policy, PlasticPolicy)
        and type(policy.core) in _CORES
        and list(map(type, modules)) == [*_BEFORE, type(policy.core), *_AFTER]
        and unmodified(modules)
        and draws_from_softmax(policy)
        and isinstance(policy.core, PlasticCore)
        and policy.core.backend == "auto"
        and has_numbers(policy.core.plasticity.rule)
        and not torch.is_autocast_enabled("cpu")
        and type(dynamics) is MazeDynamics
        and maze.config is dynamics.config
        and _sizes_fit(policy, policy.core, dynamics.observation_space.shape[0])
        and (dynamics.one_layout is None or _tables_fit(dynamics, dynamics.one_layout))
    )


def _tables_fit(dynamics: MazeDynamics, tables: MazeTables) -> bool:
    """True where the kernel, which does not check its indices, can read the tables of the only layout."""
    squares, observed = dynamics.n_squares, dynamics.observation_space.shape
    return (
        tables.next_square.shape == tables.rewards.shape == tables.observations.shape[:1] == (4 * squares,)
        and tables.windows.shape == (squares, 9)
        and tables.observations.shape[1:] == tables.start_observation.shape[1:] == observed
    )


_CORES = (PlasticRNN, PlasticLSTM, PlasticGRU)
_BEFORE, _AFTER = [PlasticPolicy, FlattenExtractor, nn.Flatten], [nn.Linear, Plasticity, nn.Linear]


def _sizes_fit(policy: PlasticPolicy, core: PlasticCore, observed: int) -> bool:
    """True where the kernel can read the parameters: it gets bare addresses."""
    n, alpha, eta = core.hidden_size, core.plasticity.alpha, core.plasticity.eta_raw
    rows = core.rows
    wanted: list[tuple[Any, tuple[int, ...]]] = [(core.weight_hh, (rows, n))]
    if core.cell.inputs:
        wanted.append((core.bias_hn, (n,)))
    for layer, sizes in ((core.in_proj, (rows, observed)), (policy.action_net, (4, n))):
        wanted += [(getattr(layer, "weight", None), sizes), (getattr(layer, "bias", None), sizes[:1])]
    if alpha is not None:
        wanted += [(alpha, (n, n) if alpha.ndim else ()), (eta, ())]
    return core.plasticity.trace_shape(n, n) == ((0, 0) if alpha is None else (n, n)) and all(
        type(tensor) in (nn.Parameter, Tensor)
        and tensor.shape == shape
        and tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        for tensor, shape in wanted
    )


def arrays_fit(env: VecEnv, state: Any, obs: Any) -> bool:
    """Return True if the kernel can read the episodes' arrays; otherwise, stepping says what is wrong."""
    return (
        isinstance(obs, np.ndarray)
        and obs.shape == (env.num_envs, *(env.observation_space.shape or ()))
        and obs.dtype == np.float32
        and isinstance(state, RecurrentState)
        and all(len(part) == env.num_envs for part in state)
        and all(s.is_contiguous() and s.dtype == torch.float32 for s in state)
    )


def play_ahead(
    policy: PlasticPolicy,
    env: VecEnv,
    state: RecurrentState,
    start: RecurrentState,
    obs: npt.NDArray[np.float32],
    starts: npt.NDArray[np.bool_],
    n_steps: int,
    ranks: Ranks = ALONE,
) -> Played:
    """Play the policy's next steps; the envs and torch's generator are left as they are.

    The random numbers are those that stepping would draw from the mazes' generators and torch's, so
    stepping the envs with these actions gives the recorded observations.

    Args:
        policy: the policy; :func:`can_play` must hold for it and the envs.
        env: the mazes.
        state: the core's state, changed to that after the last step.
        start: a copy of it.
        obs: the envs' observations ``(B, D)``.
        starts: bool ``(B,)``, true where an episode starts.
        n_steps: T.
        ranks: the processes that play together, each with its own B mazes; by default there is one.
    """
    assert isinstance(env, VectorEnvAdapter)
    assert isinstance(env.env, PlasticMazeVectorEnv)
    assert isinstance(policy.core, PlasticCore)
    core, maze = policy.core, env.env
    batch, n = len(obs), core.hidden_size
    outputs = native.empty(n_steps, batch, n)
    record = Record(
        observations=np.empty((n_steps + 1, *obs.shape), dtype=np.float32),
        starts=np.empty((n_steps + 1, batch), dtype=np.bool_),
        drive=np.empty((n_steps, batch, core.input_layer()[0].shape[0]), dtype=np.float32),
        outputs=outputs.numpy(),
        actions=np.empty((n_steps, batch), dtype=np.int64),
    )
    record.observations[0], record.starts[0] = obs, starts
    with torch.no_grad():
        weight, bias = core.input_layer()
        assert isinstance(policy.action_net, nn.Linear)
        actor = Actor(
            _transposed(weight), bias.numpy(),
            _transposed(policy.action_net.weight), policy.action_net.bias.numpy(),
        )  # fmt: skip
        alpha, eta = core.coefficients()
        problem = Problem(
            torch.from_numpy(record.drive), core.weight_hh.clone(), None if alpha is None else alpha.clone(),
            eta.clone(), state.hidden, _memory(state), state.trace,
            torch.from_numpy(record.starts[:-1]), None, core.plasticity.rule, core.cell, core.modulation,
        )  # fmt: skip
        noise = Noise(n_steps, batch, len(actor.action_bias), ranks)
        trace = state.trace if alpha is None else native.padded(state.trace)
        call = native.kernel_call(problem, _memory(state), trace, outputs, None)
        samples, uniform = native.split_batch(problem), maze.upcoming(n_steps)

        def play_stretch(stretch: Stretch) -> None:
            world = (stretch.mazes, stretch.positions, uniform, noise.own)
            native.run_parallel(
                lambda k: play(*call.arguments, samples[k], stretch.steps, actor, *world, record),
                len(samples),
                (call.memory, actor, world, record),
            )

        for stretch in stretches(maze, uniform, record.observations):
            play_stretch(stretch)
        state.hidden.copy_(outputs[-1])
        if alpha is not None:
            state.trace.copy_(trace[..., :n])
    return Played(policy, problem, record, outputs, noise, start, state)


def _memory(state: RecurrentState) -> Tensor | None:
    return state.cell if isinstance(state, PlasticLSTMState) else None


def _transposed(weight: Tensor) -> npt.NDArray[Any]:
    return weight.T.contiguous().numpy()

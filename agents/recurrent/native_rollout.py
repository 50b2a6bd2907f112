"""Plays a whole rollout on the native maze ahead of the envs, if the policy and the envs allow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from plasticrl.agents.common.distributed import ALONE, Ranks
from plasticrl.agents.recurrent.as_written import Values, Watch, as_written
from plasticrl.agents.recurrent.policies import PlasticPolicy
from plasticrl.envs.common.vec_env import VectorEnvAdapter
from plasticrl.envs.maze.dynamics import MazeDynamics
from plasticrl.envs.maze.env import PlasticMazeVectorEnv
from plasticrl.nn.plastic_rnn import PlasticRNN
from plasticrl.ops.numba.buffers import empty
from plasticrl.ops.numba.threads import split_batch
from plasticrl.ops.problem import FUSED_RULES, Problem
from plasticrl.state import PlasticState

if TYPE_CHECKING:
    from plasticrl.agents.recurrent.native_rollout_kernel import Record


class Played:
    """Result of playing T steps of B mazes ahead; it is valid as long as nothing changes meanwhile.

    Args:
        policy: the policy that played.
        problem: the recurrence of all T steps, with copies of the parameters; its state is not used.
        record: observations, episode starts and actions.
        outputs: the core's outputs ``(T, B, hidden_size)``.
        noise: the random numbers that decided the actions.
        watched: a callback may change the policy or draw torch's random numbers between two steps.
    """

    def __init__(
        self,
        policy: PlasticPolicy,
        problem: Problem,
        record: Record,
        outputs: Tensor,
        noise: Noise,
        watched: bool,
    ) -> None:
        self.outputs, self.watched = outputs, watched
        self._policy, self._problem, self._record, self._noise = policy, problem, record, noise
        self._same_noise = True  # torch's random numbers are those that the actions were drawn with
        if watched:
            modules = _playing(policy)
            self._watch, self._values = Watch(modules, policy.action_dist), Values(modules)
            noise.rewind(0)

    def actions(self, t: int) -> npt.NDArray[np.int64]:
        """Return the actions of step t, ``(B,)``; call it for each step in turn."""
        actions: npt.NDArray[np.int64] = self._record.actions[t]
        if self.watched:
            own = self._noise.draw()
            if own.tobytes() != self._noise.own[t].tobytes():
                self._same_noise = False
                with torch.no_grad():
                    shares = torch.softmax(self._policy.action_net(self.outputs[t]), dim=-1)
                actions = (shares / torch.from_numpy(own)).argmax(dim=-1).numpy()
        return actions

    def goes_on(self, policy: object, t: int, obs: object, starts: npt.NDArray[np.bool_]) -> bool:
        """Return True if stepping the policy and the envs would still give the recorded steps after t.

        Args:
            policy: the agent's current policy.
            t: the last step taken.
            obs: the envs' actual observations after it.
            starts: the envs' actual episode starts after it.
        """
        record = self._record
        return (
            isinstance(obs, np.ndarray)
            and obs.tobytes() == record.observations[t + 1].tobytes()
            and starts.tobytes() == record.starts[t + 1].tobytes()
            and (
                not self.watched or (policy is self._policy and self._same_noise and self._watch.unchanged())
            )
        )

    def state_after(self, steps: int, state: PlasticState) -> PlasticState:
        """Return the core's state after ``steps`` steps, at least 1, given the state before the first."""
        from plasticrl.ops.numba import engine as native

        p = self._problem
        trace = state.trace.clone()
        problem = p._replace(
            drive=p.drive[:steps], reset=None if p.reset is None else p.reset[:steps], hidden=state.hidden
        )
        native.run_in_place(problem, trace, torch.empty_like(problem.drive))
        return PlasticState(self.outputs[steps - 1].clone(), trace)

    def hand_over(self, steps: int) -> None:
        """Set torch's generator to its state after ``steps`` steps."""
        if not self.watched:  # if watched, it is in that state already
            self._noise.rewind(steps)

    def check_end(self) -> None:
        """Check that the policy is unchanged since the rollout was played.

        Raises:
            RuntimeError: it was changed in a way that was not detected at any step.
        """
        if self.watched and not (self._values.hold() and as_written(_playing(self._policy))):
            raise RuntimeError(
                "a callback changed the policy within a rollout in a way that torch does not count (.data, "
                "numpy, a class): change it under torch.no_grad(), or in on_rollout_start or on_rollout_end"
            )


class Noise:
    """The random numbers that ``torch.multinomial`` draws at each of T steps.

    They are drawn step by step, since a single draw for all steps would give other numbers, and by each
    process for all processes, so that the generators stay the same.
    """

    def __init__(self, n_steps: int, batch: int, n_actions: int, ranks: Ranks) -> None:
        self._before = torch.get_rng_state()
        self._row = empty(batch * ranks.size, n_actions)
        self._share = ranks.share(batch * ranks.size)
        self.own: npt.NDArray[np.float32] = np.empty((n_steps, batch, n_actions), dtype=np.float32)
        for row in self.own:
            row[:] = self.draw()

    def draw(self) -> npt.NDArray[np.float32]:
        """Draw the numbers of the next step, ``(B, A)``; the next call overwrites them."""
        drawn: npt.NDArray[np.float32] = self._row.exponential_().numpy()[self._share]
        return drawn

    def rewind(self, steps: int) -> None:
        """Set torch's generator to its state after ``steps`` steps."""
        torch.set_rng_state(self._before)
        for _ in range(steps):
            self._row.exponential_()


def can_play(policy: BasePolicy, env: VecEnv) -> bool:
    """Return True if :func:`play_ahead` gives the same result as stepping.

    This holds for a :class:`PlasticPolicy` with a :class:`PlasticRNN` on the CPU, in float32, on the
    package's own batched maze without wrappers, provided that all of them behave as their classes say. Only
    those parts of the envs that playing reads are checked here; their behaviour is compared step by step.
    """
    if type(env) is not VectorEnvAdapter or type(env.env) is not PlasticMazeVectorEnv:
        return False
    maze = env.env
    dynamics = maze.dynamics
    return (
        as_written(_playing(policy))
        and isinstance(policy, PlasticPolicy)
        and type(policy.action_dist) is CategoricalDistribution
        and vars(policy.action_dist).keys() <= {"action_dim", "distribution"}
        and isinstance(policy.core, PlasticRNN)
        and policy.core.backend == "auto"
        and type(policy.core.plasticity.rule) in FUSED_RULES
        and _sizes_fit(policy, policy.core, len(dynamics.start_observation))
        and not torch.is_autocast_enabled("cpu")
        and type(dynamics) is MazeDynamics
        and maze.config is dynamics.config
        and dynamics.next_square.shape == dynamics.rewards.shape == dynamics.observations.shape[:1]
        and len(dynamics.rewards) == 4 * len(dynamics.layout.windows)
        and dynamics.observations.shape[1:] == dynamics.start_observation.shape
    )


def _playing(policy: Any) -> list[Any]:
    """Return the modules that decide an action; None for those that the policy lacks."""
    core = getattr(policy, "core", None)
    extractor = getattr(policy, "features_extractor", None)
    return [
        policy, extractor, getattr(extractor, "flatten", None), core, getattr(core, "in_proj", None),
        getattr(core, "plasticity", None), getattr(policy, "action_net", None),
    ]  # fmt: skip


def _sizes_fit(policy: PlasticPolicy, core: PlasticRNN, observed: int) -> bool:
    """Return True if the parameters have the layout that the kernel expects, which gets only addresses."""
    n, alpha, eta = core.hidden_size, core.plasticity.alpha, core.plasticity.eta_raw
    wanted: list[tuple[Any, tuple[int, ...]]] = [(core.weight_hh, (n, n))]
    for layer, sizes in ((core.in_proj, (n, observed)), (policy.action_net, (4, n))):
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


def play_ahead(
    policy: PlasticPolicy,
    env: VecEnv,
    state: PlasticState,
    obs: npt.NDArray[np.float32],
    starts: npt.NDArray[np.bool_],
    n_steps: int,
    ranks: Ranks = ALONE,
    watched: bool = True,
) -> Played:
    """Play the next steps of the policy without changing the envs.

    The random numbers are those that stepping would draw from the mazes' generators and torch's, so
    stepping the envs with these actions gives the recorded observations.

    Args:
        policy: the policy; :func:`can_play` must hold for it and the envs.
        env: the mazes.
        state: the core's state; changed in place to the state after the last step.
        obs: the envs' observations ``(B, D)``.
        starts: bool ``(B,)``, true where an episode starts.
        n_steps: T.
        ranks: the processes that play together, each with its own B mazes. Default: a single one.
        watched: a callback may change the policy or draw torch's random numbers between two steps. If True,
            torch's generator is left in its state before the first step, and :meth:`Played.actions` advances
            it step by step; if False, it is left in its state after the last step.
    """
    from plasticrl.agents.recurrent.native_rollout_kernel import (  # numba loads when first needed
        Actor,
        Record,
        play,
    )
    from plasticrl.envs.maze.kernel import maze_tables
    from plasticrl.ops.numba import engine as native
    from plasticrl.ops.numba.threads import run_parallel

    assert isinstance(env, VectorEnvAdapter)
    assert isinstance(env.env, PlasticMazeVectorEnv)
    assert isinstance(policy.core, PlasticRNN)
    core, maze, at = policy.core, env.env, env.env.state
    batch, n = len(obs), core.hidden_size
    outputs = empty(n_steps, batch, n)
    record = Record(
        observations=np.empty((n_steps + 1, *obs.shape), dtype=np.float32),
        starts=np.empty((n_steps + 1, batch), dtype=np.bool_),
        drive=np.empty((n_steps, batch, n), dtype=np.float32),
        outputs=outputs.numpy(),
        actions=np.empty((n_steps, batch), dtype=np.int64),
    )
    record.observations[0], record.starts[0] = obs, starts
    with torch.no_grad():
        assert core.in_proj is not None
        assert isinstance(policy.action_net, nn.Linear)
        actor = Actor(
            _transposed(core.in_proj.weight), core.in_proj.bias.numpy(),
            _transposed(policy.action_net.weight), policy.action_net.bias.numpy(),
        )  # fmt: skip
        alpha, eta = core.coefficients()
        problem = Problem(
            torch.from_numpy(record.drive), core.weight_hh.clone(), None if alpha is None else alpha.clone(),
            eta.clone(), state.hidden, state.trace, torch.from_numpy(record.starts[:-1]), None,
            core.plasticity.rule,
        )  # fmt: skip
        noise = Noise(n_steps, batch, len(actor.action_bias), ranks)
        world = (
            maze_tables(maze.dynamics),
            np.stack([at.square, at.goal, at.step], axis=1),
            maze.upcoming(n_steps),
            noise.own,
        )
        call = native.kernel_call(problem, state.trace, outputs)
        samples = split_batch(n_steps, batch, n)
        run_parallel(
            lambda k: play(*call.arguments, samples[k], actor, *world, record),
            len(samples),
            (call.memory, actor, world, record),
        )
        state.hidden.copy_(outputs[-1])
    return Played(policy, problem, record, outputs, noise, watched)


def _transposed(weight: Tensor) -> npt.NDArray[Any]:
    return weight.T.contiguous().numpy()

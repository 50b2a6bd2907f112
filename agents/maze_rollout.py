"""Plays a whole rollout on the native maze ahead of the envs, where policy and world allow it."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from plasticrl.agents.data_parallel import ALONE, Ranks
from plasticrl.agents.policy import PlasticPolicy
from plasticrl.envs.maze_vector import PlasticMazeVectorEnv
from plasticrl.envs.sb3_vec_env import VectorEnvAdapter
from plasticrl.nn.plastic_rnn import PlasticRNN
from plasticrl.ops.pieces import split_batch
from plasticrl.ops.problem import FUSED_RULES, Problem
from plasticrl.state import PlasticState


class Played(NamedTuple):
    """What the policy does in the next T steps of B mazes."""

    actions: npt.NDArray[np.int64]  # (T, B)
    outputs: Tensor  # (T, B, hidden_size)


def can_play(policy: PlasticPolicy, env: VecEnv) -> bool:
    """Whether :func:`play_ahead` does what stepping would do.

    It does for a :class:`PlasticPolicy` with a :class:`PlasticRNN` on the CPU, in float32, on the
    package's own batched maze without wrappers.
    """
    core = policy.core
    return (
        type(env) is VectorEnvAdapter
        and type(env.env) is PlasticMazeVectorEnv
        and type(policy) is PlasticPolicy
        and type(policy.features_extractor) is FlattenExtractor
        and type(core) is PlasticRNN
        and core.in_proj is not None
        and core.backend == "auto"
        and type(core.plasticity.rule) in FUSED_RULES
        and core.weight_hh.device.type == "cpu"
        and all(parameter.dtype == torch.float32 for parameter in policy.parameters())
    )


def play_ahead(
    policy: PlasticPolicy,
    env: VecEnv,
    state: PlasticState,
    obs: npt.NDArray[np.float32],
    starts: npt.NDArray[np.bool_],
    n_steps: int,
    ranks: Ranks = ALONE,
) -> Played:
    """What the policy would do if it were stepped from here; the envs are left as they are.

    The mazes' own generators and torch's decide as they would step by step, so stepping the envs with
    these actions gives what the policy saw.

    Args:
        policy: the policy; :func:`can_play` must hold for it and the envs.
        env: the mazes.
        state: the core's state, changed to that after the last step.
        obs: the envs' observations ``(B, D)``.
        starts: bool ``(B,)``, true where an episode starts.
        n_steps: T.
        ranks: the processes that play together, each with its own B mazes; by default there is one.
    """
    from plasticrl.agents.maze_rollout_kernel import Actor, Record, play  # numba loads when first needed
    from plasticrl.envs.maze_kernel import maze_tables
    from plasticrl.ops import native
    from plasticrl.ops.threads import run_parallel

    assert isinstance(env, VectorEnvAdapter)
    assert isinstance(env.env, PlasticMazeVectorEnv)
    assert isinstance(policy.core, PlasticRNN)
    core, maze, at = policy.core, env.env, env.env.state
    batch, n = len(obs), core.hidden_size
    outputs = torch.empty(n_steps, batch, n)
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
        assert isinstance(policy.action_net, torch.nn.Linear)
        actor = Actor(
            _transposed(core.in_proj.weight), core.in_proj.bias.numpy(),
            _transposed(policy.action_net.weight), policy.action_net.bias.numpy(),
        )  # fmt: skip
        alpha, eta = core.coefficients()
        problem = Problem(
            torch.from_numpy(record.drive), core.weight_hh, alpha, eta, state.hidden, state.trace,
            torch.from_numpy(record.starts[:-1]), None, core.plasticity.rule,
        )  # fmt: skip
        world = (
            maze_tables(maze.dynamics),
            np.stack([at.square, at.goal, at.step], axis=1),
            maze.upcoming(n_steps),
            _noise(n_steps, batch, len(actor.action_bias), ranks),
        )
        call = native.kernel_call(problem, state.trace, outputs)
        samples = split_batch(n_steps, batch, n)
        run_parallel(
            lambda k: play(*call.arguments, samples[k], actor, *world, record),
            len(samples),
            (call.memory, actor, world, record),
        )
        state.hidden.copy_(outputs[-1])
    return Played(record.actions, outputs)


def _transposed(weight: Tensor) -> npt.NDArray[Any]:
    return weight.T.contiguous().numpy()


def _noise(n_steps: int, batch: int, n_actions: int, ranks: Ranks) -> npt.NDArray[np.float32]:
    """What ``torch.multinomial`` draws at each step; drawn in one piece it would be other numbers.

    It is drawn for all processes, so that they stay the same on each.
    """
    noise = torch.empty(n_steps, batch * ranks.size, n_actions)
    for row in noise:
        row.exponential_()
    return noise[:, ranks.share(batch * ranks.size)].contiguous().numpy()

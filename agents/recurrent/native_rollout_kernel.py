"""A whole rollout on the maze in one compiled loop, one maze after the other.

Stepping all mazes side by side streams every trace through memory at every step. Here the trace of one
maze stays in the processor's cache for all of its steps.
"""

from math import exp

import numpy as np
from numpy.typing import NDArray

from plasticrl.agents.recurrent.rollout import Actor, Record
from plasticrl.envs.maze.kernel import MazePosition, MazeTables, maze_step
from plasticrl.ops.numba.forward import Addresses, forward
from plasticrl.ops.numba.plain import plain_forward
from plasticrl.ops.numba.vectors import Range, kernel


@kernel
def play(
    addresses: Addresses,
    eta: np.float32,
    decay: tuple[bool, np.float32],
    limit: np.float32 | None,
    shape: tuple[int, int, int],
    samples: Range,
    actor: Actor,
    tables: MazeTables,
    positions: NDArray[np.intp],
    uniform: NDArray[np.float64],
    noise: NDArray[np.float32],
    record: Record,
) -> None:
    """Play T steps in the mazes of the range ``samples``.

    The first six arguments are those of the core's kernel, with the addresses of the record's drive,
    starts and outputs. ``positions`` (B, 3) holds the square, goal and step of each maze, ``uniform`` (B, U)
    the numbers in [0, 1) that each maze draws next, enough for T steps, and ``noise`` (T, B, A) the random
    numbers that decide the actions.
    """
    steps, _, n = shape
    whole = (0, n)
    logits = np.empty(len(actor.action_bias), np.float32)
    for b in range(samples[0], samples[1]):
        at = MazePosition(positions[b, 0], positions[b, 1], positions[b, 2], 0)
        for t in range(steps):
            _drive(actor, record.observations[t, b], record.drive[t, b])
            if addresses.alpha:
                forward(addresses, eta, decay, limit, shape, (b, b + 1), (t, t + 1), whole)
            else:
                plain_forward(addresses, eta, decay, limit, shape, (b, b + 1), (t, t + 1), whole)
            _logits(actor, record.outputs[t, b], logits)
            action = _choose(logits, noise[t, b])
            record.actions[t, b] = action
            at, _, ended = maze_step(tables, at, action, uniform[b], record.observations[t + 1, b])
            record.starts[t + 1, b] = ended


@kernel
def _drive(actor: Actor, observation: NDArray[np.float32], drive: NDArray[np.float32]) -> None:
    for i in range(len(drive)):
        drive[i] = actor.in_bias[i]
    for d in range(len(observation)):
        value = observation[d]
        if value != 0:
            for i in range(len(drive)):
                drive[i] += value * actor.in_weight[d, i]


@kernel
def _logits(actor: Actor, outputs: NDArray[np.float32], logits: NDArray[np.float32]) -> None:
    for a in range(len(logits)):
        logits[a] = actor.action_bias[a]
    for i in range(len(outputs)):
        for a in range(len(logits)):
            logits[a] += outputs[i] * actor.action_weight[i, a]


@kernel
def _choose(logits: NDArray[np.float32], noise: NDArray[np.float32]) -> int:
    """Draw an action as ``torch.multinomial`` does: the highest ratio of probability to noise wins."""
    highest = logits.max()
    action, most = 0, -1.0
    for a in range(len(logits)):
        share = exp(logits[a] - highest) / noise[a]
        if share > most:
            action, most = a, share
    return action

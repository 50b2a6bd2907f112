"""A whole rollout on the maze in one compiled loop, one maze after the other.

Stepping all mazes side by side streams every trace through memory at every step. Here the trace of one
maze stays in the processor's cache for all of its steps.
"""

from math import exp

import numpy as np
from numpy.typing import NDArray

from plasticrl.agents.recurrent.rollout import Actor, Record
from plasticrl.envs.maze.kernel import MazePosition, Mazes, maze_of, maze_step
from plasticrl.ops.numba.forward import Addresses, forward
from plasticrl.ops.numba.kernel_data import RNN, Numbers, Sizes
from plasticrl.ops.numba.plain import plain_forward
from plasticrl.ops.numba.vectors import Range, kernel


@kernel
def play(
    addresses: Addresses,
    rule: Numbers,
    limit: np.float32 | None,
    sizes: Sizes,
    samples: Range,
    steps: Range,
    actor: Actor,
    mazes: Mazes,
    positions: NDArray[np.intp],
    uniform: NDArray[np.float64],
    noise: NDArray[np.float32],
    record: Record,
) -> None:
    """Play the range ``steps`` of T steps in the mazes of the range ``samples``.

    The first five arguments are those of the core's kernel, with the addresses of the record's drive,
    starts and outputs. ``positions`` (B, 4) holds the square, goal and step of each maze and the random
    numbers that it has used, before the range; it is changed to those after it. ``uniform`` (B, U) are the
    numbers in [0, 1) that each maze draws, enough for T steps, and ``noise`` (T, B, A) the random numbers
    that decide the actions.
    """
    whole = (0, sizes.n)
    plain = not addresses.alpha and sizes.cell == RNN
    logits = np.empty(len(actor.action_bias), np.float32)
    for b in range(samples[0], samples[1]):
        maze = maze_of(mazes, b)
        at = MazePosition(positions[b, 0], positions[b, 1], positions[b, 2], positions[b, 3])
        for t in range(steps[0], steps[1]):
            _drive(actor, record.observations[t, b], record.drive[t, b])
            if plain:
                plain_forward(addresses, rule, limit, sizes, (b, b + 1), (t, t + 1), whole)
            else:
                forward(addresses, rule, limit, sizes, (b, b + 1), (t, t + 1), whole)
            _logits(actor, record.outputs[t, b], logits)
            action = _choose(logits, noise[t, b])
            record.actions[t, b] = action
            at, _, ended = maze_step(maze, at, action, uniform[b], record.observations[t + 1, b])
            record.starts[t + 1, b] = ended
        positions[b, 0], positions[b, 1], positions[b, 2], positions[b, 3] = at


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

"""Inputs, outputs and scratch memory of the backward kernel: sizes and addresses.

Passing addresses costs nothing; arrays would be reference-counted at every call.
"""

from typing import NamedTuple

import numpy as np


class Problem(NamedTuple):
    """Inputs of the backward pass; ``m`` is n padded to the vector width."""

    steps: int  # T
    batch: int  # B
    n: int
    m: int
    eta: np.float32
    oja: bool
    decay: np.float32
    w: int  # m m
    alpha: int  # m m
    hidden: int  # B n
    trace: int  # B n n
    reset: int  # T B or 0
    clamp: int  # T B n or 0
    outputs: int  # T B n
    d_outputs: int  # T B n
    d_last_hidden: int  # B n
    d_last_trace: int  # B n n or 0


class Gradients(NamedTuple):
    """Outputs of the backward pass."""

    drive: int  # T B n
    alpha: int  # m m, added to
    eta: int  # 1 float64, added to
    hidden: int  # B n
    trace: int  # B n n or 0


class Scratch(NamedTuple):
    """Working memory of one sample.

    The rows of ``pre``, ``gain`` and ``keep`` are the steps -1 .. T. The two outer ones stand for the time
    before and after: no input, and an unchanged trace.
    """

    block: int
    parts: int
    pre: int  # (T + 2) m: x, 0 before and after
    gain: int  # (T + 2) m: eta y, 0 before and after
    keep: int  # (T + 2) m: factor of the old trace, 1 before and after
    checkpoints: int  # ceil(T / block) m m, zeroed: traces before steps 0, block, 2 block ..
    history: int  # block m m, zeroed: traces before each step of one block
    adjoint: int  # m m, zeroed: adjoint of the trace
    d_pre: int  # 2 parts m: adjoint of x, for even and odd steps, so that one barrier per step suffices
    delta: int  # m, zeroed: adjoint of tanh's argument
    adjoint_pre: int  # m, zeroed: adjoint times x, for the next step
    adjoint_trace: int  # m, zeroed: row sums of adjoint * trace, for the next step

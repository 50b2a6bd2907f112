"""What the backward kernel reads, writes and works in: sizes and addresses.

Addresses cost nothing to pass on; arrays would be reference-counted at every call.
"""

from typing import NamedTuple

import numpy as np


class Problem(NamedTuple):
    """What is differentiated. ``m`` is n padded to the vector width."""

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
    """What is written."""

    drive: int  # T B n
    alpha: int  # m m, added to
    eta: int  # 1 float64, added to
    hidden: int  # B n
    trace: int  # B n n or 0


class Scratch(NamedTuple):
    """Working memory of one sample.

    The rows of ``pre``, ``gain`` and ``keep`` are the steps -1 .. T, of which the two outer ones stand for
    the time before and after: no input, and the trace stays as it is.
    """

    block: int
    parts: int
    pre: int  # (T + 2) m: x, 0 before and after
    gain: int  # (T + 2) m: eta y, 0 before and after
    keep: int  # (T + 2) m: what the rule leaves of the trace, 1 before and after
    checkpoints: int  # ceil(T / block) m m, of 0: traces before steps 0, block, 2 block ..
    history: int  # block m m, of 0: traces before each step of one block
    adjoint: int  # m m, of 0: of the trace
    d_pre: int  # 2 parts m: of x, by even and odd steps, so that one barrier per step is enough
    delta: int  # m, of 0: of tanh's argument
    adjoint_pre: int  # m, of 0: adjoint times x, of the step to come
    adjoint_trace: int  # m, of 0: row sums of adjoint * trace, of the step to come

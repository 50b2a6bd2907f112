"""Scans of every plastic cell: by the kernels, by autograd through the reference, and in JAX.

Each computes outputs and gradients for drive, w, alpha and eta, from the start of an episode, with the cell's
default rule and modulation.
"""

import math
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plasticrl.ops import Backend, plastic_scan
from plasticrl.ops.cells import CELLS, Modulation
from plasticrl.ops.problem import state_of
from plasticrl.scripts.bench.timing import interleaved

Shape = tuple[int, int, int]  # T, B, n
SHAPES: list[Shape] = [(250, 30, 100), (250, 30, 200)]
RULES: dict[str, tuple[str, Modulation]] = {
    "rnn": ("hebb", "none"),
    "lstm": ("delta", "sigmoid"),
    "gru": ("delta", "sigmoid"),
}
ETAS = {"hebb": 0.01, "delta": 0.5}


class Scan(NamedTuple):
    """Arguments of a scan: the differentiable ones, the cotangent of the outputs, and the cell's name."""

    drive: Tensor
    w: Tensor
    alpha: Tensor
    eta: Tensor
    cotangent: Tensor
    cell: str

    @property
    def leaves(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The differentiable arguments."""
        return self.drive, self.w, self.alpha, self.eta


def draw_scan(cell: str, shape: Shape) -> Scan:
    """Draw the arguments of a cell: the same in every call."""
    generator = torch.Generator().manual_seed(0)

    def draw(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=generator)

    steps, batch, n = shape
    rule, modulation = RULES[cell]
    rows = CELLS[cell].sums * n + (0 if modulation == "none" else n)
    drive, w = draw(steps, batch, rows + CELLS[cell].inputs * n), draw(rows, n) / (2 * math.sqrt(n))
    leaves = (drive, w, draw(n, n) / (10 * math.sqrt(n)), torch.tensor(ETAS[rule]))
    drive, w, alpha, eta = (leaf.requires_grad_() for leaf in leaves)
    return Scan(drive, w, alpha, eta, draw(steps, batch, n), cell)


def gradients(scan: Scan, backend: Backend) -> tuple[Tensor, ...]:
    """Run a scan forward and backward with plasticrl."""
    n, batch, cell = scan.w.shape[1], scan.drive.shape[1], CELLS[scan.cell]
    rule, modulation = RULES[scan.cell]
    hidden = scan.w.new_zeros(batch, n)
    state = state_of(hidden, hidden if cell.has_memory else None, hidden.new_zeros(batch, n, n))
    outputs, _ = plastic_scan(
        *scan.leaves, state, rule=rule, cell=cell.name, modulation=modulation, backend=backend
    )
    return torch.autograd.grad(outputs, scan.leaves, scan.cotangent)


def versus_autograd(cell: str, shape: Shape, rounds: int) -> dict[str, float]:
    """Return the seconds, each the best of ``rounds``, of the kernels ("ours") and of autograd ("plain")."""
    scan = draw_scan(cell, shape)
    cases = {"plain": lambda: gradients(scan, "reference"), "ours": lambda: gradients(scan, "numba")}
    return interleaved(cases, rounds, min)


def versus_jax(cell: str, shape: Shape, rounds: int) -> dict[str, float]:
    """Return the best seconds of ``rounds`` on one core, of the kernels ("ours") and of JAX ("jax").

    Run it in a process of its own, which stays on that core: JAX counts the cores when it is imported.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    torch.set_num_threads(1)
    scan = draw_scan(cell, shape)
    return interleaved({"jax": jax_gradients(scan), "ours": lambda: gradients(scan, "numba")}, rounds, min)


def jax_gradients(scan: Scan) -> Callable[[], Any]:
    """Return a compiled function that runs a scan forward and backward in JAX, as written from the equations.

    It returns the gradients of a :class:`Scan`'s leaves; of "rnn" with Hebb's rule and of "lstm" with the
    delta rule and sigmoid modulation.
    """
    jax: Any = import_module("jax")
    np: Any = import_module("jax.numpy")
    n, batch = scan.w.shape[1], scan.drive.shape[1]

    def product(matrices: Any, x: Any) -> Any:
        return np.einsum("bij,bj->bi", matrices, x)

    def outer(a: Any, b: Any) -> Any:
        return a[:, :, None] * b[:, None, :]

    def outputs(drive: Any, w: Any, alpha: Any, eta: Any) -> Any:
        def rnn(state: Any, now: Any) -> Any:
            x, trace = state
            y = np.tanh(now + x @ w.T + product(alpha * trace, x))
            return (y, (1 - eta) * trace + eta * outer(y, x)), y

        def lstm(state: Any, now: Any) -> Any:
            x, memory, trace = state
            i, f, g, o, m = np.split(now + x @ w.T, 5, axis=-1)
            i, f, o, m = (jax.nn.sigmoid(sums) for sums in (i, f, o, m))
            g = np.tanh(g + product(alpha * trace, x))
            memory = f * memory + i * g
            y, key = o * np.tanh(memory), x / math.sqrt(n)
            trace = trace + outer(eta * m * (g - product(trace, key)), key)
            return (y, memory, trace), y

        x, trace = np.zeros((batch, n), drive.dtype), np.zeros((batch, n, n), drive.dtype)
        if scan.cell == "rnn":
            return jax.lax.scan(rnn, (x, trace), drive)[1]
        return jax.lax.scan(lstm, (x, x, trace), drive)[1]

    leaves = [np.asarray(leaf.detach().numpy()) for leaf in scan.leaves]
    cotangent = np.asarray(scan.cotangent.numpy())
    compiled = jax.jit(jax.grad(lambda *given: (outputs(*given) * cotangent).sum(), argnums=(0, 1, 2, 3)))
    return lambda: jax.block_until_ready(compiled(*leaves))

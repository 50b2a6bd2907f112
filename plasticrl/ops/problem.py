"""Arguments and results of the hand-derived paths."""

from typing import NamedTuple, Protocol

from torch import Tensor

from plasticrl.rules import ClippedHebb, Hebb, Oja, Rule

FUSED_RULES = (Hebb, Oja, ClippedHebb)


class Problem(NamedTuple):
    """Arguments of a scan; shapes as in :func:`plasticrl.plastic_scan`."""

    drive: Tensor
    w: Tensor
    alpha: Tensor | None
    eta: Tensor
    hidden: Tensor
    trace: Tensor
    reset: Tensor | None
    clamp: Tensor | None
    rule: Rule


class Cotangents(NamedTuple):
    """Adjoints of the results; ``trace`` is None if nothing depends on the last trace."""

    outputs: Tensor
    hidden: Tensor
    trace: Tensor | None


class Gradients(NamedTuple):
    """Adjoints of the arguments; that of w follows from that of the drive."""

    drive: Tensor
    alpha: Tensor | None
    eta: Tensor
    hidden: Tensor
    trace: Tensor | None


class Engine(Protocol):
    """An implementation of the recurrence and its adjoint without autograd."""

    def run(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Return the outputs ``(T, B, n)`` and the last trace."""
        ...

    def gradients(
        self, problem: Problem, outputs: Tensor, cotangents: Cotangents, *, with_trace: bool
    ) -> Gradients:
        """Return the adjoints of the arguments; with that of the first trace (``B n^2``) only on request."""
        ...


def presynaptic(problem: Problem, outputs: Tensor) -> Tensor:
    """Return ``x(t)``, ``(T, B, n)``: the outputs of the previous step, zero at resets."""
    x = outputs.roll(1, 0)
    x[0] = problem.hidden
    return x if problem.reset is None else x.masked_fill_(problem.reset.unsqueeze(-1), 0)


def decay_rate(rule: Rule, post: Tensor) -> Tensor:
    """Return ``r`` in the rule's decay ``1 - eta r``: 1 for Hebb, ``y^2`` for Oja, 0 for the clipped rule."""
    if isinstance(rule, Oja):
        return post.square()
    return post.new_full((), 0.0 if isinstance(rule, ClippedHebb) else 1.0).expand_as(post)


def clip_limit(rule: Rule) -> float | None:
    """Return the value at which the rule clips the trace, or None."""
    return rule.limit if isinstance(rule, ClippedHebb) else None

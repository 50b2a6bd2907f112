"""What every hand-derived path takes and gives back."""

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
    """Adjoints of the results; ``trace`` is None where nothing depends on the last trace."""

    outputs: Tensor
    hidden: Tensor
    trace: Tensor | None


class Gradients(NamedTuple):
    """Adjoints of the arguments. That of w follows from that of the drive."""

    drive: Tensor
    alpha: Tensor | None
    eta: Tensor
    hidden: Tensor
    trace: Tensor | None


class Engine(Protocol):
    """A path that computes the recurrence and its adjoint without autograd."""

    def run(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Outputs ``(T, B, n)`` and the last trace."""
        ...

    def gradients(
        self, problem: Problem, outputs: Tensor, cotangents: Cotangents, *, with_trace: bool
    ) -> Gradients:
        """Adjoints of the arguments; that of the first trace, ``B n^2`` numbers, only if it is wanted."""
        ...


def presynaptic(problem: Problem, outputs: Tensor) -> Tensor:
    """``x(t)``, ``(T, B, n)``: the outputs one step late, zero at resets."""
    x = outputs.roll(1, 0)
    x[0] = problem.hidden
    return x if problem.reset is None else x.masked_fill_(problem.reset.unsqueeze(-1), 0)


def decay_rate(rule: Rule, post: Tensor) -> Tensor:
    """``r`` in the rule's decay ``1 - eta r``: 1 for Hebb, ``y^2`` for Oja, 0 for the clipped rule."""
    if isinstance(rule, Oja):
        return post.square()
    return post.new_full((), 0.0 if isinstance(rule, ClippedHebb) else 1.0).expand_as(post)


def clip_limit(rule: Rule) -> float | None:
    """Where the rule clips the trace, if it does."""
    return rule.limit if isinstance(rule, ClippedHebb) else None

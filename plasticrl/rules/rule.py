"""Base of every rule of the trace: the update of one step, its matrices, and its trained parameters."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import isfinite
from typing import ClassVar, NamedTuple

from torch import Tensor


class RuleParameter(NamedTuple):
    """A tensor of a rule's own that is trained beside alpha and eta.

    Attributes:
        name: its name in the layer's parameters.
        each: True for one number for each connection, ``(n_post, n_pre)``; False for one for all, ``()``.
        decays: True if it multiplies the trace at every step; ``bound_eta`` keeps it in (0, 1), too.
        start: the initial value, given that of eta.
    """

    name: str
    each: bool
    decays: bool
    start: Callable[[float], float]


class Rule(ABC):
    """A rule for the trace; derive from :class:`HebbianRule` for one of two coefficients, which is faster.

    A class derived from this one directly may change the trace in any way that torch can differentiate. It
    runs with ``backend="reference"``; one derived from :class:`AdjointRule` also with ``"adjoint"``.

    Attributes:
        matrices: number of matrices in the trace, one above the other; the network reads the first, H.
            Default 1.
        reads_eta: False if the rule has other rates, so that its layer trains no eta. Default True.
        square: True if the rule needs as many neurons after the connections as before. Default False.
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    citation: ClassVar[str]
    matrices: ClassVar[int] = 1
    reads_eta: ClassVar[bool] = True
    square: ClassVar[bool] = False

    @property
    def parameters(self) -> tuple[RuleParameter, ...]:
        """The tensors of the rule's own that are trained. Default: none."""
        return ()

    @property
    @abstractmethod
    def bound(self) -> float:
        """Largest ``|H|`` reachable from ``H = 0`` with activities in [-1, 1] and eta in [0, 1]."""

    @abstractmethod
    def update(
        self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor, modulation: Tensor | None = None
    ) -> Tensor:
        """Compute the trace of the next step.

        A rule with parameters of its own is given these as further arguments, in their order.

        Args:
            trace: ``(B, n_post, n_pre)``, or ``(B, matrices n_post, n_pre)``.
            pre: presynaptic activity, ``(B, n_pre)``.
            post: value of the postsynaptic neurons, ``(B, n_post)``.
            eta: scalar tensor.
            modulation: factor of the learning rate for each neuron, ``(B, n_post)``. Default: 1.

        Returns:
            The new trace, of the shape, dtype and device of the one given, which is not changed.
        """


def outer(post: Tensor, pre: Tensor) -> Tensor:
    """Return the outer products ``(B, n_post, n_pre)`` of vectors ``(B, n_post)`` and ``(B, n_pre)``."""
    return post.unsqueeze(-1) * pre.unsqueeze(-2)


def product(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Return the products ``(B, n)`` of matrices ``(B, n, m)`` and vectors ``(B, m)``."""
    return (matrices @ vectors.unsqueeze(-1)).squeeze(-1)


def check_limit(limit: float) -> None:
    """Check the bound of a clip.

    Raises:
        ValueError: it is not finite or not above 0.
    """
    if not (isfinite(limit) and limit > 0):
        raise ValueError(f"limit must be finite and above 0, not {limit!r}")

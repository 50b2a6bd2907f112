"""Update rules of the Hebbian trace.

A rule is a small frozen object with a formula, a citation, a bound on the trace, and one pure update
function. ``pre`` is the presynaptic activity ``x(t-1)``, ``post`` the postsynaptic activity ``y(t)``.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import inf, isfinite
from typing import ClassVar, TypeAlias

from torch import Tensor


class Rule(ABC):
    """The interface of a rule; derive from it to define your own."""

    name: ClassVar[str]
    formula: ClassVar[str]
    citation: ClassVar[str]

    @property
    @abstractmethod
    def bound(self) -> float:
        """Largest ``|H|`` reachable from ``H = 0`` with activities in [-1, 1] and eta in [0, 1]."""

    @abstractmethod
    def update(self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor) -> Tensor:
        """Compute the trace of the next step.

        Args:
            trace: ``(B, n_post, n_pre)``.
            pre: ``(B, n_pre)``.
            post: ``(B, n_post)``.
            eta: scalar tensor.

        Returns:
            The new trace ``(B, n_post, n_pre)``; the argument is not modified.
        """


def _outer(post: Tensor, pre: Tensor) -> Tensor:
    return post.unsqueeze(-1) * pre.unsqueeze(-2)  # (B, n_post, n_pre)


@dataclass(frozen=True)
class Hebb(Rule):
    """Hebbian product with decay: a running average of ``y xᵀ`` (Miconi et al. 2018, eq. 2)."""

    name: ClassVar[str] = "hebb"
    formula: ClassVar[str] = "H <- (1 - eta) H + eta y x^T"
    citation: ClassVar[str] = "Miconi, Clune & Stanley, ICML 2018, eq. 2"

    @property
    def bound(self) -> float:
        """The bound 1: the trace is an average of products of activities in [-1, 1]."""
        return 1.0

    def update(self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor) -> Tensor:
        """Compute the next trace; see :meth:`Rule.update`."""
        return (1 - eta) * trace + eta * _outer(post, pre)


@dataclass(frozen=True)
class Oja(Rule):
    """Oja's rule: Hebb with a decay that grows with the output (Miconi et al. 2018, eq. 3).

    For a linear neuron, the row of H converges to the unit principal direction of its inputs.
    The bound is infinite in general: it depends on the norm of the inputs, not only on their range.
    """

    name: ClassVar[str] = "oja"
    formula: ClassVar[str] = "H <- H + eta y (x - y H)"
    citation: ClassVar[str] = "Oja, J. Math. Biol. 15, 1982; Miconi, Clune & Stanley, ICML 2018, eq. 3"

    @property
    def bound(self) -> float:
        """Infinity: without a minimum of ``|y|``, a trace can be driven beyond any given value."""
        return inf

    def update(self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor) -> Tensor:
        """Compute the next trace; see :meth:`Rule.update`."""
        return (1 - eta * post.square()).unsqueeze(-1) * trace + eta * _outer(post, pre)


@dataclass(frozen=True)
class ClippedHebb(Rule):
    """Additive Hebb without decay, clipped to ``[-limit, limit]`` (Miconi et al. 2019, non-modulated).

    Attributes:
        limit: the bound of each trace element; finite and above 0. Default 1.

    Raises:
        ValueError: ``limit`` is not finite or not above 0.
    """

    limit: float = 1.0
    name: ClassVar[str] = "clipped"
    formula: ClassVar[str] = "H <- clip(H + eta y x^T, -limit, limit)"
    citation: ClassVar[str] = "Miconi, Rawal, Clune & Stanley, ICLR 2019"

    def __post_init__(self) -> None:
        if not (isfinite(self.limit) and self.limit > 0):
            raise ValueError(f"limit must be finite and above 0, not {self.limit!r}")

    @property
    def bound(self) -> float:
        """The ``limit``."""
        return self.limit

    def update(self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor) -> Tensor:
        """Compute the next trace; see :meth:`Rule.update`."""
        return (trace + eta * _outer(post, pre)).clamp(-self.limit, self.limit)


RULES: dict[str, type[Hebb] | type[Oja] | type[ClippedHebb]] = {
    rule.name: rule for rule in (Hebb, Oja, ClippedHebb)
}
RuleLike: TypeAlias = Rule | str


def get_rule(rule: RuleLike) -> Rule:
    """Return the rule with a name (``"hebb"``, ``"oja"``, ``"clipped"``), or a given rule object itself.

    Raises:
        ValueError: the name is unknown.
        TypeError: ``rule`` is neither a name nor a rule.
    """
    if isinstance(rule, str):
        if rule not in RULES:
            raise ValueError(f"unknown rule {rule!r}: choose one of {', '.join(map(repr, RULES))}")
        return RULES[rule]()
    if not isinstance(rule, Rule):
        raise TypeError(f"rule must be a name or an object such as Oja(), not {rule!r}")
    return rule

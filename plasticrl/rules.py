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
    """A plasticity rule; derive from it to make your own, and give an object of your class as ``rule``."""

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
            The new trace, of the shape, dtype and device of the one given, which is not changed.
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
        given = rule.__name__ if isinstance(rule, type) else f"a {type(rule).__name__}"
        raise TypeError(f"rule must be a name or an object of a Rule's class, such as Oja(), not {given}")
    return rule


def next_trace(rule: Rule, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor) -> Tensor:
    """The trace after one step; arguments as for :meth:`Rule.update`.

    Raises:
        TypeError: a rule of the user's own returns no tensor.
        ValueError: it returns one of another shape, dtype or device; the text names the rule and both.
    """
    updated: Tensor = rule.update(trace, pre, post, eta)
    if type(rule) in RULES.values():
        return updated
    name = f"{type(rule).__name__}.update"
    if not isinstance(updated, Tensor):
        raise TypeError(
            f"{name} must return the new trace, a tensor {tuple(trace.shape)}, not {_kind(updated)}"
        )
    for what in ("shape", "dtype", "device"):
        wanted, given = getattr(trace, what), getattr(updated, what)
        if given != wanted:
            raise ValueError(
                f"{name} must return a trace of {what} {_shown(wanted)}, as the one given, not "
                f"{_shown(given)} (trace {tuple(trace.shape)}, pre {tuple(pre.shape)}, "
                f"post {tuple(post.shape)})"
            )
    return updated


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _shown(value: object) -> object:
    return tuple(value) if isinstance(value, tuple) else value

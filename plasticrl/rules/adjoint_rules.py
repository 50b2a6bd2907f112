"""Rules that are not two coefficients for each row, with the adjoints of their updates (docs/adjoint.md)."""

from abc import abstractmethod
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from plasticrl.rules.rule import Rule, RuleParameter, check_limit, outer, product


class UpdateArguments(NamedTuple):
    """Arguments of an update, or the adjoints of these.

    Attributes:
        trace: ``(B, matrices n_post, n_pre)``.
        pre: presynaptic activity x, ``(B, n_pre)``.
        post: value v of the postsynaptic neurons, ``(B, n_post)``.
        eta: ``()``.
        modulation: m, ``(B, n_post)``; ones without a modulation.
        parameters: the rule's own, in their order.
    """

    trace: Tensor
    pre: Tensor
    post: Tensor
    eta: Tensor
    modulation: Tensor
    parameters: tuple[Tensor, ...] = ()


class AdjointRule(Rule):
    """A rule of any update, given with its adjoint; it runs on ``"adjoint"`` and ``"reference"``.

    Derive from it with :meth:`advance` and :meth:`adjoint`. The update is computed again on the way back, so
    it must give the same result for the same arguments.

    Attributes:
        has_adjoint: True unless a subclass replaces the update, or :meth:`advance` without its adjoint.
    """

    has_adjoint: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if vars(cls).keys() & {"update", "advance"}:
            cls.has_adjoint = "adjoint" in vars(cls) and cls.update is AdjointRule.update

    def update(
        self,
        trace: Tensor,
        pre: Tensor,
        post: Tensor,
        eta: Tensor,
        modulation: Tensor | None = None,
        *parameters: Tensor,
    ) -> Tensor:
        """Compute the next trace; see :meth:`Rule.update`."""
        m = torch.ones_like(post) if modulation is None else modulation
        return self.advance(UpdateArguments(trace, pre, post, eta, m, parameters))

    @abstractmethod
    def advance(self, now: UpdateArguments) -> Tensor:
        """Compute the next trace, a new tensor."""

    @abstractmethod
    def adjoint(self, d_new: Tensor, now: UpdateArguments) -> UpdateArguments:
        """Compute the adjoints of the arguments of :meth:`advance` from that of its result.

        Returns:
            Each of the shape of its argument; new tensors, which the caller may overwrite.
        """


@dataclass(frozen=True)
class Retroactive(AdjointRule):
    """Retroactive neuromodulation: the modulation moves an eligibility trace E into H (Miconi et al. 2019).

    E is a running average of the products of activities, and is not read itself. A modulation can thus
    store, or erase, what happened some steps before it. The trace holds H above E.

    Attributes:
        limit: the bound of each element of H; finite and above 0. Default 1.

    Raises:
        ValueError: ``limit`` is not finite or not above 0.
    """

    limit: float = 1.0
    name: ClassVar[str] = "retroactive"
    formula: ClassVar[str] = "H <- clip(H + m E, -limit, limit), E <- (1 - eta) E + eta v x^T"
    citation: ClassVar[str] = "Miconi, Rawal, Clune & Stanley, ICLR 2019 (retroactive neuromodulation)"
    matrices: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_limit(self.limit)

    @property
    def bound(self) -> float:
        """The ``limit``."""
        return self.limit

    def advance(self, now: UpdateArguments) -> Tensor:
        """Compute the next H and E, both from the old E."""
        h, e = now.trace.chunk(2, -2)
        moved = h + now.modulation.unsqueeze(-1) * e
        averaged = (1 - now.eta) * e + now.eta * outer(now.post, now.pre)
        return torch.cat([moved.clamp(-self.limit, self.limit), averaged], -2)

    def adjoint(self, d_new: Tensor, now: UpdateArguments) -> UpdateArguments:
        """Compute the adjoints; see :meth:`AdjointRule.adjoint`."""
        (h, e), (d_h, d_e) = now.trace.chunk(2, -2), d_new.chunk(2, -2)
        m, eta = now.modulation.unsqueeze(-1), now.eta
        d_h = d_h * ((h + m * e).abs() <= self.limit)
        return UpdateArguments(
            trace=torch.cat([d_h, m * d_h + (1 - eta) * d_e], -2),
            pre=eta * product(d_e.mT, now.post),
            post=eta * product(d_e, now.pre),
            eta=(d_e * (outer(now.post, now.pre) - e)).sum(),
            modulation=(d_h * e).sum(-1),
        )


@dataclass(frozen=True)
class ShortTermPlasticity(AdjointRule):
    """A decay and a rate of every connection, both trained (Garcia Rodriguez, Guo & Moraitis 2022).

    The rates may become negative. Before training all are those of Hebb's rule: decay 1 - eta, rate eta.
    """

    name: ClassVar[str] = "stp"
    formula: ClassVar[str] = "H_ij <- decay_ij H_ij + rate_ij m_i v_i x_j"
    citation: ClassVar[str] = "Garcia Rodriguez, Guo & Moraitis, ICML 2022"
    reads_eta: ClassVar[bool] = False

    @property
    def parameters(self) -> tuple[RuleParameter, ...]:
        """Decay and rate."""
        return (
            RuleParameter("decay", each=True, decays=True, start=lambda eta: 1 - eta),
            RuleParameter("rate", each=True, decays=False, start=lambda eta: eta),
        )

    @property
    def bound(self) -> float:
        """Infinite: it depends on the decays and the rates."""
        return inf

    def advance(self, now: UpdateArguments) -> Tensor:
        """Compute the next trace."""
        decay, rate = now.parameters
        return decay * now.trace + rate * outer(now.modulation * now.post, now.pre)

    def adjoint(self, d_new: Tensor, now: UpdateArguments) -> UpdateArguments:
        """Compute the adjoints; see :meth:`AdjointRule.adjoint`."""
        decay, rate = now.parameters
        stored, d_product = now.modulation * now.post, rate * d_new
        d_rate = (d_new * outer(stored, now.pre)).sum(0)
        d_stored = product(d_product, now.pre)
        return UpdateArguments(
            trace=decay * d_new,
            pre=product(d_product.mT, stored),
            post=now.modulation * d_stored,
            eta=torch.zeros_like(now.eta),
            modulation=now.post * d_stored,
            parameters=((d_new * now.trace).sum(0), d_rate),
        )


@dataclass(frozen=True)
class FastWeights(AdjointRule):
    """Fast weights: a decaying sum of the products of the values with themselves (Ba et al. 2016).

    With the cell ``"rnn"``, the value is the output, and the trace attends to the past outputs, each in
    proportion to its product with the one that reads it. Decay and eta are two numbers, both trained. The
    paper's inner loop and layer normalisation are not part of the rule: the trace is read once in a step,
    with the previous output.

    Attributes:
        decay: initial value of the decay. Default 0.95, as in the paper, whose eta is 0.5.
    """

    decay: float = 0.95
    name: ClassVar[str] = "fast_weights"
    formula: ClassVar[str] = "H <- decay H + eta m v v^T"
    citation: ClassVar[str] = "Ba, Hinton, Mnih, Leibo & Ionescu, NIPS 2016, eq. 1"
    square: ClassVar[bool] = True

    @property
    def parameters(self) -> tuple[RuleParameter, ...]:
        """The decay."""
        return (RuleParameter("decay", each=False, decays=True, start=lambda eta: self.decay),)

    @property
    def bound(self) -> float:
        """Infinite: it depends on the decay."""
        return inf

    def advance(self, now: UpdateArguments) -> Tensor:
        """Compute the next trace."""
        (decay,) = now.parameters
        return decay * now.trace + outer(now.eta * now.modulation * now.post, now.post)

    def adjoint(self, d_new: Tensor, now: UpdateArguments) -> UpdateArguments:
        """Compute the adjoints; see :meth:`AdjointRule.adjoint`."""
        (decay,) = now.parameters
        stored = now.modulation * now.post
        d_stored = product(d_new, now.post)  # per eta, like the sum below
        return UpdateArguments(
            trace=decay * d_new,
            pre=torch.zeros_like(now.pre),
            post=now.eta * (now.modulation * d_stored + product(d_new.mT, stored)),
            eta=(stored * d_stored).sum(),
            modulation=now.eta * now.post * d_stored,
            parameters=((d_new * now.trace).sum(),),
        )

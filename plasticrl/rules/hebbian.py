"""Update rules of the Hebbian trace: each is two coefficients.

With presynaptic key ``k = s x(t-1)``, value ``v`` of the postsynaptic neurons, recalled value ``q = H k``,
learning rate ``eta`` and modulation ``m`` (1 without one), row i of the trace becomes::

    H_i <- clip(keep_i H_i + gain_i k)

    keep = 1 - eta (leak + normalisation m v^2)
    gain = eta m (v - correction q)
"""

from dataclasses import dataclass
from math import inf, sqrt
from typing import ClassVar

import torch
from torch import Tensor

from plasticrl.rules.rule import Rule, check_limit, outer, product


class HebbianRule(Rule):
    """A rule of two coefficients for each row of the trace; see the formula at the top of this module.

    Derive from it and set the numbers, and the rule runs on every backend. Override :meth:`coefficients` for
    any other function of the same arguments; such a rule runs on ``"adjoint"`` and ``"reference"``.

    Attributes:
        leak: decay of the whole trace, per eta. Default 0.
        normalisation: decay in proportion to the squared value, per eta. Default 0.
        correction: share of the recalled value that is subtracted from the value to store. Default 0.
        scaled_key: divide the key by the square root of its length, so that ``|k| <= 1``. Default False.
        limit: bound that each element is clipped to; infinite by default.
    """

    leak: ClassVar[float] = 0.0
    normalisation: ClassVar[float] = 0.0
    correction: ClassVar[float] = 0.0
    scaled_key: ClassVar[bool] = False
    limit: float = inf

    @property
    def bound(self) -> float:
        """The ``limit``; 1 for a rule whose trace is an average of products of activities in [-1, 1]."""
        averages = self.leak == 1 and self.normalisation == self.correction == 0
        return min(self.limit, 1.0) if averages else self.limit

    def key_scale(self, n_pre: int) -> float:
        """Return the factor s of the key: 1, or ``1 / sqrt(n_pre)`` if keys are scaled."""
        return 1 / sqrt(n_pre) if self.scaled_key else 1.0

    def coefficients(
        self, value: Tensor, recalled: Tensor, eta: Tensor, modulation: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute keep and gain of each row, elementwise.

        Args:
            value: v, ``(B, n_post)``.
            recalled: q, ``(B, n_post)``; read it only if ``correction`` is not 0.
            eta: scalar tensor.
            modulation: m, ``(B, n_post)`` or ``()``.

        Returns:
            keep and gain, each ``(B, n_post)``.
        """
        rate = eta * modulation
        keep = 1 - eta * self.leak - rate * (self.normalisation * value.square())
        stored = value - self.correction * recalled if self.correction else value
        return keep, rate * stored

    def pull_back(
        self, value: Tensor, recalled: Tensor, eta: Tensor, modulation: Tensor, d_keep: Tensor, d_gain: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the adjoints of the arguments of :meth:`coefficients` from those of its results.

        Override it only for speed: torch differentiates coefficients of the user's own.

        Returns:
            The adjoints of value, recalled value, eta and modulation: ``()`` for eta, ``(B, n_post)`` for
            the others.
        """
        if not self.has_numbers:
            m = modulation.expand(value.shape)
            differentiate = torch.func.vjp(self.coefficients, value, recalled, eta, m)[1]
            found: tuple[Tensor, Tensor, Tensor, Tensor] = differentiate((d_keep, d_gain))
            return found
        a, b, c = self.leak, self.normalisation, self.correction
        stored, square, rate = value - c * recalled, b * value.square(), eta * modulation
        d_stored = rate * d_gain
        d_m = stored * d_gain - square * d_keep  # per eta
        d_eta = (modulation * d_m - a * d_keep).sum()
        return d_stored - 2 * b * rate * value * d_keep, -c * d_stored, d_eta, eta * d_m

    def update(
        self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor, modulation: Tensor | None = None
    ) -> Tensor:
        """Compute the next trace; see :meth:`Rule.update`."""
        key = pre * self.key_scale(pre.shape[-1])
        recalled = self.recall(trace, key)
        keep, gain = self.coefficients(
            post, recalled, eta, torch.ones_like(eta) if modulation is None else modulation
        )
        new = keep.unsqueeze(-1) * trace + outer(gain, key)
        return new if self.limit == inf else new.clamp(-self.limit, self.limit)

    def recall(self, trace: Tensor, key: Tensor) -> Tensor:
        """Return ``q = H k``, ``(B, n_post)``; zeros for a rule that does not read it."""
        if not self.reads_recall:
            return trace.new_zeros(trace.shape[:-1])
        return product(trace, key)

    @property
    def reads_recall(self) -> bool:
        """True if the coefficients depend on the recalled value."""
        return self.correction != 0 or not self.has_numbers

    @property
    def has_numbers(self) -> bool:
        """True if the coefficients are those of the numbers."""
        return type(self).coefficients is HebbianRule.coefficients


@dataclass(frozen=True)
class Hebb(HebbianRule):
    """Hebbian product with decay: a running average of ``v xᵀ`` (Miconi et al. 2018, eq. 2)."""

    name: ClassVar[str] = "hebb"
    formula: ClassVar[str] = "H <- (1 - eta) H + eta m v x^T"
    citation: ClassVar[str] = "Miconi, Clune & Stanley, ICML 2018, eq. 2"
    leak: ClassVar[float] = 1.0


@dataclass(frozen=True)
class Oja(HebbianRule):
    """Oja's rule: Hebb with a decay that grows with the output (Miconi et al. 2018, eq. 3).

    For a linear neuron, the row of H converges to the unit principal direction of its inputs.
    The bound is infinite in general: it depends on the norm of the inputs, not only on their range.
    """

    name: ClassVar[str] = "oja"
    formula: ClassVar[str] = "H <- H + eta m v (x - v H)"
    citation: ClassVar[str] = "Oja, J. Math. Biol. 15, 1982; Miconi, Clune & Stanley, ICML 2018, eq. 3"
    normalisation: ClassVar[float] = 1.0


@dataclass(frozen=True)
class ClippedHebb(HebbianRule):
    """Additive Hebb without decay, clipped to ``[-limit, limit]`` (Miconi et al. 2019).

    With modulation ``"tanh"`` it comes close to their simple neuromodulated rule, which has no eta, and whose
    modulation reads the present output.

    Attributes:
        limit: the bound of each trace element; finite and above 0. Default 1.

    Raises:
        ValueError: ``limit`` is not finite or not above 0.
    """

    limit: float = 1.0
    name: ClassVar[str] = "clipped"
    formula: ClassVar[str] = "H <- clip(H + eta m v x^T, -limit, limit)"
    citation: ClassVar[str] = "Miconi, Rawal, Clune & Stanley, ICLR 2019"

    def __post_init__(self) -> None:
        check_limit(self.limit)


@dataclass(frozen=True)
class Delta(HebbianRule):
    """Delta rule: store the part of the value that is not yet recalled.

    With eta 1 and a key of norm 1, the value stored last is recalled exactly. Keys are divided by
    ``sqrt(n)``, which bounds the norm of tanh activities by 1. Without a minimum of the angle between keys,
    the trace has no bound.
    """

    name: ClassVar[str] = "delta"
    formula: ClassVar[str] = "H <- H + eta m (v - H k) k^T with k = x / sqrt(n)"
    citation: ClassVar[str] = "Widrow & Hoff 1960; Schlag, Irie & Schmidhuber, ICML 2021"
    correction: ClassVar[float] = 1.0
    scaled_key: ClassVar[bool] = True

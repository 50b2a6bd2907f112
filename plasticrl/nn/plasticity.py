"""Plasticity of one layer: its coefficients alpha, its learning rate, and the parameters of its rule."""

from math import inf, isfinite, nan, sqrt
from numbers import Real
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from plasticrl.rules import RuleLike, RuleParameter, get_rule

AlphaMode: TypeAlias = Literal["full", "shared", "none"]
Init: TypeAlias = Literal["uniform", "normal", "fan_in", "orthogonal"]


class Plasticity(nn.Module):
    """Plasticity coefficients, learning rate, and the rule's own parameters, of one layer's Hebbian trace.

    Args:
        n_post: number of postsynaptic neurons.
        n_pre: number of presynaptic neurons.
        alpha: ``"full"`` for one coefficient per connection, ``"shared"`` for a single one (the paper's
            homogeneous plasticity), ``"none"`` for no plasticity, and then no eta either.
        rule: update rule of the trace, by name or as an object.
        eta: initial learning rate of the trace.
        bound_eta: True (default) trains the logit of eta, and of a decay that the rule has of its own, which
            keeps them in (0, 1). False, as in the paper, trains them themselves; eta may then drift below
            zero, where Hebb's trace grows without bound, and a warning says so.

    Attributes:
        alpha: the coefficients, ``(n_post, n_pre)`` or ``()``; None for "none".

    Raises:
        ValueError: an argument is outside the range above, or is after rounding to the dtype, or the rule
            needs as many neurons after the connections as before.
    """

    alpha: nn.Parameter | None
    eta_raw: nn.Parameter | None  # None also for a rule that does not read it

    def __init__(
        self,
        n_post: int,
        n_pre: int,
        *,
        alpha: AlphaMode,
        rule: RuleLike,
        eta: float,
        bound_eta: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if alpha not in get_args(AlphaMode):
            raise ValueError(
                f"alpha must be one of {', '.join(map(repr, get_args(AlphaMode)))}, not {alpha!r}"
            )
        _check_rate("eta", eta, bound_eta, dtype)
        self.mode: AlphaMode = alpha
        self.rule = get_rule(rule)
        if self.rule.square and n_post != n_pre:
            raise ValueError(
                f"rule {self.rule.name!r} needs as many neurons after the connections as before, not "
                f"{n_post} and {n_pre}: choose another rule"
            )
        for own in self.rule.parameters:
            _check_rate(own.name, own.start(eta), bound_eta and own.decays, dtype)
        self.initial_eta = eta
        self.bound_eta = bound_eta
        if alpha == "none":
            self.register_parameter("alpha", None)
            self.register_parameter("eta_raw", None)
        else:
            shape = (n_post, n_pre) if alpha == "full" else ()
            self.alpha = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
            rate = nn.Parameter(torch.empty((), device=device, dtype=dtype)) if self.rule.reads_eta else None
            self.register_parameter("eta_raw", rate)
            for own in self.rule.parameters:
                empty = torch.empty((n_post, n_pre) if own.each else (), device=device, dtype=dtype)
                self.register_parameter(f"{own.name}_raw", nn.Parameter(empty))

    @property
    def eta(self) -> Tensor:
        """The current learning rate, a scalar tensor.

        Raises:
            RuntimeError: the layer is not plastic.
        """
        if self.eta_raw is None:
            # Not an AttributeError: torch would replace its message by "no attribute 'eta'".
            of = "with alpha='none'" if self.mode == "none" else "made for a rule that does not read it"
            raise RuntimeError(f"a layer {of} has no eta")
        return torch.sigmoid(self.eta_raw) if self.bound_eta else self.eta_raw

    @property
    def free_eta(self) -> Tensor | None:
        """Eta if nothing bounds it; None otherwise."""
        return None if self.bound_eta else self.eta_raw

    def eta_or_zero(self, like: Tensor) -> Tensor:
        """Return eta, or a zero of the dtype and device of ``like`` where none is read."""
        return self.eta if self.alpha is not None and self.rule.reads_eta else like.new_zeros(())

    def rule_parameters(self) -> tuple[Tensor, ...]:
        """Return the current parameters of the rule's own, in its order; none without plasticity."""
        if self.alpha is None:
            return ()
        raw = [(own, self._raw(own)) for own in self.rule.parameters]
        return tuple(torch.sigmoid(one) if own.decays and self.bound_eta else one for own, one in raw)

    def _raw(self, own: RuleParameter) -> nn.Parameter:
        found: nn.Parameter | None = getattr(self, f"{own.name}_raw", None)
        if found is None:
            raise RuntimeError(
                f"rule {self.rule.name!r} has a parameter {own.name!r}, and this layer was made for another "
                "rule: give the rule when making the layer"
            )
        return found

    def __dir__(self) -> list[str]:
        """Without eta where there is none: ``torch.jit.trace`` reads every attribute that is listed here."""
        names: list[str] = super().__dir__()  # type: ignore[no-untyped-call]
        return [name for name in names if name != "eta" or self.eta_raw is not None]

    def reset_parameters(self, init: Init, scale: float) -> None:
        """Draw alpha as :func:`draw_` does, normal for inits of whole matrices; set the rest to its start.

        Args:
            init: how w is drawn.
            scale: of alpha.
        """
        if self.alpha is None:
            return
        draw_(self.alpha, init if init in ("uniform", "normal") else "normal", scale, "alpha_scale")
        starts = [] if self.eta_raw is None else [(self.eta_raw, self.initial_eta, True)]
        for own in self.rule.parameters:
            starts.append((self._raw(own), own.start(self.initial_eta), own.decays))
        with torch.no_grad():
            for raw, start, is_bound in starts:
                raw.fill_(start)
                if self.bound_eta and is_bound:
                    raw.logit_()

    def trace_shape(self, n_post: int, n_pre: int) -> tuple[int, int]:
        """Return the shape of one episode's trace: empty if the layer is not plastic."""
        return (0, 0) if self.mode == "none" else (self.rule.matrices * n_post, n_pre)

    def extra_repr(self) -> str:
        """Return mode, rule and eta, for ``print(module)``."""
        if self.mode == "none":
            return "alpha='none'"
        return f"alpha={self.mode!r}, rule={self.rule}, eta={self.initial_eta}, bound_eta={self.bound_eta}"


def _check_rate(name: str, value: object, bounded: bool, dtype: torch.dtype | None) -> None:
    rounded = _rounded(value, dtype or torch.get_default_dtype())
    if not isfinite(rounded) or (bounded and not 0 < rounded < 1):
        allowed = "between 0 and 1 when bound_eta is on" if bounded else "a finite number"
        raise ValueError(f"{name} must be {allowed}, not {value!r}")


def draw_(parameter: Tensor, init: Init, scale: float, name: str = "init_scale") -> None:
    """Draw initial values.

    Args:
        parameter: weights, with the inputs along the last dimension.
        init: ``"uniform"`` for ``scale * U(0, 1)`` (the paper's maze), ``"normal"`` for ``scale * N(0, 1)``
            (its patterns), ``"fan_in"`` for ``scale * U(-1, 1) / sqrt(inputs)`` (as ``torch.nn.RNN``), or
            ``"orthogonal"`` for ``scale`` times an orthogonal matrix.
        scale: finite and at least 0.
        name: its name in errors.

    Raises:
        ValueError: ``init`` or ``scale`` is something else.
    """
    if not 0 <= _rounded(scale, parameter.dtype) < inf:
        raise ValueError(f"{name} must be a finite number, at least 0, not {scale!r}")
    if init == "uniform":
        nn.init.uniform_(parameter, 0.0, scale)
    elif init == "normal":
        nn.init.normal_(parameter, 0.0, scale)
    elif init == "fan_in":
        bound = scale / sqrt(parameter.shape[-1])
        nn.init.uniform_(parameter, -bound, bound)
    elif init == "orthogonal":
        if parameter.dtype.itemsize < 4:  # torch has no QR of half
            parameter.detach().copy_(nn.init.orthogonal_(parameter.detach().float(), scale))
        else:
            nn.init.orthogonal_(parameter, scale)
    else:
        raise ValueError(f"init must be one of {', '.join(map(repr, get_args(Init)))}, not {init!r}")


def _rounded(value: object, dtype: torch.dtype) -> float:
    """Return the value as rounded by a parameter of this dtype; NaN unless it is a number."""
    if not isinstance(value, Real):
        return nan
    try:
        # On the CPU, since checkpoints are loaded on the "meta" device, where tensors have no values.
        return float(torch.tensor(float(value), dtype=dtype, device="cpu"))
    except OverflowError:
        return inf

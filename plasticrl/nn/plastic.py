"""The plastic part of a layer: alpha, eta, the rule, and their initialisation."""

from math import inf, isfinite, nan, sqrt
from numbers import Real
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from plasticrl.rules import RuleLike, get_rule

AlphaMode: TypeAlias = Literal["full", "shared", "none"]
Init: TypeAlias = Literal["uniform", "normal", "fan_in", "orthogonal"]


class Plasticity(nn.Module):
    """Plasticity coefficients and learning rate of one layer's Hebbian trace.

    Args:
        n_post: number of postsynaptic neurons.
        n_pre: number of presynaptic neurons.
        alpha: ``"full"`` for one coefficient per connection, ``"shared"`` for a single one (the paper's
            homogeneous plasticity), ``"none"`` for no plasticity, and then no eta either.
        rule: update rule of the trace, by name or as an object.
        eta: initial learning rate of the trace. Default 0.01, as in the paper.
        bound_eta: False, as in the paper, trains eta itself, which may drift below zero (Hebb's trace
            then grows without bound). True trains its logit, which keeps eta in (0, 1).

    Attributes:
        alpha: the coefficients, ``(n_post, n_pre)`` or ``()``; None for "none".

    Raises:
        ValueError: an argument is outside the range above, or is after rounding to the dtype.
    """

    alpha: nn.Parameter | None
    eta_raw: nn.Parameter | None

    def __init__(
        self,
        n_post: int,
        n_pre: int,
        *,
        alpha: AlphaMode,
        rule: RuleLike,
        eta: float,
        bound_eta: bool,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if alpha not in get_args(AlphaMode):
            raise ValueError(
                f"alpha must be one of {', '.join(map(repr, get_args(AlphaMode)))}, not {alpha!r}"
            )
        rounded = _rounded(eta, dtype or torch.get_default_dtype())
        if not isfinite(rounded) or (bound_eta and not 0 < rounded < 1):
            allowed = "between 0 and 1 when bound_eta is on" if bound_eta else "a finite number"
            raise ValueError(f"eta must be {allowed}, not {eta!r}")
        self.mode: AlphaMode = alpha
        self.rule = get_rule(rule)
        self.initial_eta = eta
        self.bound_eta = bound_eta
        if alpha == "none":
            self.register_parameter("alpha", None)
            self.register_parameter("eta_raw", None)
        else:
            shape = (n_post, n_pre) if alpha == "full" else ()
            self.alpha = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
            self.eta_raw = nn.Parameter(torch.empty((), device=device, dtype=dtype))

    @property
    def eta(self) -> Tensor:
        """The current learning rate, a scalar tensor.

        Raises:
            RuntimeError: the layer is not plastic.
        """
        if self.eta_raw is None:
            # Not an AttributeError: torch would replace its message by "no attribute 'eta'".
            raise RuntimeError("a layer with alpha='none' has no eta")
        return torch.sigmoid(self.eta_raw) if self.bound_eta else self.eta_raw

    def __dir__(self) -> list[str]:
        """Without eta where there is none: ``torch.jit.trace`` reads every attribute that is listed here."""
        names: list[str] = super().__dir__()  # type: ignore[no-untyped-call]
        return [name for name in names if name != "eta" or self.eta_raw is not None]

    def reset_parameters(self, init: Init, scale: float) -> None:
        """Draw alpha as :func:`draw_` does, normal for the inits of whole matrices; set eta to its start."""
        if self.alpha is None or self.eta_raw is None:
            return
        draw_(self.alpha, init if init in ("uniform", "normal") else "normal", scale, "alpha_scale")
        with torch.no_grad():
            self.eta_raw.fill_(self.initial_eta)
            if self.bound_eta:
                self.eta_raw.logit_()

    def trace_shape(self, n_post: int, n_pre: int) -> tuple[int, int]:
        """Return the shape of one episode's trace: empty if the layer is not plastic."""
        return (0, 0) if self.mode == "none" else (n_post, n_pre)

    def extra_repr(self) -> str:
        """Return mode, rule and eta, for ``print(module)``."""
        if self.mode == "none":
            return "alpha='none'"
        return f"alpha={self.mode!r}, rule={self.rule}, eta={self.initial_eta}, bound_eta={self.bound_eta}"


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
        wide = parameter.float() if parameter.dtype.itemsize < 4 else parameter  # torch has no QR of half
        nn.init.orthogonal_(wide, scale)
        with torch.no_grad():
            parameter.copy_(wide)
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

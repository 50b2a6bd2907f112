"""A feed-forward plastic layer, with the trace between its input and its output."""

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from plasticrl.arguments import check_size
from plasticrl.nn.core import Core, check_shape, parts_of
from plasticrl.nn.notices import warn_of_free_eta
from plasticrl.nn.plasticity import AlphaMode, Plasticity, draw_
from plasticrl.rules import RuleLike, next_trace
from plasticrl.state import TraceState

Activation: TypeAlias = Literal["softmax", "tanh", "identity"] | Callable[[Tensor], Tensor]
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": partial(torch.softmax, dim=-1),
    "tanh": torch.tanh,
    "identity": nn.Identity(),
}


class PlasticLinear(Core):
    r"""Plastic layer ``y = f((w + alpha * H) x + drive)``, ``H <- rule(H, pre=x, post=y, eta)``.

    The output layer of the paper's one-shot classifier (experiment 3): features in, softmax out. During the
    presentation, ``drive`` carries the label as 1000 × one-hot, which clamps the output.

    Under ``torch.autocast`` the products with w and with ``alpha * H`` are computed in half precision, like
    those of ``torch.nn.Linear``, and so are sums and outputs, unless autocast's rules for f and ``drive``
    widen them. The trace stays in the dtype of the weights.

    Args:
        in_features: presynaptic neurons.
        out_features: postsynaptic neurons.
        alpha: ``"full"`` (default), ``"shared"`` or ``"none"``.
        rule: default ``"oja"``, as in the paper's experiment 3.
        eta: initial learning rate of the trace. Default 0.01.
        bound_eta: keep eta in (0, 1) through a sigmoid. Default True; the paper's is free.
        activation: f, ``"softmax"`` (default), ``"tanh"``, ``"identity"``, or a function of a
            tensor ``(B, out_features)``.
        init_scale: w starts as ``init_scale * N(0, 1)``. Default 0.01, as in the paper.
        alpha_scale: alpha starts as ``alpha_scale * U(0, 1)``. Default: ``init_scale``.

    Raises:
        ValueError: an argument is outside the range above.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        alpha: AlphaMode = "full",
        rule: RuleLike = "oja",
        eta: float = 0.01,
        bound_eta: bool = True,
        activation: Activation = "softmax",
        init_scale: float = 0.01,
        alpha_scale: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = self.input_size = check_size("in_features", in_features)
        self.out_features = self.output_size = check_size("out_features", out_features)
        if isinstance(activation, str) and activation not in _ACTIVATIONS:
            raise ValueError(f"activation must be a function or one of {', '.join(map(repr, _ACTIVATIONS))}")
        self.activation = _ACTIVATIONS[activation] if isinstance(activation, str) else activation
        self.init_scale = init_scale
        self.alpha_scale = init_scale if alpha_scale is None else alpha_scale
        self.weight = nn.Parameter(torch.empty((out_features, in_features), device=device, dtype=dtype))
        self.plasticity = Plasticity(
            out_features,
            in_features,
            alpha=alpha,
            rule=rule,
            eta=eta,
            bound_eta=bound_eta,
            device=device,
            dtype=dtype,
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise all parameters as described for the class."""
        draw_(self.weight, "normal", self.init_scale)
        self.plasticity.reset_parameters("uniform", self.alpha_scale)

    def initial_state(self, batch_size: int) -> TraceState:
        """Return a trace of zeros, as in :class:`plasticrl.state.TraceState`."""
        shape = self.plasticity.trace_shape(self.out_features, self.in_features)
        return TraceState(self.weight.new_zeros(batch_size, *shape))

    def forward(
        self,
        inputs: Tensor,
        state: TraceState | None = None,
        reset: Tensor | None = None,
        drive: Tensor | None = None,
    ) -> tuple[Tensor, TraceState]:
        """Run over a sequence; see :class:`plasticrl.nn.Core`.

        Args:
            inputs: ``(T, B, in_features)``.
            state: state before the first step. Default: the start of an episode.
            reset: bool ``(T, B)``.
            drive: added before the activation, ``(T, B, out_features)``. Default: zero.

        Returns:
            Outputs ``(T, B, out_features)`` and the state after the last step.
        """
        _, outputs, after = self._run(inputs, state, reset, drive)
        return outputs, after

    def sums(
        self,
        inputs: Tensor,
        state: TraceState | None = None,
        reset: Tensor | None = None,
        drive: Tensor | None = None,
    ) -> tuple[Tensor, TraceState]:
        """Return the sums before the activation, and the same state as :meth:`forward`.

        For a softmax these are the logits: their log-softmax is finite even if the outputs round to 0.
        """
        sums, _, after = self._run(inputs, state, reset, drive)
        return sums, after

    def recall(self, inputs: Tensor, state: TraceState) -> Tensor:
        """Return the sums before the activation for each input, with the same trace, which stays as it is.

        Args:
            inputs: ``(T, B, in_features)``.
            state: the trace of each of the B episodes.

        Returns:
            ``(T, B, out_features)``, without a drive.
        """
        self._check_inputs(inputs)
        trace = self._trace(state, inputs.shape[1])
        alpha = self.plasticity.alpha
        if alpha is None:
            return inputs @ self.weight.T
        weight = self.weight + alpha * trace[:, : self.out_features]  # (B, out, in)
        return torch.einsum("tbi,boi->tbo", inputs, weight)

    def _run(
        self, inputs: Tensor, state: TraceState | None, reset: Tensor | None, drive: Tensor | None
    ) -> tuple[Tensor, Tensor, TraceState]:
        """Return sums and outputs, each ``(T, B, out_features)``, and the last state."""
        self._check_inputs(inputs, reset)
        batch_size = inputs.shape[1]
        trace = self._trace(self.initial_state(batch_size) if state is None else state, batch_size)
        fixed = inputs @ self.weight.T  # (T, B, out_features)
        if drive is not None:
            check_shape("drive", drive, tuple(fixed.shape))
            fixed = fixed + drive
        alpha, rule = self.plasticity.alpha, self.plasticity.rule
        if alpha is None:
            return fixed, torch.stack([self.activation(f) for f in fixed]), TraceState(trace)
        warn_of_free_eta(self.plasticity, self.plasticity.free_eta)
        eta, own = self.plasticity.eta_or_zero(self.weight), self.plasticity.rule_parameters()
        sums, outputs = [], []
        for t, x in enumerate(inputs):
            if reset is not None:
                trace = trace.masked_fill(reset[t, :, None, None], 0)
            sums.append(fixed[t] + torch.einsum("boi,bi->bo", alpha * trace[:, : self.out_features], x))
            outputs.append(self.activation(sums[-1]))
            trace = next_trace(rule, trace, x, outputs[-1], eta, None, own)
        return torch.stack(sums), torch.stack(outputs), TraceState(trace)

    def _trace(self, state: TraceState, batch_size: int) -> Tensor:
        (trace,) = parts_of(state, TraceState)
        shape = self.plasticity.trace_shape(self.out_features, self.in_features)
        check_shape("state.trace", trace, (batch_size, *shape))
        return trace

    def extra_repr(self) -> str:
        """Return sizes and initialisation, for ``print(module)``."""
        return f"{self.in_features}, {self.out_features}, init_scale={self.init_scale}"

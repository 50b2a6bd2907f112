"""Plastic LSTM and GRU: gates from fixed weights, and a candidate that also reads the trace."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from plasticrl.arguments import check_number, check_size
from plasticrl.nn.gated import FORGET_BIAS, keep_longer
from plasticrl.nn.plastic_rnn import AlphaMode, Init, PlasticCell, PlasticCore, PlasticRecurrence
from plasticrl.ops import Backend
from plasticrl.ops.cells import CELLS, Modulation
from plasticrl.rules import RuleLike
from plasticrl.state import PlasticLSTMState, PlasticState


class _Gated(PlasticRecurrence):
    """Arguments of the gated cells."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        alpha: AlphaMode = "full",
        rule: RuleLike = "delta",
        modulation: Modulation | None = None,
        modulate: Literal["neurons", "network"] = "neurons",
        eta: float = 0.5,
        bound_eta: bool = True,
        init: Init = "fan_in",
        init_scale: float = 1.0,
        alpha_scale: float = 0.1,
        forget_bias: float = FORGET_BIAS,
        backend: Backend = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if modulation is None:
            modulation = "none" if alpha == "none" else "sigmoid"
        super().__init__(
            check_size("input_size", input_size), hidden_size,
            alpha=alpha, rule=rule, modulation=modulation, modulate=modulate, eta=eta, bound_eta=bound_eta,
            init=init, init_scale=init_scale, alpha_scale=alpha_scale,
            backend=backend, device=device, dtype=dtype,
        )  # fmt: skip
        self.forget_bias = check_number("forget_bias", forget_bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the parameters; those of an LSTM or a GRU as :class:`plasticrl.nn.LSTM` does."""
        super().reset_parameters()
        assert self.in_proj is not None
        bound = self.hidden_size**-0.5
        for parameter in (*self.in_proj.parameters(), self.bias_hn):
            if parameter is not None:
                nn.init.uniform_(parameter, -bound, bound)
        keep_longer(self.in_proj.bias, self.hidden_size, self.forget_bias)


class _LSTM(_Gated):
    cell = CELLS["lstm"]


class PlasticLSTM(_LSTM, PlasticCore):
    r"""LSTM whose candidate also reads a Hebbian trace, which stores the candidates.

    With ``i, f, o`` the gates of ``torch.nn.LSTM``, ``x`` the previous output and H the trace::

        g = tanh(in_g + W_g x + (alpha * H) x)
        c <- f c + i g,  y = o tanh(c)
        H <- rule(H, pre=x, post=g, eta m)

    With alpha ``"none"`` it is ``torch.nn.LSTM`` with one bias.

    Args:
        input_size: features per step.
        hidden_size: number of neurons n.
        alpha: ``"full"`` (default), ``"shared"`` or ``"none"``.
        rule: ``"delta"`` (default), ``"hebb"``, ``"oja"``, ``"clipped"``, or a rule object.
        modulation: ``"sigmoid"`` (default), ``"tanh"`` or ``"none"``; see :class:`PlasticRNN`.
        modulate: ``"neurons"`` (default) or ``"network"``; see :class:`PlasticRNN`.
        eta: initial learning rate of the trace. Default 0.5.
        bound_eta: keep eta in (0, 1) through a sigmoid. Default True.
        init: see :class:`PlasticRNN`. Default ``"fan_in"``, as ``torch.nn.LSTM``.
        init_scale: default 1.
        alpha_scale: alpha starts as ``alpha_scale * N(0, 1)``. Default 0.1.
        forget_bias: see :class:`plasticrl.nn.LSTM`. Default 1.
        backend: implementation of the recurrence, see :func:`plasticrl.plastic_scan`.

    Raises:
        ValueError: an argument is outside the range above.
    """

    def forward(
        self, inputs: Tensor, state: PlasticLSTMState | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, PlasticLSTMState]:
        """Unroll over a sequence; see :class:`plasticrl.nn.Core`."""
        self._check_inputs(inputs, reset)
        return self._scan(inputs, state, reset)


class PlasticLSTMCell(_LSTM, PlasticCell):
    """One step of :class:`PlasticLSTM`: same arguments, same parameters, no time dimension."""

    def forward(
        self, inputs: Tensor, state: PlasticLSTMState | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, PlasticLSTMState]:
        """Run one step; see :meth:`plasticrl.PlasticRNNCell.forward`."""
        return self._step(inputs, state, reset)


class _GRU(_Gated):
    cell = CELLS["gru"]

    def input_layer(self) -> tuple[Tensor, Tensor]:
        """Return the layer of the sums, the inner one's being its bias alone, and then of the candidate."""
        assert self.in_proj is not None
        assert self.bias_hn is not None
        n = self.hidden_size
        gates, candidate, rest = slice(2 * n), slice(2 * n, 3 * n), slice(3 * n, None)
        w, b = self.in_proj.weight, self.in_proj.bias
        weight = torch.cat([w[gates], w.new_zeros(n, self.input_size), w[rest], w[candidate]])
        return weight, torch.cat([b[gates], self.bias_hn, b[rest], b[candidate]])

    def _drive(self, inputs: Tensor) -> Tensor:
        return linear(inputs, *self.input_layer())


class PlasticGRU(_GRU, PlasticCore):
    r"""GRU whose candidate also reads a Hebbian trace, which stores the candidates.

    With ``r, z`` the gates of ``torch.nn.GRU``, ``x`` the previous output and H the trace::

        n = tanh(in_n + r (W_n x + b_n) + (alpha * H) x)
        y = (1 - z) n + z x
        H <- rule(H, pre=x, post=n, eta m)

    With alpha ``"none"`` it is ``torch.nn.GRU``, whose biases of the gates are summed. Arguments as for
    :class:`PlasticLSTM`.
    """

    def forward(
        self, inputs: Tensor, state: PlasticState | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, PlasticState]:
        """Unroll over a sequence; see :class:`plasticrl.nn.Core`."""
        self._check_inputs(inputs, reset)
        return self._scan(inputs, state, reset)


class PlasticGRUCell(_GRU, PlasticCell):
    """One step of :class:`PlasticGRU`: same arguments, same parameters, no time dimension."""

    def forward(
        self, inputs: Tensor, state: PlasticState | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, PlasticState]:
        """Run one step; see :meth:`plasticrl.PlasticRNNCell.forward`."""
        return self._step(inputs, state, reset)

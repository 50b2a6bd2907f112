"""The plastic recurrent network: a single step (the cell), and the loop over time."""

from typing import NoReturn

import torch
from torch import Tensor, nn

from plasticrl.nn.core import HOOKS, Core, check_dtype, check_shape, hooks_for_all, positive, refuse_scripting
from plasticrl.nn.plastic import AlphaMode, Init, Plasticity, draw_
from plasticrl.ops import Backend, plastic_scan, plastic_step_
from plasticrl.ops.checks import check_state, check_tensor, check_tensors
from plasticrl.ops.scan import check_backend
from plasticrl.rules import RuleLike
from plasticrl.state import PlasticState


class PlasticRecurrence(nn.Module):
    """Parameters shared by the single step and the loop over time; arguments as in :class:`PlasticRNN`."""

    def __init__(
        self,
        input_size: int | None,
        hidden_size: int,
        *,
        alpha: AlphaMode = "full",
        rule: RuleLike = "hebb",
        eta: float = 0.01,
        bound_eta: bool = False,
        init: Init = "uniform",
        init_scale: float = 0.01,
        backend: Backend = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        n = positive("hidden_size", hidden_size)
        self.hidden_size = self.output_size = n
        self.input_size = n if input_size is None else positive("input_size", input_size)
        self.init: Init = init
        self.init_scale = init_scale
        check_backend(backend)
        self.backend: Backend = backend
        self.in_proj = None if input_size is None else nn.Linear(input_size, n, device=device, dtype=dtype)
        self.weight_hh = nn.Parameter(torch.empty((n, n), device=device, dtype=dtype))
        self.plasticity = Plasticity(
            n, n, alpha=alpha, rule=rule, eta=eta, bound_eta=bound_eta, device=device, dtype=dtype
        )
        self.reset_parameters()

    def __prepare_scriptable__(self) -> NoReturn:
        """Refuse ``torch.jit.script``; see :class:`plasticrl.nn.Core`."""
        refuse_scripting(self)

    def reset_parameters(self) -> None:
        """Initialise all parameters as described for the class."""
        if self.in_proj is not None:
            self.in_proj.reset_parameters()
        draw_(self.weight_hh, self.init, self.init_scale)
        self.plasticity.reset_parameters(self.init, self.init_scale)

    def initial_state(self, batch_size: int) -> PlasticState:
        """Return zeros: hidden ``(B, n)`` and trace ``(B, n, n)``, or ``(B, 0, 0)`` if alpha is "none"."""
        n = self.hidden_size
        return PlasticState(
            self.weight_hh.new_zeros(batch_size, n),
            self.weight_hh.new_zeros(batch_size, *self.plasticity.trace_shape(n, n)),
        )

    def _scan(
        self,
        inputs: Tensor,
        state: PlasticState | None,
        reset: Tensor | None,
        clamp: Tensor | None,
        known: tuple[Tensor, PlasticState] | None = None,
    ) -> tuple[Tensor, PlasticState]:
        if state is None:
            state = self.initial_state(inputs.shape[1])
        drive: Tensor = inputs if self.in_proj is None else self.in_proj(inputs)
        alpha, eta = self.coefficients()
        rule = self.plasticity.rule
        return plastic_scan(
            drive,
            self.weight_hh,
            alpha,
            eta,
            state,
            reset,
            clamp,
            rule=rule,
            backend=self.backend,
            known=known,
        )

    def coefficients(self) -> tuple[Tensor | None, Tensor]:
        """Return alpha and eta as expected by :func:`plasticrl.plastic_scan`; eta is 0 if alpha is None."""
        alpha = self.plasticity.alpha
        return alpha, self.weight_hh.new_zeros(()) if alpha is None else self.plasticity.eta

    def extra_repr(self) -> str:
        """Return sizes and initialisation, for ``print(module)``."""
        return f"{self.input_size}, {self.hidden_size}, init={self.init!r}, init_scale={self.init_scale}"


class PlasticRNN(PlasticRecurrence, Core):
    r"""Recurrent network in which every connection has a fixed and a plastic part.

    ``y(t) = tanh(in_proj(x(t)) + (w + alpha * H) y(t-1))``. The trace H is updated by a Hebbian rule
    at every step (Miconi, Clune & Stanley 2018, eqs. 1-3).

    Args:
        input_size: features per step; None feeds ``hidden_size`` inputs to the neurons directly,
            without a projection (the paper's pattern and image networks).
        hidden_size: number of neurons n.
        alpha: ``"full"`` (default), ``"shared"`` or ``"none"`` (a plain tanh RNN).
        rule: ``"hebb"`` (default), ``"oja"``, ``"clipped"``, or a rule object.
        eta: initial learning rate of the trace. Default 0.01.
        bound_eta: keep eta in (0, 1) through a sigmoid. Default False: unbounded, as in the paper.
        init: ``"uniform"`` (default) draws w and alpha from ``init_scale * U(0, 1)``, as in the paper's
            maze; ``"normal"`` from ``init_scale * N(0, 1)``, as for its patterns. The projection is
            initialised like ``torch.nn.Linear``.
        init_scale: default 0.01, as in the paper.
        backend: implementation of the recurrence, see :func:`plasticrl.plastic_scan`. Each call raises an
            error if the backend does not support its arguments.

    Raises:
        ValueError: an argument is outside the range above.
    """

    def forward(
        self,
        inputs: Tensor,
        state: PlasticState | None = None,
        reset: Tensor | None = None,
        clamp: Tensor | None = None,
    ) -> tuple[Tensor, PlasticState]:
        """Unroll over a sequence; see :class:`plasticrl.nn.Core`.

        Args:
            inputs: ``(T, B, input_size)``.
            state: state before the first step. Default: the start of an episode.
            reset: bool ``(T, B)``.
            clamp: bool ``(T, B, n)``, true if a neuron's output is set to its input (after the
                projection, if there is one) instead of being computed.

        Returns:
            Outputs ``(T, B, n)`` and the state after the last step.
        """
        self._check_inputs(inputs)
        return self._scan(inputs, state, reset, clamp)

    def replay(
        self, inputs: Tensor, state: PlasticState, reset: Tensor, known: tuple[Tensor, PlasticState]
    ) -> tuple[Tensor, PlasticState]:
        """Unroll over a known rollout without the forward pass; see :meth:`plasticrl.nn.Core.replay`."""
        if _runs_other_code(self):
            return super().replay(inputs, state, reset, known)
        self._check_inputs(inputs, reset)
        return self._scan(inputs, state, reset, None, known)

    def step_(self, inputs: Tensor, state: PlasticState, reset: Tensor | None = None) -> Tensor:
        """Run one step and update the trace in place; see :meth:`plasticrl.nn.Core.step_`."""
        if self.backend != "auto" or _runs_other_code(self):  # steps must use the chosen code, too
            return super().step_(inputs, state, reset)
        check_tensor("inputs", inputs)
        check_tensors(reset=reset)
        self._check_inputs(inputs[None], None if reset is None else reset[None])
        check_state(state)
        shape = self.plasticity.trace_shape(self.hidden_size, self.hidden_size)
        check_shape("state.trace", state.trace, (len(inputs), *shape))
        with torch.no_grad():
            drive = inputs if self.in_proj is None else self.in_proj(inputs)
            alpha, eta = self.coefficients()
            return plastic_step_(drive, self.weight_hh, alpha, eta, state, reset, rule=self.plasticity.rule)


_FORWARD = PlasticRNN.forward


def _runs_other_code(rnn: PlasticRNN) -> bool:
    """Return True if calling the module runs code other than :meth:`PlasticRNN.forward`, such as hooks."""
    own = vars(rnn)
    return (
        type(rnn).forward is not _FORWARD
        or "forward" in own
        or any(own[name] for name in HOOKS)
        or hooks_for_all()
    )


class PlasticRNNCell(PlasticRecurrence):
    """One step of :class:`PlasticRNN`: same arguments, same parameters, no time dimension.

    Example:
        ``for x in inputs: y, state = cell(x, state)`` equals ``PlasticRNN``'s ``rnn(inputs, state)``.
    """

    def forward(
        self,
        inputs: Tensor,
        state: PlasticState | None = None,
        reset: Tensor | None = None,
        clamp: Tensor | None = None,
    ) -> tuple[Tensor, PlasticState]:
        """Run one step.

        Args:
            inputs: ``(B, input_size)``.
            state: state before the step. Default: the start of an episode.
            reset: bool ``(B,)``.
            clamp: bool ``(B, n)``.

        Returns:
            Output ``(B, n)`` and the new state.
        """
        check_tensor("inputs", inputs)
        check_tensors(reset=reset, clamp=clamp)
        if inputs.ndim != 2 or inputs.shape[-1] != self.input_size:
            raise ValueError(f"inputs must be (B, {self.input_size}), not {tuple(inputs.shape)}")
        check_dtype(inputs, self.weight_hh.dtype)
        outputs, after = self._scan(
            inputs[None],
            state,
            None if reset is None else reset[None],
            None if clamp is None else clamp[None],
        )
        return outputs[0], after

"""The plastic recurrent network: its parameters, a single step (the cell), and the loop over time."""

from typing import Any, ClassVar, Literal, NoReturn, TypeVar, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from plasticrl.arguments import check_choice, check_size
from plasticrl.nn.core import Core, check_dtype, check_shape, refuse_scripting
from plasticrl.nn.notices import report_backend, warn_of_free_eta
from plasticrl.nn.plasticity import AlphaMode, Init, Plasticity, draw_
from plasticrl.ops import Backend, plastic_scan, plastic_step_
from plasticrl.ops.cells import CELLS, Cell, Modulation
from plasticrl.ops.checks import check_state, check_tensor, check_tensors
from plasticrl.ops.problem import state_of
from plasticrl.rules import RuleLike
from plasticrl.state import PlasticState

_R = TypeVar("_R", bound="_RNN")

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Attributes in which torch keeps a module's forward and backward hooks."""


def hooks_for_all() -> bool:
    """Return True if torch has global hooks, which run in every module."""
    return bool(_has_any_global_hook())  # type: ignore[no-untyped-call]


class PlasticRecurrence(nn.Module):
    """Parameters of one cell, shared by the single step and the loop over time.

    A subclass names its cell; arguments as in :class:`PlasticRNN`.
    """

    cell: ClassVar[Cell]
    bias_hn: nn.Parameter | None  # of the sums that a GRU's gate multiplies

    def __init__(
        self,
        input_size: int | None,
        hidden_size: int,
        *,
        alpha: AlphaMode,
        rule: RuleLike,
        modulation: Modulation,
        modulate: Literal["neurons", "network"],
        eta: float,
        bound_eta: bool,
        init: Init,
        init_scale: float | None,
        alpha_scale: float | None,
        backend: Backend,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        n = check_size("hidden_size", hidden_size)
        self.hidden_size = self.output_size = n
        self.input_size = n if input_size is None else check_size("input_size", input_size)
        self.init: Init = init
        papers = init in ("uniform", "normal")  # the paper draws w and alpha alike
        self.init_scale = (0.01 if papers else 1.0) if init_scale is None else init_scale
        self.alpha_scale = (self.init_scale if papers else 0.01) if alpha_scale is None else alpha_scale
        check_choice("backend", backend, get_args(Backend))
        check_choice("modulation", modulation, get_args(Modulation))
        check_choice("modulate", modulate, ("neurons", "network"))
        if modulation != "none" and (alpha == "none" or input_size is None):
            reason = "alpha='none' stores nothing" if alpha == "none" else "it needs an input_size"
            raise ValueError(f"modulation {modulation!r} does not apply: {reason}")
        self.backend: Backend = backend
        self.modulation: Modulation = modulation
        modulated = 0 if modulation == "none" else n if modulate == "neurons" else 1
        rows = self.rows = self.cell.sums * n + modulated
        self.in_proj = None if input_size is None else nn.Linear(input_size, rows, device=device, dtype=dtype)
        self.weight_hh = nn.Parameter(torch.empty((rows, n), device=device, dtype=dtype))
        bias = nn.Parameter(torch.empty(n, device=device, dtype=dtype)) if self.cell.inputs else None
        self.register_parameter("bias_hn", bias)
        self.plasticity = Plasticity(
            n, n, alpha=alpha, rule=rule, eta=eta, bound_eta=bound_eta, device=device, dtype=dtype
        )

    def __prepare_scriptable__(self) -> NoReturn:
        """Refuse ``torch.jit.script``; see :class:`plasticrl.nn.Core`."""
        refuse_scripting(self)

    def reset_parameters(self) -> None:
        """Initialise all parameters as described for the class."""
        if self.in_proj is not None:
            self.in_proj.reset_parameters()
        for rows in torch.split(self.weight_hh.detach(), self.hidden_size):  # each group is its own matrix
            draw_(rows, self.init, self.init_scale)
        self.plasticity.reset_parameters(self.init, self.alpha_scale)

    def initial_state(self, batch_size: int) -> Any:
        """Return zeros: each part ``(B, n)``, and the trace as in :class:`plasticrl.state.PlasticState`."""
        n = self.hidden_size
        hidden, trace = (
            self.weight_hh.new_zeros(batch_size, *shape)
            for shape in ((n,), self.plasticity.trace_shape(n, n))
        )
        return state_of(hidden, torch.zeros_like(hidden) if self.cell.has_memory else None, trace)

    def input_layer(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the layer that gives the drive of :func:`plasticrl.plastic_scan`."""
        assert self.in_proj is not None
        return self.in_proj.weight, self.in_proj.bias

    def _drive(self, inputs: Tensor) -> Tensor:
        return inputs if self.in_proj is None else self.in_proj(inputs)

    def _scan(
        self,
        inputs: Tensor,
        state: Any,
        reset: Tensor | None,
        clamp: Tensor | None = None,
        known: tuple[Tensor, Any] | None = None,
    ) -> tuple[Tensor, Any]:
        if state is None:
            state = self.initial_state(inputs.shape[1])
        warn_of_free_eta(self.plasticity, self.plasticity.free_eta)
        arguments = (self._drive(inputs), self.weight_hh, *self.coefficients(), state, reset, clamp)
        options = self._options()
        results = plastic_scan(*arguments, backend=self.backend, known=known, **options)
        report_backend(self, self.backend, arguments, options)
        return results

    def _options(self) -> dict[str, Any]:
        """Return the options that the scan and the step share."""
        return {
            "rule": self.plasticity.rule,
            "cell": self.cell.name,
            "modulation": self.modulation,
            "rule_parameters": self.plasticity.rule_parameters(),
        }

    def coefficients(self) -> tuple[Tensor | None, Tensor]:
        """Return alpha and eta as expected by :func:`plasticrl.plastic_scan`; eta is 0 if there is none."""
        return self.plasticity.alpha, self.plasticity.eta_or_zero(self.weight_hh)

    def extra_repr(self) -> str:
        """Return sizes, modulation and initialisation, for ``print(module)``."""
        modulation = "" if self.modulation == "none" else f", modulation={self.modulation!r}"
        start = f"init={self.init!r}, init_scale={self.init_scale}, alpha_scale={self.alpha_scale}"
        return f"{self.input_size}, {self.hidden_size}{modulation}, {start}"


class PlasticCore(PlasticRecurrence, Core):
    """Loop of a plastic cell over time, and its single step in place."""

    _forward: ClassVar[Any]  # the forward method whose code step_ and replay replace

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if PlasticCore in cls.__bases__:
            cls._forward = staticmethod(cls.forward)

    def replay(
        self, inputs: Tensor, state: Any, reset: Tensor, known: tuple[Tensor, Any]
    ) -> tuple[Tensor, Any]:
        """Unroll over a known rollout, without the forward pass where that is possible."""
        if self._runs_other_code():
            return super().replay(inputs, state, reset, known)
        self._check_inputs(inputs, reset)
        return self._scan(inputs, state, reset, None, known)

    def step_(self, inputs: Tensor, state: Any, reset: Tensor | None = None) -> Tensor:
        """Run one step and update the state in place; see :meth:`plasticrl.nn.Core.step_`."""
        if self.backend != "auto" or self._runs_other_code():  # steps must use the chosen code, too
            return super().step_(inputs, state, reset)
        check_tensor("inputs", inputs)
        check_tensors(reset=reset)
        self._check_inputs(inputs[None], None if reset is None else reset[None])
        check_state(state, self.cell)
        shape = self.plasticity.trace_shape(self.hidden_size, self.hidden_size)
        check_shape("state.trace", state.trace, (len(inputs), *shape))
        with torch.no_grad():
            return plastic_step_(
                self._drive(inputs), self.weight_hh, *self.coefficients(), state, reset, **self._options()
            )

    def _runs_other_code(self) -> bool:
        """Return True if calling the module runs code other than its class's own, such as hooks."""
        own = vars(self)
        return (
            type(self).forward is not self._forward
            or "forward" in own
            or any(own[name] for name in HOOKS)
            or hooks_for_all()
        )


class PlasticCell(PlasticRecurrence):
    """One step of a plastic cell, without a time dimension."""

    def _step(
        self, inputs: Tensor, state: Any, reset: Tensor | None, clamp: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        check_tensor("inputs", inputs)
        check_tensors(reset=reset, clamp=clamp)
        if inputs.ndim != 2 or inputs.shape[-1] != self.input_size:
            raise ValueError(f"inputs must be (B, {self.input_size}), not {tuple(inputs.shape)}")
        check_dtype(inputs, self.weight_hh.dtype)
        resets, clamps = (None if one is None else one[None] for one in (reset, clamp))
        outputs, after = self._scan(inputs[None], state, resets, clamps)
        return outputs[0], after


class _RNN(PlasticRecurrence):
    """Arguments of the plastic RNN."""

    cell = CELLS["rnn"]

    def __init__(
        self,
        input_size: int | None,
        hidden_size: int,
        *,
        alpha: AlphaMode = "full",
        rule: RuleLike = "hebb",
        modulation: Modulation = "none",
        modulate: Literal["neurons", "network"] = "neurons",
        eta: float = 0.1,
        bound_eta: bool = True,
        init: Init = "orthogonal",
        init_scale: float | None = None,
        alpha_scale: float | None = None,
        backend: Backend = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size,
            alpha=alpha, rule=rule, modulation=modulation, modulate=modulate, eta=eta, bound_eta=bound_eta,
            init=init, init_scale=init_scale, alpha_scale=alpha_scale,
            backend=backend, device=device, dtype=dtype,
        )  # fmt: skip
        self.reset_parameters()

    @classmethod
    def paper(cls: type[_R], input_size: int | None, hidden_size: int, **options: Any) -> _R:
        """Return a network that starts as in the paper's maze (Miconi, Clune & Stanley 2018).

        w and alpha are drawn from ``0.01 * U(0, 1)``, the rule is Hebb's, and eta starts at 0.01 without
        bounds. Such a network may learn late or not at all where rewards are rare.

        Args:
            input_size: as for the class.
            hidden_size: as for the class.
            **options: arguments of the class, which replace these.
        """
        start: dict[str, Any] = {"rule": "hebb", "eta": 0.01, "bound_eta": False, "init": "uniform"}
        return cls(input_size, hidden_size, **{**start, **options})


class PlasticRNN(_RNN, PlasticCore):
    r"""Recurrent network in which every connection has a fixed and a plastic part.

    ``y(t) = tanh(in_proj(x(t)) + (w + alpha * H) y(t-1))``. The trace H is updated by a Hebbian rule
    at every step (Miconi, Clune & Stanley 2018, eqs. 1-3).

    Args:
        input_size: features per step; None feeds ``hidden_size`` inputs to the neurons directly,
            without a projection (the paper's pattern and image networks).
        hidden_size: number of neurons n.
        alpha: ``"full"`` (default), ``"shared"`` or ``"none"`` (a plain tanh RNN).
        rule: ``"hebb"`` (default), ``"oja"``, ``"clipped"``, ``"delta"``, ``"retroactive"``, ``"stp"``,
            ``"fast_weights"``, or a rule object.
        modulation: ``"none"`` (default), or ``"sigmoid"`` or ``"tanh"`` of a linear read-out of input and
            hidden state, which multiplies the rate at which a neuron stores.
        modulate: read out a modulation for each of the ``"neurons"`` (default) or one for the ``"network"``.
        eta: initial learning rate of the trace. Default 0.1.
        bound_eta: keep eta in (0, 1) through a sigmoid. Default True; False leaves it unbounded, as in the
            paper, and warns once if it leaves (0, 1).
        init: ``"orthogonal"`` (default) draws an orthogonal w, ``"fan_in"`` one from
            ``init_scale * U(-1, 1) / sqrt(n)``, both with alpha from ``alpha_scale * N(0, 1)``; ``"uniform"``
            draws w and alpha from ``init_scale * U(0, 1)``, as in the paper's maze, and ``"normal"`` from
            ``init_scale * N(0, 1)``, as for its patterns. The projection is initialised like
            ``torch.nn.Linear``.
        init_scale: default 1, or the paper's 0.01 for ``"uniform"`` and ``"normal"``.
        alpha_scale: scale of alpha. Default 0.01, or ``init_scale`` for ``"uniform"`` and ``"normal"``.
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


class PlasticRNNCell(_RNN, PlasticCell):
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
        return self._step(inputs, state, reset, clamp)

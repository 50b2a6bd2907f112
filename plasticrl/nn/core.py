"""The interface of all cores, networks that carry memory between steps, and the core without memory."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from plasticrl.arguments import check_size
from plasticrl.ops import tracing
from plasticrl.ops.checks import check_tensor, check_tensors, kind_and_length

State = tuple[Tensor, ...]
"""A NamedTuple of tensors whose first dimension is the batch; empty for a core without memory."""


class Core(nn.Module, ABC):
    """A recurrent core: ``(inputs, state, reset) -> (outputs, state)``, time first.

    Attributes:
        input_size: features per step of the inputs.
        output_size: features per step of the outputs.
    """

    input_size: int
    output_size: int

    def __prepare_scriptable__(self) -> NoReturn:
        """Refuse ``torch.jit.script``, which calls this method first.

        Raises:
            RuntimeError: always.
        """
        refuse_scripting(self)

    @abstractmethod
    def initial_state(self, batch_size: int) -> Any:
        """Return the state at the start of an episode: zeros, on the module's device and in its dtype.

        Args:
            batch_size: number of parallel episodes.

        Returns:
            A NamedTuple of tensors, batch first.
        """

    @abstractmethod
    def forward(self, inputs: Tensor, state: Any = None, reset: Tensor | None = None) -> tuple[Tensor, Any]:
        """Unroll over a sequence.

        Args:
            inputs: ``(T, B, input_size)``.
            state: state before the first step; None for the start of an episode.
            reset: bool ``(T, B)``, true at the first step of an episode: the state of that
                row is cleared before the step. Default: no resets.

        Returns:
            Outputs ``(T, B, output_size)`` and the state after the last step.

        Raises:
            ValueError: a shape or a dtype is wrong.
            TypeError: an argument is not a tensor, or not a state.
        """

    def replay(
        self, inputs: Tensor, state: Any, reset: Tensor, known: tuple[Tensor, Any]
    ) -> tuple[Tensor, Any]:
        """Unroll over a rollout whose outputs are known, to train on it.

        Returns the same as :meth:`forward`, with gradients. A core may use the known outputs to skip the
        forward pass.

        Args:
            inputs: ``(T, B, input_size)``.
            state: state before the first step.
            reset: bool ``(T, B)``.
            known: the results of :meth:`step_` with the same parameters: outputs of all steps,
                ``(T, B, output_size)``, and the state after the last one.
        """
        result: tuple[Tensor, Any] = self(inputs, state, reset)
        return result

    def step_(self, inputs: Tensor, state: Any, reset: Tensor | None = None) -> Tensor:
        """Run one step without gradient and overwrite ``state``; used in rollouts.

        Args:
            inputs: ``(B, input_size)``.
            state: modified in place; required.
            reset: bool ``(B,)``. Default: no resets.

        Returns:
            Outputs ``(B, output_size)``.

        Raises:
            ValueError: a shape or a dtype is wrong.
            TypeError: an argument is not a tensor, or not a state.
        """
        check_tensor("inputs", inputs)
        check_tensors(reset=reset)
        if state is None:
            raise TypeError("state must be given, since step_ overwrites it: call initial_state first")
        with torch.no_grad():
            outputs, after = self(inputs[None], state, None if reset is None else reset[None])
            for old, new in zip(state, after, strict=True):
                old.copy_(new)
            output: Tensor = outputs[0]
        return output

    def _check_inputs(self, inputs: Tensor, reset: Tensor | None = None) -> None:
        check_tensor("inputs", inputs)
        if inputs.ndim != 3 or inputs.shape[0] < 1 or inputs.shape[-1] != self.input_size:
            raise ValueError(
                f"inputs must be (T, B, {self.input_size}) with T >= 1, not {tuple(inputs.shape)}"
            )
        check_dtype(inputs, next(self.parameters()).dtype)
        if reset is not None:
            check_shape("reset", reset, tuple(inputs.shape[:2]))
            if reset.dtype != torch.bool:
                raise ValueError(f"reset must be bool, not {reset.dtype}")


def refuse_scripting(module: nn.Module) -> NoReturn:
    """Raise RuntimeError for ``torch.jit.script``, which supports only a part of Python.

    Raises:
        RuntimeError: always; the message names the alternatives.
    """
    raise RuntimeError(
        f"torch.jit.script cannot compile {type(module).__name__}: record it with torch.jit.trace or "
        'torch.export.export (a plastic core with backend="reference")'
    )


def parts_of(state: object, kind: type[NamedTuple]) -> tuple[Tensor, ...]:
    """Return the tensors of a state; a plain tuple of the same length is accepted, too.

    Raises:
        TypeError: ``state`` is something else, or one of its parts is not a tensor.
    """
    parts = kind._fields
    if not isinstance(state, tuple) or len(state) != len(parts):
        raise TypeError(
            f"state must be {kind.__name__}({', '.join(parts)}), as initial_state and the previous call "
            f"return it, not {kind_and_length(state)}"
        )
    for field, part in zip(parts, state, strict=True):
        check_tensor(f"state.{field}", part)
    return state


def check_dtype(inputs: Tensor, dtype: torch.dtype) -> None:
    """Raise ValueError unless inputs have the dtype of the parameters or ``torch.autocast`` casts them.

    Raises:
        ValueError: the dtypes differ; the message names both.
    """
    if inputs.dtype != dtype and not (inputs.is_floating_point() and tracing.autocasts(inputs.device)):
        raise ValueError(f"inputs must be {dtype} like the parameters, not {inputs.dtype}: cast one of them")


def check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Raise unless ``tensor`` is a tensor of that shape.

    Raises:
        ValueError: it has another shape; the message names both.
        TypeError: it is not a tensor.
    """
    check_tensor(name, tensor)
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, not {tuple(tensor.shape)}")


class NoState(NamedTuple):
    """The empty state of a core without memory."""


class FeedForward(Core):
    """``y = tanh(W x + b)``, independently at each step: the control that shows the benefit of memory.

    Args:
        input_size: features per step.
        hidden_size: number of neurons n.

    Raises:
        ValueError: a size is not an integer above 0.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = check_size("input_size", input_size)
        self.hidden_size = self.output_size = check_size("hidden_size", hidden_size)
        self.linear = nn.Linear(input_size, hidden_size)

    def reset_parameters(self) -> None:
        """Initialise all parameters, as ``torch.nn.Linear`` does."""
        self.linear.reset_parameters()

    def initial_state(self, batch_size: int) -> NoState:
        """Return the empty state."""
        return NoState()

    def forward(
        self, inputs: Tensor, state: NoState | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, NoState]:
        """Apply the layer to every step; see :class:`Core`."""
        self._check_inputs(inputs, reset)
        if state is not None:
            parts_of(state, NoState)
        return torch.tanh(self.linear(inputs)), NoState()

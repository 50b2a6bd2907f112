"""The interface of everything that carries memory between steps."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

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

    @abstractmethod
    def initial_state(self, batch_size: int) -> Any:
        """The state at the start of an episode: zeros, on the module's device and of its dtype.

        Args:
            batch_size: number of episodes side by side.

        Returns:
            A NamedTuple of tensors, batch first.
        """

    @abstractmethod
    def forward(self, inputs: Tensor, state: Any = None, reset: Tensor | None = None) -> tuple[Tensor, Any]:
        """Unroll over a sequence.

        Args:
            inputs: ``(T, B, input_size)``.
            state: state before the first step; None for the start of an episode.
            reset: bool ``(T, B)``, true where a step is the first of an episode: the state of that
                row is cleared before the step. Default: no resets.

        Returns:
            outputs ``(T, B, output_size)`` and the state after the last step.

        Raises:
            ValueError: a shape or a dtype does not fit.
        """

    def step_(self, inputs: Tensor, state: Any, reset: Tensor | None = None) -> Tensor:
        """One step without gradient that overwrites ``state``: what a rollout runs.

        Args:
            inputs: ``(B, input_size)``.
            state: changed in place.
            reset: bool ``(B,)``. Default: no resets.

        Returns:
            outputs ``(B, output_size)``.
        """
        with torch.no_grad():
            outputs, after = self(inputs[None], state, None if reset is None else reset[None])
            for old, new in zip(state, after, strict=True):
                old.copy_(new)
            output: Tensor = outputs[0]
        return output

    def _check_inputs(self, inputs: Tensor) -> None:
        if inputs.ndim != 3 or inputs.shape[-1] != self.input_size:
            raise ValueError(f"inputs must be (T, B, {self.input_size}), not {tuple(inputs.shape)}")


def positive(name: str, value: int) -> int:
    """``value`` if it is an integer above 0; otherwise an error that says which argument is wrong.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer above 0, not {value!r}")
    return value

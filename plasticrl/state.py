"""The states that plastic networks carry from one step to the next."""

from typing import NamedTuple, TypeAlias

from torch import Tensor


class PlasticState(NamedTuple):
    """State of a plastic RNN or GRU: passed in and returned, never hidden in a module.

    Attributes:
        hidden: latest outputs, ``(B, n)``.
        trace: Hebbian trace, ``(B, n_post, n_pre)``; ``(B, 0, 0)`` if alpha is "none". A rule of two
            matrices has twice the rows, those of H first.
    """

    hidden: Tensor
    trace: Tensor


class PlasticLSTMState(NamedTuple):
    """State of a plastic LSTM.

    Attributes:
        hidden: latest outputs, ``(B, n)``.
        cell: cell state, ``(B, n)``.
        trace: Hebbian trace, ``(B, n_post, n_pre)``; ``(B, 0, 0)`` if alpha is "none". A rule of two
            matrices has twice the rows, those of H first.
    """

    hidden: Tensor
    cell: Tensor
    trace: Tensor


class TraceState(NamedTuple):
    """State of a feed-forward plastic layer.

    Attributes:
        trace: Hebbian trace, ``(B, n_out, n_in)``; ``(B, 0, 0)`` if alpha is "none". A rule of two
            matrices has twice the rows, those of H first.
    """

    trace: Tensor


RecurrentState: TypeAlias = PlasticState | PlasticLSTMState

"""Arguments and results of the backends."""

from typing import NamedTuple, Protocol

from torch import Tensor

from plasticrl.ops.cells import CELLS, Cell, Modulation
from plasticrl.rules import HebbianRule, Rule
from plasticrl.state import PlasticLSTMState, PlasticState, RecurrentState


class Problem(NamedTuple):
    """Arguments of a scan; shapes as in :func:`plasticrl.plastic_scan`."""

    drive: Tensor
    w: Tensor
    alpha: Tensor | None
    eta: Tensor
    hidden: Tensor
    memory: Tensor | None
    trace: Tensor
    reset: Tensor | None
    clamp: Tensor | None
    rule: Rule
    cell: Cell = CELLS["rnn"]
    modulation: Modulation = "none"
    parameters: tuple[Tensor, ...] = ()

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """The arguments that are tensors."""
        return (*self[:9], *self.parameters)

    @property
    def sums(self) -> int:
        """Number of sums of a sample: rows of w."""
        return self.w.shape[0]

    @property
    def modulated(self) -> int:
        """Number of sums that decide the modulation: n, 1, or 0 without it."""
        return self.w.shape[0] - self.cell.sums * self.hidden.shape[-1]

    def read(self, trace: Tensor) -> Tensor:
        """Return the matrix of the trace that the network reads, a view."""
        return trace if self.rule.matrices == 1 else trace[:, : self.hidden.shape[-1]]

    @property
    def reads_recall(self) -> bool:
        """True if the rule reads what the trace recalls."""
        return self.alpha is not None and isinstance(self.rule, HebbianRule) and self.rule.reads_recall

    @property
    def recorded(self) -> int:
        """Number of values per sample and step that the adjoint needs besides the outputs.

        They are the cell's own, then the recalled values if the rule reads them, then the modulation.
        """
        n = self.hidden.shape[-1]
        return n * (self.cell.recorded + self.reads_recall) + (0 if self.alpha is None else self.modulated)


class Result(NamedTuple):
    """Results of a scan.

    Attributes:
        outputs: ``(T, B, n)``.
        memory: last cell state, None for a cell without one.
        trace: last trace.
        record: values for the adjoint, ``(T, B, recorded)``; ``(T, B, 0)`` if they were not asked for.
    """

    outputs: Tensor
    memory: Tensor | None
    trace: Tensor
    record: Tensor


class Cotangents(NamedTuple):
    """Adjoints of the results; ``trace`` is None if nothing depends on the last trace."""

    outputs: Tensor
    hidden: Tensor
    memory: Tensor | None
    trace: Tensor | None


class Gradients(NamedTuple):
    """Adjoints of the arguments; that of w follows from the first columns of the drive's."""

    drive: Tensor
    alpha: Tensor | None
    eta: Tensor
    hidden: Tensor
    memory: Tensor | None
    trace: Tensor | None
    parameters: tuple[Tensor, ...] = ()


class Engine(Protocol):
    """An implementation of the recurrence and its adjoint without autograd."""

    def run(self, problem: Problem) -> Result:
        """Compute the results."""
        ...

    def gradients(
        self, problem: Problem, outputs: Tensor, record: Tensor, cotangents: Cotangents, *, with_trace: bool
    ) -> Gradients:
        """Compute the adjoints of the arguments; that of the first trace (``B n^2``) only on request."""
        ...


def presynaptic(problem: Problem, outputs: Tensor) -> Tensor:
    """Return ``x(t)``, ``(T, B, n)``: the outputs of the previous step, zero at resets."""
    x = outputs.roll(1, 0)
    x[0] = problem.hidden
    return x if problem.reset is None else x.masked_fill_(problem.reset.unsqueeze(-1), 0)


def state_of(hidden: Tensor, memory: Tensor | None, trace: Tensor) -> RecurrentState:
    """Return the state with these parts; ``memory`` is the cell state, if there is one."""
    return PlasticState(hidden, trace) if memory is None else PlasticLSTMState(hidden, memory, trace)

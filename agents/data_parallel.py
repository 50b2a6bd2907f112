"""Several processes that train one learner together, each on its share of every batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from plasticrl.agents.finite_checks import NonFiniteError


class LostProcessError(Exception):
    """Another process of the training has ended, or does not answer."""


@dataclass(frozen=True)
class Ranks:
    """The processes that train together, as one of them sees them; alone unless told otherwise.

    What they tell each other goes through ``torch.distributed``'s default group, which must be there where
    they are several: gradients on their own device, everything else on the CPU. All of them must call the
    same methods in the same order.

    Args:
        rank: number of this process, from 0.
        size: how many there are.

    Raises:
        LostProcessError: (all methods that talk) another process has ended, or does not answer.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def of_group(cls) -> Ranks:
        """The processes of the default group."""
        return cls(dist.get_rank(), dist.get_world_size())

    def share(self, total: int) -> slice:
        """Which of ``total`` things side by side are this process's own; all get equally many.

        Raises:
            ValueError: they cannot be shared evenly.
        """
        if total % self.size:
            raise ValueError(
                f"{self.size} processes cannot share {total} evenly: give a multiple of {self.size}"
            )
        count = total // self.size
        return slice(self.rank * count, (self.rank + 1) * count)

    def among_all(self, rows: Tensor) -> Tensor:
        """This process's rows at their place among those of all, which are 0."""
        if self.size == 1:
            return rows
        every = rows.new_zeros(len(rows) * self.size, *rows.shape[1:])
        every[self.share(len(every))] = rows
        return every

    def average(self, parameters: Iterable[Tensor], *scalars: Tensor) -> tuple[Tensor, ...]:
        """Put the mean over all processes into each parameter's gradient; returns those of the scalars.

        All travels in one piece: the processes wait for each other once per update, not once per tensor.
        """
        if self.size == 1:
            return scalars
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        pieces = [*gradients, *(scalar.detach() for scalar in scalars)]
        flat = torch.cat([piece.reshape(-1) for piece in pieces])
        with _blames_others():
            dist.all_reduce(flat)
        flat /= self.size
        means = torch.split(flat, [piece.numel() for piece in pieces])
        for gradient, mean in zip(gradients, means, strict=False):
            gradient.copy_(mean.view(gradient.shape))
        return tuple(mean.view(()) for mean in means[len(gradients) :])

    def means(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean over all processes of each value; always the same names."""
        if self.size == 1 or not values:
            return dict(values)
        total = torch.tensor(list(values.values()), dtype=torch.float64)
        with _blames_others():
            dist.all_reduce(total)
        return dict(zip(values, (total / self.size).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether it is true for one of the processes."""
        if self.size == 1:
            return flag
        highest = torch.tensor(int(flag))
        with _blames_others():
            dist.all_reduce(highest, dist.ReduceOp.MAX)
        return bool(highest)

    def told(self, number: int) -> int:
        """The first process's number, whatever the others give."""
        if self.size == 1:
            return number
        message = torch.tensor(number)
        with _blames_others():
            dist.broadcast(message, src=0)
        return int(message)

    def gather(self, array: NDArray[Any], axis: int) -> NDArray[Any]:
        """The arrays of all processes, which have the same shape, one after another along an axis."""
        if self.size == 1:
            return array
        return np.concatenate([part.numpy() for part in self._all(torch.tensor(array))], axis)

    def gather_bytes(self, content: bytes) -> list[bytes]:
        """What each process has, of any length."""
        if self.size == 1:
            return [content]
        lengths = [int(length) for length in self._all(torch.tensor(len(content)))]
        padded = np.frombuffer(content.ljust(max(1, *lengths), b"\0"), np.uint8)
        parts = self._all(torch.tensor(padded))
        return [part.numpy().tobytes()[:length] for part, length in zip(parts, lengths, strict=True)]

    def check_alike(self, content: bytes) -> None:
        """Nothing, where all processes have the same.

        Raises:
            ValueError: they have not.
        """
        digests = self.gather_bytes(hashlib.sha256(content).digest())
        if len(set(digests)) > 1:
            raise ValueError(
                "the processes do not begin with the same learner: give all of them the same settings, the "
                "same seed (not None), or the same checkpoint"
            )

    @contextmanager
    def non_finite_together(self) -> Iterator[None]:
        """Where something in the block is not finite on one process, all of them stop.

        Raises:
            NonFiniteError: on all.
        """
        try:
            yield
        except NonFiniteError:
            self.any(True)
            raise
        if self.any(False):
            raise NonFiniteError("something is not finite in another process of the training")

    def _all(self, tensor: Tensor) -> list[Tensor]:
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        with _blames_others():
            dist.all_gather(parts, tensor)
        return parts


ALONE = Ranks()


@contextmanager
def _blames_others() -> Iterator[None]:
    """Gloo and NCCL raise nothing more special where another process is gone."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(
            "another process of this training has ended or does not answer: start all of them again, or any "
            "other number, to go on from the last checkpoint"
        ) from error

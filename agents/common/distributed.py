"""Data-parallel training: several processes train one learner, each on its share of every batch."""

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

from plasticrl.agents.common.finite_checks import NonFiniteError


class LostProcessError(Exception):
    """Another process of the training has ended or does not respond."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, as seen by one of them; a single process by default.

    Communication uses the default group of ``torch.distributed``, which must exist if ``size`` is above 1:
    gradients are exchanged on their own device, everything else on the CPU. All processes must call the
    same methods in the same order.

    Args:
        rank: number of this process, from 0.
        size: number of processes.

    Raises:
        LostProcessError: (all methods that communicate) another process has ended or does not respond.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def of_group(cls) -> Ranks:
        """Return the processes of the default group."""
        return cls(dist.get_rank(), dist.get_world_size())

    def share(self, total: int) -> slice:
        """Return the slice of ``total`` items that belongs to this process; all shares have the same size.

        Raises:
            ValueError: ``total`` is not a multiple of ``size``.
        """
        if total % self.size:
            raise ValueError(
                f"{self.size} processes cannot share {total} evenly: give a multiple of {self.size}"
            )
        count = total // self.size
        return slice(self.rank * count, (self.rank + 1) * count)

    def among_all(self, rows: Tensor) -> Tensor:
        """Return this process's rows at their position in the whole batch; the other rows are 0."""
        if self.size == 1:
            return rows
        every = rows.new_zeros(len(rows) * self.size, *rows.shape[1:])
        every[self.share(len(every))] = rows
        return every

    def average(self, parameters: Iterable[Tensor], *scalars: Tensor) -> tuple[Tensor, ...]:
        """Replace each parameter's gradient by its mean over all processes; return the means of the scalars.

        All values travel in one message, so that the processes synchronise once per update instead of once
        per tensor.
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
        """Return the mean of each value over all processes; all processes must give the same names."""
        if self.size == 1 or not values:
            return dict(values)
        total = torch.tensor(list(values.values()), dtype=torch.float64)
        with _blames_others():
            dist.all_reduce(total)
        return dict(zip(values, (total / self.size).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Return True if the flag is true in any process."""
        if self.size == 1:
            return flag
        highest = torch.tensor(int(flag))
        with _blames_others():
            dist.all_reduce(highest, dist.ReduceOp.MAX)
        return bool(highest)

    def broadcast(self, number: int) -> int:
        """Broadcast a number from the first process; the numbers of the others are ignored."""
        if self.size == 1:
            return number
        message = torch.tensor(number)
        with _blames_others():
            dist.broadcast(message, src=0)
        return int(message)

    def gather(self, array: NDArray[Any], axis: int) -> NDArray[Any]:
        """Concatenate the arrays of all processes, which have the same shape, along an axis."""
        if self.size == 1:
            return array
        return np.concatenate([part.numpy() for part in self._all(torch.tensor(array))], axis)

    def gather_bytes(self, content: bytes) -> list[bytes]:
        """Gather bytes of any length from all processes."""
        if self.size == 1:
            return [content]
        lengths = [int(length) for length in self._all(torch.tensor(len(content)))]
        padded = np.frombuffer(content.ljust(max(1, *lengths), b"\0"), np.uint8)
        parts = self._all(torch.tensor(padded))
        return [part.numpy().tobytes()[:length] for part, length in zip(parts, lengths, strict=True)]

    def check_alike(self, content: bytes) -> None:
        """Raise ValueError unless all processes have the same content.

        Raises:
            ValueError: they differ.
        """
        digests = self.gather_bytes(hashlib.sha256(content).digest())
        if len(set(digests)) > 1:
            raise ValueError(
                "the processes do not start with the same learner: give all of them the same settings, the "
                "same seed (not None), or the same checkpoint"
            )

    @contextmanager
    def non_finite_together(self) -> Iterator[None]:
        """Raise in all processes if a NonFiniteError is raised in the block of any one.

        Raises:
            NonFiniteError: in all processes.
        """
        try:
            yield
        except NonFiniteError:
            self.any(True)
            raise
        if self.any(False):
            raise NonFiniteError("a tensor in another process of the training: not finite")

    def _all(self, tensor: Tensor) -> list[Tensor]:
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        with _blames_others():
            dist.all_gather(parts, tensor)
        return parts


ALONE = Ranks()


@contextmanager
def _blames_others() -> Iterator[None]:
    """Turn a RuntimeError into LostProcessError: Gloo and NCCL have no specific error for a lost process."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(
            "another process of this training has ended or does not respond: restart all of them, or any "
            "other number, to resume from the last checkpoint"
        ) from error

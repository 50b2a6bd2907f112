"""Checks and choices that every command shares: the seed, the device, the threads."""

import os

from plasticrl.scripts.processes import processes_here
from plasticrl.scripts.user_error import UserError

_MOST_THREADS_PER_CORE = 16
LARGEST_SEED = 2**31 - 1


def check_seed(seed: int) -> int:
    """The seed itself.

    Raises:
        UserError: it is negative or too large for the generators.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"seed must be from 0 to {LARGEST_SEED}, not {seed}")
    return seed


def check_at_least(least: int, **values: int) -> None:
    """Refuse a number that is too small.

    Raises:
        UserError: one is; the text names it.
    """
    for name, value in values.items():
        if value < least:
            raise UserError(f"{name} must be at least {least}, not {value}")


def check_learning_rates(
    learning_rate: float, final_learning_rate: float, max_grad_norm: float | None
) -> None:
    """Refuse what no training can descend with.

    Raises:
        UserError: a number is out of its range; the text names it.
    """
    for name, rate in (("learning_rate", learning_rate), ("final_learning_rate", final_learning_rate)):
        if not 0 <= rate < float("inf") or (name == "learning_rate" and rate == 0):
            raise UserError(f"{name} must be finite and {'above' if rate == 0 else 'at least'} 0, not {rate}")
    if max_grad_norm is not None and not 0 < max_grad_norm < float("inf"):
        raise UserError(
            f"max_grad_norm must be finite and above 0, or None for no clipping, not {max_grad_norm}"
        )


def set_up_torch(device: str, threads: int | None) -> None:
    """Choose the number of threads, and check that the device is there.

    Several processes of one training share the machine: each has its own GPU, and an equal part of the cores.

    Raises:
        UserError: it is not, or the number is below 1, or so large that OpenMP would crash.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda is not available on this machine: use --device cpu or auto")
    number, count = processes_here()
    if count > 1 and device != "cpu" and torch.cuda.is_available():
        if torch.cuda.device_count() < count:
            raise UserError(
                f"{count} processes need a GPU each, but there are {torch.cuda.device_count()}: start fewer, "
                "or use --device cpu"
            )
        torch.cuda.set_device(number)
    if threads is None and count > 1:
        threads = max(1, processors() // count)
    if threads is not None:
        most = _MOST_THREADS_PER_CORE * (os.cpu_count() or 1)
        if not 1 <= threads <= most:
            raise UserError(
                f"threads must be from 1 to {most} on this machine, or None for torch's own choice, not "
                f"{threads}"
            )
        torch.set_num_threads(threads)


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

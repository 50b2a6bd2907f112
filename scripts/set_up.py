"""Checks and choices that every command shares: the seed, the device, the threads."""

import os

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

    Raises:
        UserError: it is not, or the number is below 1, or so large that OpenMP would crash.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda is not available on this machine: use --device cpu or auto")
    if threads is not None:
        most = _MOST_THREADS_PER_CORE * (os.cpu_count() or 1)
        if not 1 <= threads <= most:
            raise UserError(
                f"threads must be from 1 to {most} on this machine, or None for torch's own choice, not "
                f"{threads}"
            )
        torch.set_num_threads(threads)

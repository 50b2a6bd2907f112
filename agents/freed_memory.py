"""Training steps on the CPU without asking the system for the same memory again and again."""

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory that tensors on the CPU free, for the tensors that come after.

    glibc hands large blocks back to the system, and the next step then waits for the system to clear new
    ones: training takes 1.2 to 1.5 times as long (the one-shot network, the maze with one environment,
    RecurrentPPO). The price: the process stays as large as it ever was. For the process as a whole, and for
    good, so for programs that only train.

    Returns:
        whether it took effect: False where the C library is not glibc, and then nothing changed.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, _MOST)) and bool(mallopt(_M_TRIM_THRESHOLD, _MOST))

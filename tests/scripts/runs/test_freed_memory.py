"""Memory that is freed and wanted again."""

import platform
import subprocess
import sys

import pytest

_PAGES_FETCHED = """
import resource
from plasticrl.scripts.tasks.task import keep_freed_memory

def fetched():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        b"x" * (40 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = fetched()
print(keep_freed_memory(), usual, fetched())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_large_blocks_are_not_fetched_again() -> None:
    """In a process of its own: it is for good."""
    done = subprocess.run([sys.executable, "-c", _PAGES_FETCHED], capture_output=True, text=True, check=True)
    took_effect, usual, kept = done.stdout.split()
    assert took_effect == "True"
    assert int(kept) < int(usual) / 10


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from plasticrl.scripts.tasks.task import keep_freed_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False

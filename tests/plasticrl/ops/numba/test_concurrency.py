"""The native path from several threads, and in children of every kind."""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from plasticrl.ops import plastic_scan
from plasticrl.ops.numba.engine import run_parallel, run_together, split
from plasticrl.state import PlasticState


def gradient(n: int, batch: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    w = (torch.randn(n, n, generator=g) / n**0.5 / 2).requires_grad_()
    state = PlasticState(torch.zeros(batch, n), torch.zeros(batch, n, n))
    drive = torch.randn(6, batch, n, generator=g)
    y, _ = plastic_scan(drive, w, w, torch.tensor(0.1), state, backend="numba")
    return torch.autograd.grad(y.square().sum(), w)[0]


@pytest.mark.parametrize(("n", "batch"), [(10, 4), (300, 1)])
def test_several_threads_at_once(n, batch):
    alone = [gradient(n, batch, seed) for seed in range(6)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: gradient(n, batch, seed), range(6)))
    torch.testing.assert_close(together, alone, rtol=0, atol=0)


CHILD = """
import os, sys, torch
sys.path.insert(0, {folder!r})
from test_concurrency import gradient, work_in_parallel
torch.set_num_threads(2)
before = gradient(10, 4), gradient(300, 1)
work_in_parallel()
child = os.fork()
if child == 0:
    torch.testing.assert_close((gradient(10, 4), gradient(300, 1)), before)
    work_in_parallel()
    os._exit(0)
status = os.waitpid(child, 0)[1]
assert torch.get_num_threads() == 2
assert torch.equal(gradient(10, 4), before[0])
sys.exit(os.waitstatus_to_exitcode(status))
"""


def work_in_parallel() -> None:
    done: list[int] = []
    run_parallel(done.append, 3, None)
    assert sorted(done) == [0, 1, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_works_and_so_does_its_parent():
    folder = os.path.dirname(__file__)
    code = CHILD.format(folder=folder)
    # A plain interpreter: pytest's own process has threads of other tests.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], timeout=120, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_started_children_work(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        "import multiprocessing, torch\n"
        "from test_concurrency import gradient\n"
        "if __name__ == '__main__':\n"
        f"    with multiprocessing.get_context({method!r}).Pool(1) as pool:\n"
        "        assert torch.equal(pool.apply(gradient, (10, 4)), gradient(10, 4))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=120, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_an_error_in_one_thread_is_raised_and_stops_the_others():
    def fail(k: int, meet) -> None:
        if k == 1:
            raise ZeroDivisionError
        meet()

    with pytest.raises(ZeroDivisionError):
        run_together(fail, 3, None)
    with pytest.raises(ZeroDivisionError):
        run_parallel(lambda k: 1 // (k - 1) and None, 3, None)


@pytest.mark.parametrize(
    ("count", "parts", "multiple"), [(10, 3, 1), (3, 5, 1), (100, 3, 8), (7, 2, 8), (1001, 4, 8)]
)
def test_split_covers_everything_once(count, parts, multiple):
    ranges = split(count, parts, multiple)
    assert len(ranges) <= parts
    assert [i for low, high in ranges for i in range(low, high)] == list(range(count))
    assert all(low % multiple == 0 and high > low for low, high in ranges)

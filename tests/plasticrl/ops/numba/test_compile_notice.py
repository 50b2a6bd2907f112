"""Whoever waits for kernels to be compiled is told, in one line and once."""

import os
import subprocess
import sys

SCAN = """
import torch
from plasticrl import PlasticState, plastic_scan
state = PlasticState(torch.zeros(1, 3), torch.zeros(1, 3, 3))
drive, w = torch.zeros(2, 1, 3, requires_grad=True), torch.zeros(3, 3)
plastic_scan(drive, w, None, torch.tensor(0.1), state, backend="numba")[0].sum().backward()
"""


def test_one_line_where_kernels_are_compiled_and_none_where_they_are_loaded(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    said = [
        subprocess.run(
            [sys.executable, "-c", SCAN],
            env=environment,
            timeout=120,
            capture_output=True,
            text=True,
            check=True,
        ).stderr.splitlines()
        for _ in range(2)
    ]
    (line,) = said[0]
    assert line.startswith("plasticrl: compiling kernels")
    assert said[1] == []

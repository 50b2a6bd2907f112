"""Measure the speed claims of docs/performance.md side by side, and write them to a folder.

The scans of every cell are compared with autograd through the reference, on demand also with JAX. Elsewhere
"plain" is the published equations in plain torch (all in ``bench/cases.py``).
"""

import multiprocessing
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from plasticrl import PlasticState, plastic_scan
from plasticrl.scripts.bench.cases import (
    RULES,
    SHAPES,
    a2c_iterations,
    interleaved,
    machine,
    peak_memory,
    plain_scan,
    ppo_iterations,
    versus_autograd,
    versus_jax,
)
from plasticrl.scripts.commands import SpeedBenchmark
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.experiments.paper import EXPERIMENTS
from plasticrl.scripts.reports.figures import make_plain, write_figure
from plasticrl.scripts.runs.folder import write_json

SEQUENCES = {"A2C": (250, 30, 200), "ICLR": (200, 30, 100)}  # T, B, n
ONE_EPISODE = {"patterns": (196, 1, 1001), "images": (210, 1, 1025)}
BASE = (250, 16, 200)
SWEEPS = {
    "n": [(250, 16, n) for n in (100, 128, 160, 200, 256)],
    "T": [(steps, 16, 200) for steps in (62, 125, 250, 500, 1000)],
    "B": [(250, batch, 200) for batch in (4, 8, 16, 32, 64)],
}


def measure(settings: SpeedBenchmark) -> None:
    """Run all measurements and write the results.

    Raises:
        UserError: ``jax`` is given, and JAX is not installed.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    if settings.jax and find_spec("jax") is None:
        raise UserError("--jax needs JAX, which is not installed: pip install jax")
    settings.out.mkdir(parents=True, exist_ok=True)
    if settings.scans or not settings.iterations:
        _measure_scans(settings)
    if settings.iterations or not settings.scans:
        _measure_iterations(settings)
    if settings.scans or settings.iterations:
        return
    rows: list[dict[str, Any]] = []

    def row(name: str, shape: tuple[int, int, int], seconds: dict[str, float], **more: Any) -> None:
        plain, ours = seconds["plain"] * 1e3, seconds["ours"] * 1e3
        ratio = plain / ours
        rows.append(
            {"what": name, "shape": shape, "plain_ms": plain, "ours_ms": ours, "ratio": ratio, **more}
        )
        print(f"{name:22s} {shape!s:15s} plain {plain:8.1f} ms, ours {ours:7.1f} ms: {ratio:5.1f} x")
        print("    " + ", ".join(f"{key} {value:,.0f}" for key, value in more.items()), flush=True)

    for name, shape in {**SEQUENCES, **ONE_EPISODE}.items():
        seconds = interleaved(
            {"plain": _sequence("plain", shape), "ours": _sequence("ours", shape)}, settings.rounds
        )
        memory = {f"{kind}_mb": _memory(kind, shape) for kind in ("plain", "ours")}
        row(f"sequence, {name}", shape, seconds, **memory)

    scaling = {
        axis: [(shape, _cost(shape, settings.rounds)) for shape in shapes] for axis, shapes in SWEEPS.items()
    }
    everything = {"machine": machine(), "rows": rows, "ns_per_b_t_n2": scaling}
    write_json(settings.out / "benchmark.json", everything)
    _draw(scaling, settings.out / "scaling.png")
    print(f"written to {settings.out}")


def _measure_scans(settings: SpeedBenchmark) -> None:
    """Measure the scans of every cell, and write ``scans.json``."""
    rows = []
    for shape in SHAPES:
        for cell in RULES:
            seconds = versus_autograd(cell, shape, settings.rounds)
            row = {"cell": cell, "shape": shape, **_milliseconds(seconds, "plain")}
            if settings.jax and cell in ("rnn", "lstm"):
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    one_core = pool.apply(versus_jax, (cell, shape, settings.rounds))
                row["one_core"] = _milliseconds(one_core, "jax")
            rows.append(row)
            print(row, flush=True)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    write_json(settings.out / "scans.json", {"machine": machine(), "load": load, "rows": rows})


def _measure_iterations(settings: SpeedBenchmark) -> None:
    """Measure whole iterations of the learners, and write ``iterations.json``: env steps per second."""
    run = EXPERIMENTS["maze", "quick"].condition("recurrent_ppo").run
    of_ppo = (run.ppo.n_steps, run.training.n_envs, run.ppo.hidden_size)
    rows = []
    for learner, shape, cases in (
        *(("A2C", (250, n_envs, 200), a2c_iterations(n_envs, 200)) for n_envs in (30, 1)),
        ("PPO", of_ppo, ppo_iterations(run)),
    ):
        seconds = interleaved(cases, settings.rounds)
        speeds = {name: shape[0] * shape[1] / value for name, value in seconds.items()}
        rows.append({"learner": learner, "shape": shape, "steps_per_second": speeds})
        print(f"{learner} iteration {shape!s:15s}", end="  ")
        print(", ".join(f"{name} {speed:,.0f}" for name, speed in speeds.items()), "steps/s", flush=True)
    write_json(settings.out / "iterations.json", {"machine": machine(), "rows": rows})


def _milliseconds(seconds: dict[str, float], other: str) -> dict[str, float]:
    times = {f"{name}_ms": value * 1e3 for name, value in seconds.items()}
    return {**times, "ratio": seconds[other] / seconds["ours"]}


def _sequence(kind: str, shape: tuple[int, int, int]) -> Callable[[], None]:
    """Return a function that runs forward and backward of one sequence, for drive, w, alpha and eta."""
    steps, batch, n = shape
    torch.manual_seed(0)
    drive = torch.randn(steps, batch, n, requires_grad=True)
    w, alpha = (torch.randn(n, n).mul_(0.5 / n**0.5).requires_grad_() for _ in range(2))
    eta = torch.tensor(0.01, requires_grad=True)
    cotangent = torch.randn(steps, batch, n)

    def ours() -> Tensor:
        state = PlasticState(torch.zeros(batch, n), torch.zeros(batch, n, n))
        return plastic_scan(drive, w, alpha, eta, state)[0]

    def run() -> None:
        outputs = ours() if kind == "ours" else plain_scan(drive, w, alpha, eta)
        torch.autograd.grad(outputs, (drive, w, alpha, eta), cotangent)

    return run


def _memory(kind: str, shape: tuple[int, int, int]) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_memory, (kind, shape, torch.get_num_threads()))


def _measure_memory(kind: str, shape: tuple[int, int, int], threads: int) -> float:
    torch.set_num_threads(threads)
    _sequence(kind, (4, 2, 8))()  # loads the kernels
    return peak_memory(_sequence(kind, shape))


def _cost(shape: tuple[int, int, int], rounds: int) -> float:
    steps, batch, n = shape
    seconds = interleaved({"ours": _sequence("ours", shape)}, rounds)["ours"]
    return seconds / (steps * batch * n * n) * 1e9


def _draw(scaling: dict[str, list[tuple[tuple[int, int, int], float]]], path: Path) -> None:
    figure = Figure(figsize=(11, 3.2), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(scaling), sharey=True)
    for panel, (name, points), place in zip(panels, scaling.items(), (2, 0, 1), strict=True):
        panel.plot([shape[place] for shape, _ in points], [cost for _, cost in points], "o-")
        panel.set_xscale("log", base=2)
        panel.set_xlabel({"n": "neurons n", "T": "steps T", "B": "episodes B"}[name])
        make_plain(panel)
    panels[0].set_ylim(bottom=0)  # of all panels
    panels[0].set_ylabel("ns / (B T n²), forward + backward")
    figure.suptitle(f"Cost per unit of work, around T, B, n = {BASE}")
    write_figure(figure, path)

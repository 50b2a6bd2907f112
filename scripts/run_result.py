"""What a finished run's ``result.json`` holds."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

from plasticrl import __version__
from plasticrl.scripts.evaluated import Scores
from plasticrl.scripts.machine import machine
from plasticrl.scripts.run import Run
from plasticrl.scripts.time_spent import Spent
from plasticrl.scripts.trainer import Trainer


def result_of(trainer: Trainer, run: Run, scores: Scores, spent: Spent) -> dict[str, Any]:
    """Scores, what the training took, and what made it; plain values, for JSON."""
    import gymnasium
    import numpy
    import stable_baselines3
    import torch

    modules = (gymnasium, numpy, stable_baselines3, torch)
    return {
        "evaluation": scores.as_dict(),
        "data": trainer.data_sizes(),
        "steps": trainer.learner.num_timesteps,
        "seconds": round(spent.seconds, 3),
        "steps_per_second": round(spent.steps / spent.seconds, 1) if spent.steps else None,
        "core": run.core,
        "seed": run.seed,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "machine": machine(str(trainer.learner.device)),
        "versions": {
            "plasticrl": __version__,
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in modules},
        },
    }

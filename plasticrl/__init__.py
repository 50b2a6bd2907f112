"""Networks that go on learning after training: differentiable plasticity for Gymnasium and Stable-Baselines3.

Importing this package registers its environments with Gymnasium and stays light: torch is loaded
only when a name that needs it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from plasticrl.envs.registration import register_envs

if TYPE_CHECKING:
    from plasticrl.nn import PlasticLinear, PlasticRNN, PlasticRNNCell
    from plasticrl.ops import plastic_scan
    from plasticrl.rules import ClippedHebb, Hebb, Oja
    from plasticrl.state import PlasticState

__version__ = "0.1.0"
__all__ = [
    "ClippedHebb",
    "Hebb",
    "Oja",
    "PlasticLinear",
    "PlasticRNN",
    "PlasticRNNCell",
    "PlasticState",
    "plastic_scan",
]

_HOME = {
    "ClippedHebb": "plasticrl.rules",
    "Hebb": "plasticrl.rules",
    "Oja": "plasticrl.rules",
    "PlasticLinear": "plasticrl.nn",
    "PlasticRNN": "plasticrl.nn",
    "PlasticRNNCell": "plasticrl.nn",
    "PlasticState": "plasticrl.state",
    "plastic_scan": "plasticrl.ops",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'plasticrl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


register_envs()

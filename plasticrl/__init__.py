"""Networks that go on learning after training: differentiable plasticity for Gymnasium and Stable-Baselines3.

Importing this package registers its environments with Gymnasium and stays light: torch is loaded
only when a name that needs it is first used.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def _find_subpackages_in_a_checkout(root: Path) -> None:
    """Let this folder find its sub-packages where it stands in a checkout, which has them beside it.

    There it hides an installed package from what is started in the checkout's root.
    """
    project = root / "pyproject.toml"
    is_ours = project.is_file() and b'\nname = "plasticrl"' in project.read_bytes()
    if is_ours and (root / "envs" / "registration.py").is_file():
        __path__.append(str(root))


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'plasticrl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


_find_subpackages_in_a_checkout(Path(__file__).resolve().parent.parent)
import_module("plasticrl.envs.registration").register_envs()

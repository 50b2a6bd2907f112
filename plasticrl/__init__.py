"""Networks that keep learning after training: differentiable plasticity for Gymnasium and Stable-Baselines3.

Importing this package registers its environments with Gymnasium. The import is light: torch is loaded
only when a name that needs it is first used.
"""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plasticrl.nn import (
        PlasticGRU,
        PlasticGRUCell,
        PlasticLinear,
        PlasticLSTM,
        PlasticLSTMCell,
        PlasticRNN,
        PlasticRNNCell,
    )
    from plasticrl.ops import plastic_scan
    from plasticrl.rules import ClippedHebb, Delta, Hebb, HebbianRule, Oja, Rule
    from plasticrl.state import PlasticLSTMState, PlasticState

__version__ = "0.1.0"
__all__ = [
    "ClippedHebb",
    "Delta",
    "Hebb",
    "HebbianRule",
    "Oja",
    "PlasticGRU",
    "PlasticGRUCell",
    "PlasticLSTM",
    "PlasticLSTMCell",
    "PlasticLSTMState",
    "PlasticLinear",
    "PlasticRNN",
    "PlasticRNNCell",
    "PlasticState",
    "Rule",
    "plastic_scan",
]

_HOME = {
    "PlasticLSTMState": "plasticrl.state",
    "Rule": "plasticrl.rules",
    "HebbianRule": "plasticrl.rules",
    "Delta": "plasticrl.rules",
    "PlasticLSTMCell": "plasticrl.nn",
    "PlasticLSTM": "plasticrl.nn",
    "PlasticGRUCell": "plasticrl.nn",
    "PlasticGRU": "plasticrl.nn",
    "ClippedHebb": "plasticrl.rules",
    "Hebb": "plasticrl.rules",
    "Oja": "plasticrl.rules",
    "PlasticLinear": "plasticrl.nn",
    "PlasticRNN": "plasticrl.nn",
    "PlasticRNNCell": "plasticrl.nn",
    "PlasticState": "plasticrl.state",
    "plastic_scan": "plasticrl.ops",
}


class _SubpackagesBeside:
    """Import hook that finds the sub-packages of a checkout, which lie beside this folder.

    If Python runs in the checkout's root, ``./plasticrl`` hides the installed package and would lack them.
    """

    def __init__(self, root: Path) -> None:
        self._folders = {f"{__name__}.{name}": root / name for name in ("envs", "agents", "scripts")}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self._folders:
            return None
        folder = self._folders[name]
        return spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])


def _is_checkout(root: Path) -> bool:
    project = root / "pyproject.toml"
    ours = project.is_file() and b'\nname = "plasticrl"' in project.read_bytes()
    return ours and (root / "envs" / "registration.py").is_file()


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'plasticrl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


_ROOT = Path(__file__).resolve().parent.parent
if _is_checkout(_ROOT):
    sys.meta_path.insert(0, _SubpackagesBeside(_ROOT))
import_module("plasticrl.envs.registration").register_envs()

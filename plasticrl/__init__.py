"""Networks that keep learning after training: differentiable plasticity for Gymnasium and Stable-Baselines3.

Importing this package registers its environments with Gymnasium. The public names are listed in
``__init__.pyi``. The import is light: torch is loaded only when a name that needs it is first used.
"""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


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


_ROOT = Path(__file__).resolve().parent.parent
if _is_checkout(_ROOT):
    sys.meta_path.insert(0, _SubpackagesBeside(_ROOT))
import_module("plasticrl.envs.registration").register_envs()

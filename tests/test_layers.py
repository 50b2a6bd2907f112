"""Imports point down: no circle of modules, not even one that imports inside functions hide."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = {"plasticrl": "plasticrl", "envs": "plasticrl.envs", "agents": "plasticrl.agents"}
LAYERS["scripts"] = "plasticrl.scripts"  # the order of the layers, the lowest first


def name_of(path: Path) -> str:
    folder, *parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([LAYERS[folder], *parts])


MODULES = {name_of(p): p for folder in LAYERS for p in (ROOT / folder).rglob("*.py") if p.stem != "__init__"}


def imported(tree: ast.AST) -> Iterator[str]:
    """The package's own modules that a module imports at run time, anywhere in it."""
    if isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING":
        return
    if isinstance(tree, ast.Import):
        yield from (alias.name for alias in tree.names)
    if isinstance(tree, ast.ImportFrom):
        assert not tree.level  # relative imports would be missed
        yield str(tree.module)
        yield from (f"{tree.module}.{alias.name}" for alias in tree.names)
    for child in ast.iter_child_nodes(tree):
        yield from imported(child)


def imports() -> dict[str, set[str]]:
    return {
        name: set(imported(ast.parse(path.read_text()))) & MODULES.keys() for name, path in MODULES.items()
    }


def test_the_modules_are_found() -> None:
    assert "plasticrl.scripts.runs.run" in imports()["plasticrl.scripts.runs.folder"]


def test_no_modules_import_each_other() -> None:
    try:
        TopologicalSorter(imports()).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_no_layer_imports_a_higher_one() -> None:
    def layer(name: str) -> int:
        return max(i for i, prefix in enumerate(LAYERS.values()) if f"{name}.".startswith(f"{prefix}."))

    upward = [
        (name, other) for name, found in imports().items() for other in found if layer(other) > layer(name)
    ]
    assert not upward


def test_runs_are_data() -> None:
    """They know settings, and nothing of what is done with them."""
    found = imports()["plasticrl.scripts.runs.run"]
    assert found
    assert all(name.startswith("plasticrl.scripts.settings.") for name in found)

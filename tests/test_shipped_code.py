"""Nothing that is shipped runs what a file says: no pickle, no eval, no shell."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = sorted(
    path for top in ("plasticrl", "envs", "agents", "scripts") for path in (ROOT / top).rglob("*.py")
)
MODULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "jsonpickle", "yaml", "subprocess"}
SAFE_NAMES = {"yaml": {"AliasEvent", "SafeLoader", "YAMLError"}}
CALLS = {"eval", "exec", "compile", "__import__"}
SAFE = {"weights_only": True, "allow_pickle": False, "shell": False}
ATTRIBUTES = {
    *{("torch", name) for name in ("load", "save")},
    *{("os", name) for name in ("system", "popen", "execv", "execve", "execvp", "spawnv")},
}


def violations(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            safe = SAFE_NAMES.get(str(node.module), set())
            yield from (f"{node.module}.{one.name}" for one in node.names if one.name not in safe)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
            yield node.func.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in ATTRIBUTES:
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.keyword) and node.arg in SAFE and not _is(node.value, SAFE[node.arg]):
            yield f"{node.arg}={ast.unparse(node.value)}"


def _is(node: ast.expr, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_code_comes_out_of_a_file(path: Path) -> None:
    assert not list(violations(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import loads",
        "import yaml",
        "from yaml import SafeLoader, UnsafeLoader",
        "eval('1')",
        "import torch\ntorch.load('a', weights_only=False)",
        "import os\nos.system('ls')",
        "f(shell=True)",
        "import numpy as np\nnp.load('a', allow_pickle=True)",
    ],
)
def test_the_check_finds_what_it_looks_for(source: str) -> None:
    assert list(violations(source))

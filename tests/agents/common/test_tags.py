"""Tags are named in one module, and everything that trainings log has one of them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from plasticrl.agents.common import tags

ROOT = Path(__file__).parents[3]
TAG = re.compile(r"(aggregate|episodes|eval|maze|plastic|rollout|time|train)/\w*")
ELSEWHERE = ("scripts/settings/tasks.py",)  # without torch; tests/scripts/settings/test_tasks.py compares


def texts(tree: ast.AST) -> Iterator[str]:
    """The strings of a module, and the parts of its f-strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_other_module_spells_a_tag() -> None:
    found = [
        (str(path.relative_to(ROOT)), text)
        for folder in ("plasticrl", "envs", "agents", "scripts")
        for path in (ROOT / folder).rglob("*.py")
        if not str(path.relative_to(ROOT)).startswith(ELSEWHERE) and path.name != "tags.py"
        for text in texts(ast.parse(path.read_text()))
        if TAG.fullmatch(text)
    ]
    assert not found


def test_tags_are_different() -> None:
    values = [value for name, value in vars(tags).items() if name.isupper() and isinstance(value, str)]
    values += [*tags.MAZE_INFOS.values(), *tags.AGGREGATES]
    assert len(values) == len(set(values))
    assert all(TAG.fullmatch(value) for value in values if value != tags.HYPERPARAMETERS)

"""The page on networks: its code runs, and its rules run on the backends that it names."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from plasticrl import PlasticRNN
from plasticrl.rules import RULES

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """The names that the page's code defines, run from top to bottom."""
    found: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(compile(code, "docs/networks.md", "exec"), found)
    return found


@pytest.mark.parametrize(
    ("rule", "backend", "refused"), [("LeakyDelta", "numba", None), ("Saturating", "adjoint", "numba")]
)
def test_a_rule_of_the_page_runs_where_the_page_says(
    rule: str, backend: Any, refused: Any, names: dict[str, Any]
) -> None:
    inputs = torch.randn(9, 2, 8, generator=torch.Generator().manual_seed(0))
    gradients = []
    for name in (backend, "reference"):
        torch.manual_seed(1)
        rnn = PlasticRNN(8, 16, rule=names[rule](), eta=0.3, init="orthogonal", init_scale=1.0, backend=name)
        rnn(inputs)[0].square().sum().backward()
        gradients.append([parameter.grad for parameter in rnn.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    if refused is not None:
        with pytest.raises(ValueError, match="use 'adjoint', 'reference'"):
            PlasticRNN(8, 16, rule=names[rule](), backend=refused)(inputs)


def test_every_built_in_rule_is_in_the_table() -> None:
    for name, kind in RULES.items():
        assert re.search(rf"^\| `{name}` \| `{kind.__name__}[`(]", PAGE, flags=re.MULTILINE), name

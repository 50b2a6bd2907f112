"""What the README shows must run as it is written."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_python_example_runs_as_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in example.splitlines() if line]) <= 15
    script = tmp_path / "example.py"
    script.write_text(example)
    runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr().out
    assert re.search(r"points per episode: -?\d+\.\d ± \d+\.\d", printed)


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "docs/architecture.md",
        "docs/commands.md",
        "docs/export.md",
        "docs/networks.md",
        "docs/reliability.md",
        "docs/performance.md",
        "docs/results.md",
        "docs/scaling.md",
        "docs/supervised.md",
    ],
)
def test_links_and_pictures_exist(name: str) -> None:
    page = ROOT / name
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_make_commands_exist() -> None:
    shown = set(re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= shown <= targets


def test_modules_that_the_architecture_names_exist() -> None:
    tracked = [ROOT / folder for folder in ("plasticrl", "envs", "agents", "scripts", "tests")]
    modules = {str(path.relative_to(ROOT)) for folder in tracked for path in folder.rglob("*.py")}
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = [name for name in re.findall(r"`([\w/]+\.py)`", page) if "NAME" not in name]
    assert len(named) > 40
    assert [name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in modules)] == []

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from plasticrl import scripts

FOLDER = Path(scripts.__path__[0])


def test_no_file_hides_another_module() -> None:
    """``python scripts/train.py`` puts the folder first in the search path."""
    own = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert own & (set(sys.stdlib_module_names) | set(packages_distributions())) == set()


@pytest.mark.parametrize("name", ["train", "evaluate", "compare", "sweep", "watch", "demo"])
def test_file_is_the_command(name: str) -> None:
    words = [sys.executable, "-W", "error", str(FOLDER / f"{name}.py"), "--help"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True)
    assert f"plasticrl {name}" in shown.stdout


def test_train_as_a_file(tmp_path: Path, tiny: list[str]) -> None:
    words = [sys.executable, str(FOLDER / "train.py"), "maze", "--root", str(tmp_path), *tiny]
    subprocess.run(words, capture_output=True, check=True)
    assert (tmp_path / "maze" / "plastic" / "seed_0" / "result.json").is_file()


def test_wrong_input_as_a_file(tmp_path: Path) -> None:
    words = [sys.executable, str(FOLDER / "train.py"), "maze", "--size", "4", "--root", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "odd" in done.stderr

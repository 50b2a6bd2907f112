"""In its checkout's root, ``./plasticrl`` hides the installed package, and finds all that belongs to it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
BESIDE = ("envs", "agents", "scripts")  # the folders that are sub-packages
REPORT = """
import json, sys
import plasticrl, plasticrl.envs, plasticrl.agents, plasticrl.ops, plasticrl.nn, plasticrl.scripts.main
import gymnasium
gymnasium.make_vec("PlasticMaze-v0", num_envs=2).reset()
files = [m.__file__ for name, m in list(sys.modules.items()) if name.partition(".")[0] == "plasticrl"]
print(json.dumps(files))
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A checkout, and a folder in which the package lies as pip installs it."""
    root = tmp_path_factory.mktemp("places")
    checkout, site = root / "checkout", root / "site"
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("plasticrl", *BESIDE):
        shutil.copytree(ROOT / name, checkout / name, ignore=ignore)
        installed = site / "plasticrl" / ("" if name == "plasticrl" else name)
        shutil.copytree(ROOT / name, installed, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", checkout)
    return SimpleNamespace(checkout=checkout, site=site)


def run(code: str, cwd: Path, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Run Python code where nothing but these paths and the libraries can be imported.

    Without ``site``, an editable installation of this package is not seen.
    """
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, paths), *libraries])}
    words = [sys.executable, "-S", "-c", code]
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def parents(done: subprocess.CompletedProcess[str], of: Path) -> set[bool]:
    """Whether the modules of the package lie there: of one place if there is one answer."""
    assert done.returncode == 0, done.stderr
    return {Path(file).is_relative_to(of) for file in json.loads(done.stdout)}


def test_in_the_root_the_checkout_is_imported(places: SimpleNamespace) -> None:
    assert parents(run(REPORT, places.checkout, places.site), places.checkout) == {True}
    assert parents(run(REPORT, places.checkout), places.checkout) == {True}  # installed or not


def test_elsewhere_the_installed_package_is(places: SimpleNamespace, tmp_path: Path) -> None:
    assert parents(run(REPORT, tmp_path, places.site), places.site) == {True}


@pytest.mark.parametrize("project", [None, '[project]\nname = "stranger"\n'])
@pytest.mark.parametrize("inside", [False, True])
def test_folders_of_a_stranger_are_left_alone(
    places: SimpleNamespace, tmp_path: Path, project: str | None, inside: bool
) -> None:
    """They have the names of ours, and lie beside ``plasticrl``, which has its sub-packages inside or not."""
    shutil.copytree((places.site if inside else places.checkout) / "plasticrl", tmp_path / "plasticrl")
    for name in BESIDE:
        (tmp_path / name).mkdir()
        for file in ("__init__.py", "registration.py", "main.py"):
            (tmp_path / name / file).write_text("raise SystemExit('run')")
    if project is not None:
        (tmp_path / "pyproject.toml").write_text(project)
    done = run(REPORT, tmp_path)
    if inside:
        assert parents(done, tmp_path / "plasticrl") == {True}
    else:
        assert "ModuleNotFoundError: No module named 'plasticrl.envs'" in done.stderr


def test_tools_that_walk_the_package_find_each_module_once(places: SimpleNamespace) -> None:
    code = (
        "import pkgutil, plasticrl\n"
        "names = [found.name for found in pkgutil.walk_packages(plasticrl.__path__, 'plasticrl.')]\n"
        "assert 'plasticrl.rules' in names and len(names) == len(set(names)), names\n"
        "assert not [name for name in names if name.startswith('plasticrl.plasticrl')], names"
    )
    for cwd in (places.checkout, places.site):
        done = run(code, cwd, cwd)
        assert done.returncode == 0, done.stderr

"""``import plasticrl`` registers the envs and loads neither torch nor SB3."""

import json
import subprocess
import sys

import pytest

import plasticrl

HEAVY = ("torch", "numba", "stable_baselines3", "matplotlib", "pygame", "tensorboard")


def loaded_after(code: str) -> set[str]:
    """The heavy modules that a fresh interpreter has loaded after running ``code``."""
    report = f"import json, sys; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def test_the_package_alone_is_light() -> None:
    code = "import gymnasium, plasticrl; assert 'PlasticMaze-v0' in gymnasium.registry"
    assert loaded_after(code) == set()


def test_a_public_name_loads_what_it_needs() -> None:
    assert "torch" in loaded_after("import plasticrl; plasticrl.Oja")


@pytest.mark.parametrize("name", plasticrl.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(plasticrl, name).__name__ == name
    assert name in dir(plasticrl)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"plasticrl attribute Plastic$"):
        _ = plasticrl.Plastic

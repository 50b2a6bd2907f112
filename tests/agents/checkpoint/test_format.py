"""The mechanism that all checkpoints share, and what it relies on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from plasticrl.agents import TensorFileError
from plasticrl.agents.checkpoint.format import LOOSE, Format, reading
from plasticrl.agents.checkpoint.network import differences, kind_of
from plasticrl.agents.checkpoint.optimizer import check_trained, pack_trained
from plasticrl.agents.checkpoint.tensor_file import read_tensors, write_tensors
from plasticrl.agents.checkpoint.tree import OPTIMIZERS

FORMAT = Format("tests.Format", 3, "tests", ("a", "b"))
PARTS: dict[str, Any] = {"a": {"x": [1, (2.5, None)], "inf": float("inf")}, "b": np.arange(3), "c": "more"}


def test_parts_are_read_as_they_were_saved(tmp_path: Path) -> None:
    seen = []
    FORMAT.save(tmp_path / "file", PARTS, seen.append)
    for parts in (seen[0], FORMAT.load(tmp_path / "file")):
        assert parts["a"] == PARTS["a"]
        assert parts["b"].tolist() == [0, 1, 2]
        assert parts["c"] == "more"


def test_what_the_check_refuses_does_not_replace_the_file(tmp_path: Path) -> None:
    FORMAT.save(tmp_path / "file", PARTS, len)
    before = (tmp_path / "file.safetensors").read_bytes()

    def refuse(parts: dict[str, Any]) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match=r"^no$"):
        FORMAT.save(tmp_path / "file", {**PARTS, "c": "other"}, refuse)
    assert (tmp_path / "file.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, d: d.pop("b"), "no part 'b'"),
        (lambda t, d: d.update(version=2), r"version 2; this plasticrl reads 'tests\.Format', version 3"),
        (lambda t, d: d.update(a={"$unknown": 1}), "the part 'a' of the file is incomplete or invalid"),
        (lambda t, d: t.pop("b"), "the part 'b' of the file is incomplete or invalid"),
        (lambda t, d: t.update(z=torch.zeros(1)), "z is in the file, but is unknown"),
    ],
)
def test_another_content_is_refused_by_name(change: Any, message: str, tmp_path: Path) -> None:
    FORMAT.save(tmp_path / "file", PARTS, len)
    tensors, data = read_tensors(tmp_path / "file.safetensors")
    change(tensors, data)
    write_tensors(tmp_path / "file.safetensors", tensors, data)
    with pytest.raises(TensorFileError, match=message):
        FORMAT.load(tmp_path / "file")


def test_loose_tensors_are_a_part(tmp_path: Path) -> None:
    loose = Format("tests.Loose", 1, "tests", (), loose=True)
    loose.save(tmp_path / "file", {LOOSE: {"n": torch.ones(2)}, "a": 1}, len)
    assert loose.load(tmp_path / "file")[LOOSE]["n"].tolist() == [1, 1]


@pytest.mark.parametrize(
    "error", [AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError]
)
def test_errors_of_reading_become_one(error: type[Exception]) -> None:
    with pytest.raises(TensorFileError, match=r"^it is incomplete or invalid"), reading("it"):
        raise error("cause")


OPTIONS = {"amsgrad": True, "momentum": 0.9, "nesterov": True, "centered": True, "foreach": True}


@pytest.mark.parametrize("option", [None, *OPTIONS])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_state_that_a_step_leaves_is_accepted_and_no_other(kind: Any, option: str | None) -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2, dtype=torch.float64))
    optimizer = kind(network.parameters(), lr=0.1)
    if option not in (None, *optimizer.defaults):
        pytest.skip(f"no {option}")
    if option == "nesterov":
        optimizer.param_groups[0].update(momentum=0.9)
    if option is not None:
        optimizer.param_groups[0][option] = OPTIONS[option]
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    parts = pack_trained(network, optimizer)
    _, states = check_trained(network, optimizer, parts)
    own = states.get("0.weight", {})  # plain gradient descent has none
    assert not list(differences(own, dict(optimizer.state.get(network[0].weight, {})), kind_of))
    for key in own or ("other",):
        state = {"0.weight": {**own, key: torch.zeros(7)}}
        with pytest.raises(TensorFileError, match=f"optimizer/0.weight/{key} is"):
            check_trained(network, optimizer, {**parts, "optimizer": {**parts["optimizer"], "state": state}})

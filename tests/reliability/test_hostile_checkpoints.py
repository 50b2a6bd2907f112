"""A stranger's checkpoint runs no code, whatever it is."""

import io
import json
import pickle
import shutil
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import torch
from children import finished
from safetensors.torch import save as tensors_to_bytes
from small_learners import LEARNERS

from plasticrl.agents.checkpoint.tensor_file import read_tensors, write_tensors
from plasticrl.scripts.main import main

HELPERS = Path(__file__).parents[1] / "helpers"
NAMES = (
    "os.system",
    "builtins.eval",
    "subprocess.Popen",
    "torch.load",
    "plasticrl.agents.RecurrentA2C",
    "__main__",
)


class Payload:
    """When unpickled, it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.marker, 0o777, True, True)


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return file.getvalue()


def of_torch(payload: Any) -> bytes:
    file = io.BytesIO()
    torch.save({"state": payload}, file)
    return file.getvalue()


def of_numpy(payload: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([payload], dtype=object), allow_pickle=True)
    return file.getvalue()


def foreign(payload: Payload) -> Iterator[tuple[str, bytes]]:
    """Files of other formats that run code where they are loaded as usual."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield f"pickle_{protocol}", pickle.dumps(payload, protocol)
    yield "pickle", pickle.dumps(payload)
    yield "cloudpickle", cloudpickle.dumps(payload)
    yield "torch", of_torch(payload)
    yield "numpy", of_numpy(payload)
    serialized = {":type:": "a function", ":serialized:": b64encode(cloudpickle.dumps(payload)).decode()}
    data = json.dumps({"policy_class": serialized, "lr_schedule": serialized}).encode()
    yield (
        "stable_baselines3",
        zipped(data=data, policy__pth=of_torch(payload), _stable_baselines3_version=b"2"),
    )
    yield "zip", zipped(payload=pickle.dumps(payload))
    text = json.dumps({"data": serialized, "sha256": ""})
    yield "safetensors_with_pickle", tensors_to_bytes({"a": torch.zeros(1)}, {"plasticrl": text})


def with_names(good: Path, folder: Path, names: tuple[str, ...]) -> None:
    """Whole checkpoints of ours in which texts are names of code to import, or pickles."""
    tensors, data = read_tensors(good)
    texts = [*names, b64encode(pickle.dumps(Payload(folder))).decode()]
    for place, path in enumerate(_texts(data)):
        for number, text in enumerate(texts):
            name = f"{good.stem}_{place}_{number}.safetensors"
            write_tensors(folder / name, tensors, _put(data, path, text))


def _texts(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, str):
            yield (*path, key)
        elif isinstance(value, dict | list):
            yield from _texts(value, (*path, key))


def _put(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = _put(tree[path[0]], path[1:], value)
    return copy


def test_no_hostile_file_runs_code(tmp_path: Path, soak: bool, figures: Callable[..., None]) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "hostile").mkdir()
    for name, content in foreign(Payload(tmp_path / "executed")):
        (tmp_path / "hostile" / f"{name}.safetensors").write_bytes(content)
    for name, (make, _) in LEARNERS.items():
        good = tmp_path / "good" / f"{name}.safetensors"
        make(good)
        with_names(good, tmp_path / "hostile", NAMES if soak else NAMES[:1])
    words = ["train", "patterns", "--n-bits", "6", "--total-episodes", "1", "--eval-episodes", "2", "--quiet"]
    assert main([*words, "--root", str(tmp_path / "runs")]) == 0
    shutil.copytree(tmp_path / "runs" / "patterns" / "plastic" / "seed_0", tmp_path / "run")
    result = finished("load_hostile", tmp_path / "said", 300, folder=str(tmp_path), helpers=str(HELPERS))
    assert result["events"] == []
    assert not result["executed"]
    assert result["refused"] > len(result["control_events"]) > 0  # the hook works,
    assert result["control_executed"]  # and the payload too
    figures("hostile", **{key: result[key] for key in ("files", "refused", "commands_refused")}, executions=0)

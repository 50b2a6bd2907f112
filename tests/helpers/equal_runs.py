"""Whether two runs are the same to the bit, in all that is not the time of day."""

import csv
import json
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TIMED = ("time/fps", "time/seconds", "time/time_elapsed", "time/episodes_per_second", "time/iterations")


def checkpoints(run: Path) -> dict[int, Path]:
    """By step, the earliest first."""
    found = sorted((run / "checkpoints").glob("step_*.safetensors"))
    return {int(path.stem.removeprefix("step_")): path for path in found}


def weights(content: bytes) -> bytes:
    """The tensors: all of the file that is not its header, which also tells times of day."""
    return content[8 + int.from_bytes(content[:8], "little") :]


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "progress.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMED} for row in csv.DictReader(file)]


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(run.glob("events.out.tfevents.*")):
        events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
        for tag in events.Tags()["scalars"]:
            if tag not in TIMED:
                found.setdefault(tag, []).extend((e.step, e.value) for e in events.Scalars(tag))
    return {tag: sorted(points) for tag, points in found.items()}  # files of one second are in any order


def last_event(path: Path) -> int:
    """The largest step of one file of events; 0 where it has none."""
    events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
    steps = [e.step for tag in events.Tags()["scalars"] for e in events.Scalars(tag)]
    return max(steps, default=0)


def check_same(run: Path, whole: Path) -> None:
    """Parameters, optimiser, logs and evaluation."""
    last = [max(checkpoints(one).items()) for one in (run, whole)]
    assert last[0][0] == last[1][0]
    assert weights(last[0][1].read_bytes()) == weights(last[1][1].read_bytes())
    assert rows(run) == rows(whole)
    assert scalars(run) == scalars(whole)
    evaluations = [json.loads((one / "result.json").read_text())["evaluation"] for one in (run, whole)]
    assert evaluations[0] == evaluations[1]

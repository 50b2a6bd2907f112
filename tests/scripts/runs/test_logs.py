"""A run's logs: columns in one order, and where a run goes on, what is there and no stranger's traps."""

import csv
import os
import struct
from pathlib import Path
from string import ascii_lowercase

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.summary.writer.record_writer import masked_crc32c

from plasticrl.scripts.errors import UserError
from plasticrl.scripts.runs.logs import CSV, flush, most_logged, open_logs

COUNTER = "time/total_timesteps"
NAMES = [f"train/{letter}" for letter in ascii_lowercase]  # too many for a set to have them so by chance


def log(folder: Path, done: int, *rows: dict[str, float]) -> None:
    logger = open_logs(folder, done=done, total=100, counter=COUNTER)
    for row in rows:
        for name, value in row.items():
            logger.record(name, value)
        logger.dump(int(row[COUNTER]))
    logger.close()


def written(folder: Path) -> list[list[str]]:
    """The table without the time in training, which every row has."""
    with (folder / CSV).open(newline="") as file:
        table = list(csv.reader(file))
    if "time/seconds" in table[0]:
        place = table[0].index("time/seconds")
        assert table[-1][place]
        table = [row[:place] + row[place + 1 :] for row in table]
    return table


@pytest.mark.parametrize("order", [NAMES, NAMES[::-1], NAMES[7:] + NAMES[:7]])
def test_the_columns_of_a_run_are_in_alphabetical_order(order: list[str], tmp_path: Path) -> None:
    log(tmp_path, 0, {**dict.fromkeys(order, 1.5), COUNTER: 4})
    assert written(tmp_path) == [[COUNTER, *NAMES], ["4", *["1.5"] * len(NAMES)]]


def test_what_is_first_told_later_comes_after_what_was_there(tmp_path: Path) -> None:
    first, later = NAMES[13:], NAMES[:13]
    log(tmp_path, 0, {COUNTER: 4, **dict.fromkeys(first, 1.5)}, {COUNTER: 8, **dict.fromkeys(NAMES, 2.5)})
    header, one, two = written(tmp_path)
    assert header == [COUNTER, *first, *later]
    assert one == ["4", *["1.5"] * 13, *[""] * 13]
    assert two == ["8", *["2.5"] * 26]


def test_a_run_that_goes_on_keeps_the_order_it_has(tmp_path: Path) -> None:
    """An older version wrote the columns in any order."""
    old = ["train/z", COUNTER, "train/m"]
    (tmp_path / CSV).write_text("\n".join([",".join(old), "1.5,4,1.5", "2.5,8,2.5", ""]))
    log(tmp_path, 4, {**dict.fromkeys(NAMES, 3.5), COUNTER: 8})
    header, kept, new = written(tmp_path)
    assert header == [*old, *(name for name in NAMES if name not in old)]
    assert kept == ["1.5", "4", "1.5", *[""] * 24]
    assert new == ["3.5", "8", *["3.5"] * 25]


def steps_of(folder: Path) -> list[list[int]]:
    """The steps of the scalars in each file of events."""
    return [
        [event.step for event in EventFileLoader(str(path)).Load() if event.summary.value]
        for path in sorted(folder.glob("events.*"), key=lambda path: path.stat().st_ino)
    ]


def only_events(folder: Path) -> Path:
    (path,) = folder.glob("events.*")
    return path


@pytest.mark.parametrize(
    "damage",
    [
        b"\x05",
        bytes(64),  # records of no length, whose checksums are wrong
        (2**63).to_bytes(8, "little") + bytes(100),
        (20).to_bytes(8, "little") + bytes(100),
        struct.pack("<QI", 20, masked_crc32c(struct.pack("<Q", 20))) + b"\xff" * 24,  # no event
    ],
)
def test_what_comes_after_a_damaged_record_is_forgotten(damage: bytes, tmp_path: Path) -> None:
    log(tmp_path, 0, {COUNTER: 4, "train/a": 1.5}, {COUNTER: 8, "train/a": 2.5})
    path = only_events(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content + damage + content)
    log(tmp_path, 4)
    assert path.read_bytes() == content[: len(path.read_bytes())]
    assert {4} == {step for steps in steps_of(tmp_path) for step in steps}


def test_what_the_end_of_a_run_wrote_is_forgotten_where_it_is_written_again(tmp_path: Path) -> None:
    log(tmp_path, 0, {COUNTER: 100, "train/a": 1.5, "eval/a": 2.5, "maze/episode": 3.5})
    log(tmp_path, 100)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == {COUNTER, "train/a"}


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a" * 200_000, b'"' + b"a" * 200_000])
def test_a_file_that_is_no_table_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / CSV).write_bytes(content)
    for read in (lambda: most_logged(tmp_path, COUNTER), lambda: log(tmp_path, 0, {COUNTER: 4})):
        with pytest.raises(UserError, match=r"cannot read .*progress\.csv: it is not a CSV table"):
            read()
    assert (tmp_path / CSV).read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"\n\n", b'"', b"a,b\n1,2\n", COUNTER.encode()])
def test_a_table_without_a_row_to_keep_is_begun_anew(content: bytes, tmp_path: Path) -> None:
    (tmp_path / CSV).write_bytes(content)
    assert most_logged(tmp_path, COUNTER) is None
    log(tmp_path, 0, {COUNTER: 4})
    assert written(tmp_path) == [[COUNTER], ["4"]]


@pytest.mark.parametrize("cell", ["", "x", "-1", "nan", "1e5", "9" * 5000, "²"])
def test_a_row_that_no_run_has_written_is_not_kept(cell: str, tmp_path: Path) -> None:
    (tmp_path / CSV).write_text(f"{COUNTER},a\n4,1\n{cell},2\n3\n")
    assert most_logged(tmp_path, COUNTER) == 4
    log(tmp_path, 4)
    assert written(tmp_path) == [[COUNTER, "a"], ["4", "1"]]


def test_what_is_logged_is_on_the_disk_once_it_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = open_logs(tmp_path, done=0, total=100, counter=COUNTER)
    logger.record("train/a", 1.5)
    logger.dump(4)
    flushed: set[Path] = set()
    fsync = os.fsync

    def note(descriptor: int) -> None:
        found = os.fstat(descriptor)
        flushed.update(path for path in tmp_path.iterdir() if os.path.samestat(path.stat(), found))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    flush(logger)
    logger.close()
    assert flushed == {tmp_path / CSV, only_events(tmp_path)}

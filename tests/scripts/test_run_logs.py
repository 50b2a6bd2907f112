"""The columns of ``progress.csv``: in one order, and where a run goes on, in the order that is there."""

import csv
from pathlib import Path
from string import ascii_lowercase

import pytest

from plasticrl.scripts.run_logs import CSV, open_logs

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
    with (folder / CSV).open(newline="") as file:
        return list(csv.reader(file))


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

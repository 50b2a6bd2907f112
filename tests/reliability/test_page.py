"""docs/reliability.md reports what is in results/reliability."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def figures(*names: str) -> list[dict[str, Any]]:
    return [json.loads((ROOT / "results" / "reliability" / f"{name}.json").read_text()) for name in names]


def total(key: str, *names: str) -> str:
    return f"{sum(found[key] for found in figures(*names)):,}"


KILLS, DAMAGED = ("kills_maze", "kills_patterns"), ("damaged_agent", "damaged_learner")
HOSTILE = ("hostile_content_agent", "hostile_content_learner")
GROWTH = figures("growth")[0]


@pytest.mark.parametrize(
    "says",
    [
        f"{total('kills', *KILLS)} kills, {total('inside_a_save', *KILLS)} of them inside a save",
        f"{total('cuts', *DAMAGED)} cuts, {total('bits_flipped', *DAMAGED)} flipped bits",
        f"{total('refused_by_name', *DAMAGED)} of {total('refused_by_name', *DAMAGED)} refused by name",
        f"{total('refused_by_name', *HOSTILE)} refused by name, the others are valid files",
        f"{total('files', 'hostile')} files, each loaded",
        f"{GROWTH['steps']:,} | {GROWTH['megabytes_per_100k_steps']} MB more",
        f"| {total('command_lines', 'fuzzed_commands')} (60 in `make test`)",
        f"{total('refused by name', 'fuzzed_commands')} refused by name, "
        f"{total('ran', 'fuzzed_commands')} ran or were",
        f"| {total('agents', 'saved_agents')} (40 in `make test`) | {total('lost', 'saved_agents')} lost",
    ],
)
def test_the_page_says_what_was_counted(says: str) -> None:
    assert says in PAGE


@pytest.mark.parametrize("name", [*KILLS, *DAMAGED, *HOSTILE, "hostile", "fuzzed_commands", "saved_agents"])
def test_nothing_bad_was_counted(name: str) -> None:
    bad = (
        "checkpoints_lost_or_damaged",
        "runs_that_differ",
        "loaded",
        "other_errors",
        "executions",
        "tracebacks",
        "lost",
    )
    assert not any(figures(name)[0].get(key) for key in bad)

"""What a comparison says: the scores of every core over its runs, between random and oracle."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from plasticrl.scripts.robust_scores import bootstrap_interval, interquartile_mean
from plasticrl.scripts.run_folder import RESULT, read_json, write_json, written_whole
from plasticrl.scripts.settings import MazeRun
from plasticrl.scripts.tables import percent, print_table
from plasticrl.scripts.user_error import UserError


@dataclass(frozen=True)
class CoreScore:
    """One core's final scores.

    Attributes:
        core: which.
        scores: points per episode of each run, by seed.
        reward: their interquartile mean.
        low, high: its 95 % bootstrap interval; None for a single run.
        share, share_low, share_high: the same as the oracle's share.
        rewards_found: rewards per episode, mean over the runs.
    """

    core: str
    scores: tuple[float, ...]
    reward: float
    low: float | None
    high: float | None
    share: float
    share_low: float | None
    share_high: float | None
    rewards_found: float


@dataclass(frozen=True)
class Comparison:
    """All cores between their bracket.

    Attributes:
        random: what acting at random is expected to score.
        oracle: what knowing the reward's place is expected to score.
        cores: by falling score.
    """

    random: float
    oracle: float
    cores: tuple[CoreScore, ...]


def compare_results(runs: list[MazeRun], root: Path) -> Comparison:
    """Sum up the ``result.json`` of finished runs on the same maze.

    Raises:
        UserError: a result cannot be read.
    """
    results: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        path = run.folder(root) / RESULT
        try:
            evaluation = read_json(path)["evaluation"]
            random, oracle = float(evaluation["random_reward"]), float(evaluation["oracle_reward"])
            results.setdefault(run.core, []).append(
                {name: float(evaluation[name]) for name in ("mean_reward", "rewards_found")}
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} is not a run's result ({error}): train it again with --overwrite"
            ) from error

    def share(reward: float) -> float:
        return (reward - random) / (oracle - random)

    def score(core: str, found: list[dict[str, float]]) -> CoreScore:
        scores = tuple(result["mean_reward"] for result in found)
        reward = float(interquartile_mean(scores))
        low, high = bootstrap_interval(scores) or (None, None)
        return CoreScore(
            core=core,
            scores=scores,
            reward=reward,
            low=low,
            high=high,
            share=share(reward),
            share_low=None if low is None else share(low),
            share_high=None if high is None else share(high),
            rewards_found=sum(result["rewards_found"] for result in found) / len(found),
        )

    cores = sorted((score(*item) for item in results.items()), key=lambda one: -one.reward)
    return Comparison(random, oracle, tuple(cores))


def write_comparison(comparison: Comparison, path: Path) -> list[Path]:
    """Write ``path`` with ``.json`` and ``.csv``, one line per agent; returns the two files."""
    table, data = path.with_suffix(".csv"), path.with_suffix(".json")
    write_json(data, asdict(comparison))
    with written_whole(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["agent", "runs", "reward", "low", "high", "share", "share_low", "share_high"])
        writer.writerow(["oracle", "", comparison.oracle, "", "", 1.0, "", ""])
        for one in comparison.cores:
            numbers = (one.reward, one.low, one.high, one.share, one.share_low, one.share_high)
            writer.writerow([one.core, len(one.scores), *("" if n is None else n for n in numbers)])
        writer.writerow(["random", "", comparison.random, "", "", 0.0, "", ""])
    return [table, data]


def print_comparison(comparison: Comparison, title: str) -> None:
    """Print the table, best first, between oracle and random."""

    def interval(middle: float, low: float | None, high: float | None, form: Callable[[float], str]) -> str:
        around = "" if low is None or high is None else f"  [{form(low)}, {form(high)}]"
        return form(middle) + around

    rows = [("oracle", "", f"{comparison.oracle:.1f}", "100%", "")]
    rows += [
        (
            one.core,
            str(len(one.scores)),
            interval(one.reward, one.low, one.high, "{:.1f}".format),
            interval(one.share, one.share_low, one.share_high, percent),
            f"{one.rewards_found:.1f}",
        )
        for one in comparison.cores
    ]
    rows.append(("random", "", f"{comparison.random:.1f}", "0%", ""))
    columns = ["agent", "runs", "points per episode", "share of the oracle", "rewards found"]
    print_table(title, columns, rows)

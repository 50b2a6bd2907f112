"""Comparison of cores on the maze: points per episode, between random actions and the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plasticrl.scripts.comparison import (
    Cells,
    Comparison,
    CurveAxes,
    Summary,
    read_evaluations,
    summarize,
)
from plasticrl.scripts.run import Run
from plasticrl.scripts.tables import percent


@dataclass(frozen=True)
class CoreScore:
    """Final scores of one core.

    Attributes:
        core: the core.
        scores: points per episode of each run, by seed.
        reward: their interquartile mean.
        low, high: its 95 % bootstrap interval; None for a single run.
        share, share_low, share_high: the same as a share of the oracle.
        rewards_found: rewards per episode, averaged over the runs.
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
class MazeComparison(Comparison):
    """All cores, between the random agent and the oracle.

    Attributes:
        random: expected score of random actions.
        oracle: expected score of an agent that knows the reward's location.
        cores: the cores by descending score.
    """

    random: float
    oracle: float
    cores: tuple[CoreScore, ...]

    @property
    def ranking(self) -> list[str]:
        """The cores, best first."""
        return [one.core for one in self.cores]

    def title(self, runs: Sequence[Run]) -> str:
        """Return the title of the table."""
        return f"Maze after {runs[0].total:,} steps: interquartile mean over runs, 95 % interval"

    def table(self) -> list[Sequence[str]]:
        """Return the printed table: best first, between oracle and random."""
        rows: list[Sequence[str]] = [
            ("agent", "runs", "points per episode", "share of the oracle", "rewards found"),
            ("oracle", "", f"{self.oracle:.1f}", "100%", ""),
        ]
        for one in self.cores:
            points = Summary(one.reward, one.low, one.high).text("{:.1f}".format)
            share = Summary(one.share, one.share_low, one.share_high).text(percent)
            rows.append((one.core, str(len(one.scores)), points, share, f"{one.rewards_found:.1f}"))
        rows.append(("random", "", f"{self.random:.1f}", "0%", ""))
        return rows

    def csv_rows(self) -> list[Cells]:
        """Return the table as numbers."""
        rows: list[Cells] = [
            ("agent", "runs", "reward", "low", "high", "share", "share_low", "share_high"),
            ("oracle", None, self.oracle, None, None, 1.0, None, None),
        ]
        for one in self.cores:
            share = (one.share, one.share_low, one.share_high)
            rows.append((one.core, len(one.scores), one.reward, one.low, one.high, *share))
        rows.append(("random", None, self.random, None, None, 0.0, None, None))
        return rows

    def axes(self) -> CurveAxes:
        """Return axes with points against environment steps."""
        return CurveAxes(
            title="Maze",
            steps="time/total_timesteps",
            score="rollout/ep_rew_mean",
            x_label="environment steps (millions)",
            x_unit=1e6,
            y_label="points per episode",
            references=(("oracle", self.oracle, "--"), ("random", self.random, ":")),
            share=(self.random, self.oracle, "share of the oracle (%)"),
        )


def compare_mazes(runs: Sequence[Run], root: Path) -> MazeComparison:
    """Summarise the ``result.json`` of finished runs on the same maze.

    Raises:
        UserError: a result cannot be read.
    """
    names = ("mean_reward", "rewards_found", "random_reward", "oracle_reward")

    def numbers(evaluation: dict[str, Any]) -> dict[str, float]:
        return {name: float(evaluation[name]) for name in names}

    results = read_evaluations(runs, root, numbers)
    last: dict[str, float] = results[runs[-1].core][-1]
    random, oracle = last["random_reward"], last["oracle_reward"]

    def share(reward: float) -> float:
        return (reward - random) / (oracle - random)

    def score(core: str, found: list[dict[str, float]]) -> CoreScore:
        scores = tuple(result["mean_reward"] for result in found)
        reward, low, high = summarize(scores)
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
    return MazeComparison(random, oracle, tuple(cores))

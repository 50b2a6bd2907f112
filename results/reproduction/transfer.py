"""Tables and a picture of the evaluations elsewhere than in training, and with a manipulated trace.

python results/reproduction/transfer.py prints the tables and draws maze_quick/transfer/shares.png and .svg
from what `evaluate.sh DATA results/reproduction` wrote.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from plasticrl.scripts.reports.figures import COLORS, one_panel
from plasticrl.scripts.reports.statistics import Estimate, estimate, interquartile_mean
from plasticrl.scripts.settings.tasks import TASKS

HERE = Path(__file__).parent
CONDITIONS = ("plastic", "homogeneous", "rnn", "lstm", "lstm_small", "recurrent_ppo", "recurrent_ppo_fifth")
MAZES = {
    "own": "9 × 9, 250 steps: its own",
    "size_7": "7 × 7",
    "size_11": "11 × 11",
    "size_13": "13 × 13",
    "steps_500": "500 steps",
    "steps_1000": "1,000 steps",
    "iclr_maze": "that of 2019: 11 × 11, 200 steps, no wall penalty",
    "moves_once": "the reward moves after 125 steps",
    "moves_4_times": "it moves every 50 steps",
    "layout_0": "pillars not in rows, first maze",
    "layout_1": "pillars not in rows, second maze",
    "layout_2": "pillars not in rows, third maze",
    "layout_3": "pillars not in rows, fourth maze",
}
LESIONS = {
    "transfer/plastic/own": "none",
    "lesions/silenced_from_0": "silenced: zero all the time",
    "lesions/silenced_from_125": "silenced from step 125",
    "lesions/cleared_at_125": "cleared at step 125",
    "lesions/frozen_from_125": "frozen from step 125",
    "lesions/frozen_from_25": "frozen from step 25",
}
IMAGES = {
    "own": "CIFAR-10, a half: its own",
    "quarter": "CIFAR-10, a quarter",
    "pixels_50": "CIFAR-10, half of the pixels, one by one",
    "pixels_80": "CIFAR-10, 80 % of the pixels",
    "square_25": "CIFAR-10, a square of a quarter of the picture",
    "square_50": "CIFAR-10, a square of half of it",
    "omniglot": "Omniglot's drawings, a half",
}
OMNIGLOT = {
    "plastic/own": "plastic | 5 | 1",
    "plastic/n_way_20": "plastic | 20 | 1",
    "plastic/k_shot_5": "plastic | 5 | 5",
    "batch_norm/own": "batch_norm | 5 | 1",
    "batch_norm/n_way_20": "batch_norm | 20 | 1",
    "batch_norm/k_shot_5": "batch_norm | 5 | 5",
}


def evaluated(folder: str) -> list[Any]:
    """What each network of a condition did there, by seed."""
    paths = sorted((HERE / folder).glob("seed_*.json"))
    if not paths:
        raise FileNotFoundError(f"there are no evaluations in {HERE / folder}: run evaluate.sh")
    return [json.loads(path.read_text()) for path in paths]


def share_of_oracle(condition: str, maze: str) -> Estimate:
    """0 is acting at random there, 1 knowing where the reward is."""
    return estimate([one["oracle_share"] for one in evaluated(f"maze_quick/transfer/{condition}/{maze}")])


def maze_row(maze: str) -> str:
    """Each condition's share of the oracle's points in a maze."""
    cells = [
        share_of_oracle(condition, maze).text(lambda share: f"{100 * share:.0f}") for condition in CONDITIONS
    ]
    return _row(MAZES[maze], *cells)


def lesion_row(lesion: str) -> str:
    """Points of the plastic agents, in all and in each fifth of the episode."""
    told = evaluated(f"maze_quick/{lesion}")
    points = estimate([one["mean_reward"] for one in told]).text(_tenths)
    fifths = interquartile_mean([one["points_by_fifth"] for one in told], axis=0)
    return _row(LESIONS[lesion], points, "  ".join(map(_tenths, fifths)))


def supervised_row(experiment: str, name: str, label: str) -> str:
    """The plastic networks' score, and those of what needs no training in the same episodes."""
    told = evaluated(f"{experiment}/transfer/{name}")
    metric = TASKS[told[0]["task"]].metrics[0]
    score = estimate([one["metrics"][metric.name]["mean"] for one in told]).text(metric.form)
    references = [
        metric.form(reference[metric.name])
        for reference_name, reference in told[0]["references"].items()
        if reference_name != "nearest shown image"  # one of them is the answer
    ]
    return _row(label, score, *references)


def draw(paths: Sequence[Path]) -> None:
    """The shares of the oracle's points: a line of dots for each maze, a dot for each agent."""
    colors = dict(zip(CONDITIONS, COLORS, strict=False))
    with one_panel("Maze: where the agents were never trained", paths, size=(9, 7)) as panel:
        for row, maze in enumerate(MAZES):
            for place, condition in enumerate(CONDITIONS):
                told = evaluated(f"maze_quick/transfer/{condition}/{maze}")
                shares = [100 * one["oracle_share"] for one in told]
                height = row + 0.1 * (place - (len(CONDITIONS) - 1) / 2)
                label = condition if row == 0 else None
                panel.scatter(shares, [height] * len(shares), s=14, color=colors[condition], label=label)
        for row in range(1, len(MAZES)):
            panel.axhline(row - 0.5, color="0.9", linewidth=0.8)
        panel.set_yticks(range(len(MAZES)), MAZES.values())
        panel.invert_yaxis()
        panel.set_xlim(left=0)
        panel.set_xlabel("share of the oracle (%), a dot for each agent")
        panel.grid(visible=False, axis="y")  # the lines between the mazes are enough


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _tenths(points: float) -> str:
    return f"{points:.1f}"


if __name__ == "__main__":
    draw([HERE / "maze_quick" / "transfer" / f"shares.{kind}" for kind in ("png", "svg")])
    tables: list[tuple[Callable[[str], str], Sequence[str]]] = [
        (maze_row, list(MAZES)),
        (lesion_row, list(LESIONS)),
        (lambda name: supervised_row("images_quick", name, IMAGES[name]), list(IMAGES)),
        (lambda name: supervised_row("omniglot_quick", name, OMNIGLOT[name]), list(OMNIGLOT)),
    ]
    for row, names in tables:
        print(*map(row, names), sep="\n", end="\n\n")

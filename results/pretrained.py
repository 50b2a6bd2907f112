"""Make the folder of a pretrained agent from that of a run: python results/pretrained.py RUN NAME.

The agent keeps its parameters; the optimiser's state and all episodes but one are dropped: the file is
small. The score on the card is that of the run's own evaluation.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import fill, wrap

from plasticrl.agents.pretrained.registry import pretrained_folder
from plasticrl.scripts.runs.checkpoints import find_checkpoint
from plasticrl.scripts.runs.folder import CHECKPOINTS, CONFIG, RESULT, read_run
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.tasks.environments.setup import load_to_act
from plasticrl.scripts.tasks.supervised.setup import load_learner, make_tasks

WIDTH = 110
CARD = """# {name}

{about}

| | |
| --- | --- |
| task | {task} |
| network | {core} |
| trained for | {steps:,} {unit}, seed {seed} |
| score | {score} |
| commit | {commit} |
| licence | Apache-2.0, as the package |

    {command}

Settings are in `config.json`, scores in `result.json`. To measure them again:

    plasticrl evaluate pretrained:{name}
"""
ABOUT = {
    "maze": "Finds the invisible reward of the paper's maze, and its way back to it: PPO and a plastic LSTM.",
    "maze_plastic": "The same maze with the paper's network, plastic and without gates, trained by PPO.",
    "maze_lstm": "The same maze with an LSTM, for comparison.",
    "random_maze": "A maze with other pillars in every episode: PPO and a plastic LSTM.",
    "cartpole_positions": "CartPole without velocities: PPO and a plastic network.",
    "patterns": "Completes patterns of 50 bits that it saw once, from a half.",
    "omniglot": "Names drawings of new characters, each of which it saw once: convolutions with batch "
    "normalization, and a plastic last layer.",
}


def main(source: Path, name: str) -> None:
    """Write the folder."""
    folder, file = find_checkpoint(source)
    run = read_run(folder)
    target = pretrained_folder(name)
    shutil.rmtree(target, ignore_errors=True)
    (target / CHECKPOINTS).mkdir(parents=True)
    shutil.copy(folder / CONFIG, target / CONFIG)
    result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    kept = {key: result[key] for key in ("evaluation", "steps") if key in result}
    (target / RESULT).write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    _save(run, file, target / CHECKPOINTS / file.name)
    unit = "episodes" if run.entry.kind == "supervised" else "steps"
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    card = CARD.format(
        name=name,
        about=fill(ABOUT[name], WIDTH),
        task=run.task if run.entry.kind != "maze" else run.maze.env,
        core=run.core,
        steps=result["steps"],
        unit=unit,
        seed=run.seed,
        score=_score(result["evaluation"]),
        commit=commit.stdout.strip(),
        command=" \\\n        ".join(
            wrap(
                " ".join(_words(result["command"])),
                WIDTH - 10,
                break_on_hyphens=False,
                break_long_words=False,
            )
        ),
    )
    (target / "CARD.md").write_text(card, encoding="utf-8")


def _save(run: Run, file: Path, target: Path) -> None:
    if run.entry.kind == "supervised":
        learner = load_learner(file, run, "cpu", make_tasks(run).train)
        learner.optimizer.state.clear()
        learner.save(target)
    else:
        agent = load_to_act(run, file, "cpu")
        agent.policy.optimizer.state.clear()
        agent.save(target)


def _score(evaluation: dict) -> str:
    if "mean_reward" in evaluation:
        mean, error = evaluation["mean_reward"], evaluation["std_reward"] / evaluation["episodes"] ** 0.5
        low, high = mean - 1.96 * error, mean + 1.96 * error
        text = f"{mean:.1f} points per episode, 95 % interval {low:.1f} to {high:.1f}"
        return f"{text} ({evaluation['episodes']} episodes)"
    name, one = next(iter(evaluation["metrics"].items()))
    shown = [f"{100 * one[key]:.2f}" for key in ("mean", "low", "high")]
    label = {"accuracy": "right answers", "bit_error": "wrong bits"}[name]
    return (
        f"{shown[0]} % {label}, 95 % interval {shown[1]} to {shown[2]} ({evaluation['episodes']:,} episodes)"
    )


def _words(command: list[str]) -> list[str]:
    """Return the command without the options that say where things lie."""
    kept, skip = [], False
    for word in command:
        if skip or word in ("--root", "--data-dir", "--quiet", "--threads", "--jobs"):
            skip = not skip and word != "--quiet"
        else:
            kept.append(word)
    return kept


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

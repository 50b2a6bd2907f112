"""The command ``evaluate``."""

import json
import sys
from dataclasses import fields
from typing import Any

from plasticrl.scripts.commands import Evaluate
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.experiments.training import task_of
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.checkpoints import find_checkpoint
from plasticrl.scripts.runs.folder import read_run
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import print_table
from plasticrl.scripts.tasks.task import EVALUATION_SEEDS, check_at_least, check_seed, set_up_torch


def run(command: Evaluate) -> None:
    """Evaluate a trained network on episodes that it was not trained on; print a table or JSON.

    Raises:
        UserError: there is no such run or checkpoint, it does not fit, or an option is out of range.
    """
    folder, checkpoint = find_checkpoint(command.run)
    trained = read_run(folder)
    episodes = trained.eval_episodes if command.episodes is None else command.episodes
    check_at_least(1, episodes=episodes)
    seed = trained.seed + EVALUATION_SEEDS if command.seed is None else check_seed(command.seed)
    options = _options(command, trained)
    trained = trained.with_data_dir(command.data_dir)
    set_up_torch(command.device, None)
    evaluate = task_of(trained).evaluate
    scores, steps, about = evaluate(trained, checkpoint, episodes, seed, command.device, options)
    if command.json:
        shown = {"checkpoint": str(checkpoint), "seed": seed, **about, **scores.as_dict()}
        print(json.dumps(shown, indent=2, allow_nan=False))
    else:
        title = f"{trained.task}, {trained.label}, {steps}: {checkpoint.name}"
        print_table(title, ["", f"{scores.episodes} episodes"], scores.rows())


def _options(command: Evaluate, run: Run) -> Any:
    """Return the options of the run's task.

    Raises:
        UserError: an option is given that the task does not have.
    """
    kind, given = run.entry.evaluation, command.given()
    names = [field.name for field in fields(kind)]
    allowed = [*names, "data_dir"] if run.reads_data else names
    wrong = ["--" + name.replace("_", "-") for name in given if name not in allowed]
    if wrong:
        raise UserError(f"{' and '.join(wrong)}: there is no such thing on {run.task}, leave it out")
    return kind(**{name: given[name] for name in given if name in names})


if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))

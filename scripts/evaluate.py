"""The command ``evaluate``."""

import json
import sys
from dataclasses import fields
from functools import partial
from typing import Any, get_type_hints

from plasticrl.scripts.commands import Evaluate
from plasticrl.scripts.errors import UserError, as_user_error
from plasticrl.scripts.experiments.training import task_of
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.terminal import print_table
from plasticrl.scripts.settings.groups import value_of
from plasticrl.scripts.tasks.environments.evaluation import evaluate_checkpoint_in_env
from plasticrl.scripts.tasks.environments.setup import FoundAgent, find_agent
from plasticrl.scripts.tasks.task import EVALUATION_SEEDS, check_at_least, check_seed, set_up_torch


def run(command: Evaluate) -> None:
    """Evaluate a trained network on episodes that it was not trained on; print a table or JSON.

    Raises:
        UserError: there is no such run or checkpoint, it does not fit, or an option is out of range.
    """
    found = find_agent(command.run, command.env, command.place)
    trained, checkpoint = found.run, found.checkpoint
    episodes = trained.eval_episodes if command.episodes is None else command.episodes
    check_at_least(1, episodes=episodes)
    seed = trained.seed + EVALUATION_SEEDS if command.seed is None else check_seed(command.seed)
    options = _options(command, found)
    trained = trained.with_data_dir(command.data_dir)
    set_up_torch(command.device, None)
    evaluate = task_of(trained).evaluate
    if found.is_saved:
        evaluate = partial(evaluate_checkpoint_in_env, load=found.load)
    scores, steps, about = evaluate(trained, checkpoint, episodes, seed, command.device, options)
    if command.json:
        shown = {"checkpoint": str(checkpoint), "seed": seed, **about, **scores.as_dict()}
        print(json.dumps(shown, indent=2, allow_nan=False))
    else:
        name = trained.core if found.is_saved else trained.label
        title = f"{trained.task}, {name}, {steps}: {checkpoint.name}"
        print_table(title, ["", f"{scores.episodes} episodes"], scores.rows())


def _options(command: Evaluate, found: FoundAgent) -> Any:
    """Return the options of the run's task.

    Raises:
        UserError: an option is given that the task does not have, or another maze that there is not.
    """
    run, given = found.run, command.given()
    kind = run.entry.evaluation
    names = [field.name for field in fields(kind)]
    others = (["data_dir"] if run.reads_data else []) + (["env"] if found.is_saved else [])
    wrong = ["--" + name.replace("_", "-") for name in given if name not in (*names, *others)]
    if wrong:
        raise UserError(f"{' and '.join(wrong)}: there is no such thing on {run.task}, leave it out")
    hints = get_type_hints(kind)
    with as_user_error(TypeError):
        return kind(**{name: value_of(hints[name], name, given[name]) for name in given if name in names})


if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))

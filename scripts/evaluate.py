"""The command ``evaluate``."""

import json
import sys

from plasticrl.scripts.commands.options import Evaluate
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.checkpoints import find_checkpoint
from plasticrl.scripts.runs.folder import read_run
from plasticrl.scripts.runs.setup import check_at_least, check_seed, set_up_torch
from plasticrl.scripts.runs.terminal import print_table
from plasticrl.scripts.tasks.registry import task_of
from plasticrl.scripts.tasks.task import EVALUATION_SEEDS


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
    set_up_torch(command.device, None)
    scores, steps, about = task_of(trained).evaluate(trained, checkpoint, episodes, seed, command)
    if command.json:
        about = {"checkpoint": str(checkpoint), "seed": seed, **about}
        print(json.dumps({**about, **scores.as_dict()}, indent=2, allow_nan=False))
    else:
        title = f"{trained.task}, {trained.label}, {steps}: {checkpoint.name}"
        print_table(title, ["", f"{scores.episodes} episodes"], scores.rows())


if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))

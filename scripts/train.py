"""The command ``train``."""

import sys

from plasticrl.scripts.commands import Train
from plasticrl.scripts.main import main
from plasticrl.scripts.progress_display import ProgressDisplay
from plasticrl.scripts.training import train


def run(command: Train) -> None:
    """Train one network and say where everything is.

    Raises:
        UserError: the settings are wrong, or the folder is taken.
    """
    command.check_options((command.core,))
    run = command.make_run(command.core, command.seed)
    with ProgressDisplay(command.output.quiet) as display:
        scores = train(run, command.output, display.show)
    print(
        f"{run.label}: {scores.summary()}\n"
        f"run: {run.folder(command.output.root)}\n"
        f"TensorBoard: tensorboard --logdir {command.output.root}"
    )


if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))

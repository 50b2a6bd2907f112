"""The command ``train``."""

import sys

from plasticrl.scripts.commands.options import TrainOptions
from plasticrl.scripts.experiments.training import assist, train
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.setup import process_rank
from plasticrl.scripts.runs.terminal import ProgressDisplay
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.signals import INTERRUPTED


def run(command: TrainOptions) -> None:
    """Train one network and print the paths of its output.

    Raises:
        UserError: the settings are wrong, or the folder is taken.
    """
    train_and_tell(command.make_run(command.core, command.seed), command.output)


def train_and_tell(run: Run, output: OutputSettings) -> None:
    """Train or resume with progress output; then print the score and the paths of the output.

    If ``torchrun`` started several processes, the first does this and the others assist it.
    """
    if process_rank() > 0:
        try:
            assist(run, output)
        except KeyboardInterrupt:  # the first process prints the message
            sys.exit(INTERRUPTED)
        return
    with ProgressDisplay(output.quiet) as display:
        scores = train(run, output, display.show, display.note)
    print(
        f"{run.label}: {scores.summary()}\n"
        f"run: {run.folder(output.root)}\n"
        f"TensorBoard: tensorboard --logdir {output.root}"
    )


if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))

"""The commands ``train`` and ``train --resume``."""

import sys

from plasticrl.scripts.commands import Resume, TrainOptions
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.experiments.training import join, train
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.folder import is_finished, read_run
from plasticrl.scripts.runs.terminal import ProgressDisplay
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.scripts.tasks.task import process_rank
from plasticrl.signals import INTERRUPTED


def run(command: TrainOptions | Resume) -> None:
    """Train or resume with progress output; then print the score and the paths of the output.

    If ``torchrun`` started several processes, the first does this and the others join it.

    Raises:
        UserError: the settings are wrong, or the folder is taken or holds no unfinished run.
    """
    if isinstance(command, Resume):
        folder = command.resume
        trained = read_run(folder)
        if is_finished(folder):
            flag = "--" + trained.entry.total.replace("_", "-")
            raise UserError(
                f"{folder} is finished: there is nothing to resume; the command that began it, with a larger "
                f"{flag}, trains it longer"
            )
        if command.data_dir is not None:
            if not trained.reads_data:
                raise UserError(f"--data-dir: {trained.task} has no data, leave it out")
            trained = trained.with_data_dir(command.data_dir)
        same = {name: getattr(command, name) for name in ("device", "threads", "keep", "track", "quiet")}
        output = OutputSettings(root=folder, **same)
    else:
        output = command.output
        trained = command.make_run(command.core, command.seed)
        folder = trained.folder(output.root)
    if process_rank() > 0:
        try:
            join(trained, output)
        except KeyboardInterrupt:  # the first process prints the message
            sys.exit(INTERRUPTED)
        return
    with ProgressDisplay(output.quiet) as display:
        scores = train(trained, output, display.show, display.note, folder)
    print(
        f"{trained.label}: {scores.summary()}\nrun: {folder}\nTensorBoard: tensorboard --logdir {output.root}"
    )


if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))

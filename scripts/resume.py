"""The command ``train --resume``."""

from pathlib import Path

from plasticrl.scripts.commands.options import Resume
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.runs.folder import is_finished, is_unfinished, read_run
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.scripts.train import train_and_tell


def run(command: Resume) -> None:
    """Resume a training and print the paths of its output.

    Raises:
        UserError: the folder holds no unfinished run.
    """
    folder = command.resume.absolute()
    found = read_run(folder)
    if is_finished(folder):
        raise UserError(f"{command.resume} is finished: there is nothing to resume")
    root = folder.parents[2]
    if found.folder(root) != folder or not is_unfinished(folder, found):
        raise UserError(
            f"{command.resume} is not the folder of a run with its settings: move it to "
            f"{found.folder(Path('ROOT'))}"
        )
    if command.data_dir is not None:
        if not found.reads_data:
            raise UserError(f"--data-dir: {found.task} has no data, leave it out")
        found = found.with_data_dir(command.data_dir)
    train_and_tell(
        found, OutputSettings(root, False, command.device, command.threads, command.keep, command.quiet)
    )

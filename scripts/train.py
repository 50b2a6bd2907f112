"""The command ``train``."""

import sys

from plasticrl.scripts.commands import TrainMaze
from plasticrl.scripts.main import main
from plasticrl.scripts.maze_setup import check_core_options
from plasticrl.scripts.maze_training import train_maze
from plasticrl.scripts.presets import MAZE_PRESETS
from plasticrl.scripts.progress_display import ProgressDisplay
from plasticrl.scripts.tables import percent


def run(command: TrainMaze) -> None:
    """Train one agent and say where everything is.

    Raises:
        UserError: the settings are wrong, or the folder is taken.
    """
    check_core_options((command.core,), command.agent, MAZE_PRESETS[command.preset].agent)
    run = command.run()
    with ProgressDisplay(command.output.quiet) as display:
        evaluation = train_maze(run, command.output, display.show)
    print(
        f"{run.core} seed {run.seed}: {evaluation.mean_reward:.1f} points per episode, "
        f"{percent(evaluation.oracle_share)} of the oracle's {evaluation.oracle_reward:.0f} "
        f"(random: {evaluation.random_reward:.1f})\n"
        f"run: {run.folder(command.output.root)}\n"
        f"TensorBoard: tensorboard --logdir {command.output.root}"
    )


if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))

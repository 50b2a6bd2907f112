"""The command ``evaluate``."""

import json
import sys
from dataclasses import replace

from plasticrl.scripts.checkpoint_files import find_checkpoint, load_checkpoint
from plasticrl.scripts.commands import Evaluate
from plasticrl.scripts.evaluation import EVALUATION_SEEDS, Evaluation, evaluate
from plasticrl.scripts.main import main
from plasticrl.scripts.maze_setup import check_seed, make_mazes, maze_config, set_up_torch
from plasticrl.scripts.run_folder import read_run
from plasticrl.scripts.tables import print_table
from plasticrl.scripts.user_error import UserError


def run(command: Evaluate) -> None:
    """Load an agent, play, and print a table or JSON.

    Raises:
        UserError: there is no such run or checkpoint, it does not fit, or an option is out of range.
    """
    folder, checkpoint = find_checkpoint(command.run)
    trained = read_run(folder)
    changes = {name: getattr(command, name) for name in ("env", "size", "episode_length")}
    maze = replace(trained.maze, **{name: value for name, value in changes.items() if value is not None})
    episodes = trained.training.eval_episodes if command.episodes is None else command.episodes
    if episodes < 1:
        raise UserError(f"episodes must be at least 1, not {episodes}")
    seed = trained.seed + EVALUATION_SEEDS if command.seed is None else check_seed(command.seed)
    maze_config(maze)
    set_up_torch(command.device, None)
    agent = load_checkpoint(checkpoint, make_mazes(maze, 1, seed), command.device)
    result = evaluate(agent, maze, episodes=episodes, seed=seed, deterministic=command.deterministic)
    if command.json:
        about = {"checkpoint": str(checkpoint), "seed": seed, "deterministic": command.deterministic}
        print(json.dumps({**about, **result.as_dict()}, indent=2, allow_nan=False))
    else:
        _print(
            result, f"{trained.core} seed {trained.seed}, {agent.num_timesteps:,} steps: {checkpoint.name}"
        )


def _print(result: Evaluation, title: str) -> None:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f}"

    rows = [
        ("points per episode", f"{result.mean_reward:.1f} ± {result.std_reward:.1f}"),
        ("acting at random", number(result.random_reward)),
        ("oracle", number(result.oracle_reward)),
        ("share of the oracle", f"{result.oracle_share:.1%}"),
        ("rewards found", number(result.rewards_found)),
        ("steps to the first", number(result.first_reward_step)),
        ("steps to a later one", number(result.mean_steps_later)),
        ("wall hits", number(result.wall_hits)),
    ]
    print_table(title, ["", f"{result.episodes} episodes"], rows)


if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))

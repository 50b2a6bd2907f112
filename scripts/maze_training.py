"""One training on the maze, from its settings to its finished folder."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticrl import __version__
from plasticrl.scripts.checkpoint_files import save_checkpoint
from plasticrl.scripts.evaluation import EVALUATION_SEEDS, Evaluation, evaluate
from plasticrl.scripts.maze_setup import check_run, make_agent, make_mazes, maze_config, set_up_torch
from plasticrl.scripts.progress_display import Report
from plasticrl.scripts.run_folder import CHECKPOINTS, RESULT, check_claim, claim, write_json
from plasticrl.scripts.settings import MazeRun, OutputSettings
from plasticrl.scripts.user_error import UserError

if TYPE_CHECKING:
    from plasticrl.agents import RecurrentA2C

_MOST_ROWS = 2000  # of progress.csv; longer trainings log every so many updates


def run_label(run: MazeRun) -> str:
    """How a run is called in progress lines."""
    return f"{run.core} seed {run.seed}"


def check_maze_run(run: MazeRun) -> None:
    """Make the maze and the agent of a run once, and write nothing.

    Raises:
        UserError: a setting is not allowed.
    """
    check_run(run)
    maze_config(run.maze)
    env = make_mazes(run.maze, run.training.n_envs, run.seed)
    make_agent(run, env, "cpu")
    env.close()


def train_maze(run: MazeRun, output: OutputSettings, report: Callable[[Report], None]) -> Evaluation:
    """Train, evaluate, and write the run's folder.

    Args:
        run: what to train.
        output: where to write, and on what to compute.
        report: is told the progress after every update.

    Raises:
        UserError: a setting is not allowed, or the folder is taken; nothing has been written then.
    """
    folder = run.folder(output.root)
    check_run(run)
    check_claim(folder, overwrite=output.overwrite)
    maze_config(run.maze)
    set_up_torch(output.device, output.threads)
    env = make_mazes(run.maze, run.training.n_envs, run.seed)
    agent = make_agent(run, env, output.device)
    claim(folder, run, overwrite=output.overwrite)

    with _logs_in(folder, agent), _blame_divergence(agent):
        seconds = _learn(agent, run, folder, report)
        env.close()
        evaluation = evaluate(
            agent, run.maze, episodes=run.training.eval_episodes, seed=run.seed + EVALUATION_SEEDS
        )
        _finish(agent, run, folder, evaluation, seconds)
    return evaluation


def _learn(agent: RecurrentA2C, run: MazeRun, folder: Path, report: Callable[[Report], None]) -> float:
    """Train with everything that watches; returns the seconds it took."""
    from plasticrl.agents.episode_info import EpisodeInfo
    from plasticrl.agents.matrix_pictures import MatrixPictures
    from plasticrl.envs import oracle_share
    from plasticrl.scripts import training_callbacks

    config = maze_config(run.maze)

    def share(reward: float) -> float:
        return oracle_share(reward, config)

    total = run.training.total_timesteps
    every = max(1, total // run.training.checkpoints)
    infos = ("rewards_found", "wall_hits", "first_reward_step", "mean_steps_later")
    began = time.monotonic()
    agent.learn(
        total,
        callback=[
            training_callbacks.LogHyperparameters(run),
            EpisodeInfo("maze", infos, {"oracle_share": share}),
            MatrixPictures(every),
            training_callbacks.SaveCheckpoints(every, folder / CHECKPOINTS, run),
            training_callbacks.ReportProgress(run_label(run), total, share, report),
        ],
        log_interval=max(1, total // (agent.n_steps * run.training.n_envs) // _MOST_ROWS),
    )
    return time.monotonic() - began


def _finish(agent: RecurrentA2C, run: MazeRun, folder: Path, evaluation: Evaluation, seconds: float) -> None:
    """Write what is written at the end, ``result.json`` last: it says that the run is whole."""
    from plasticrl.agents.matrix_pictures import tensorboard_writer
    from plasticrl.scripts.training_callbacks import log_animation

    save_checkpoint(agent, folder / CHECKPOINTS)
    log_animation(agent, run)
    writer = tensorboard_writer(agent.logger)
    assert writer is not None
    for name in ("mean_reward", "oracle_share"):
        writer.add_scalar(f"eval/{name}", getattr(evaluation, name), agent.num_timesteps)
    write_json(folder / RESULT, _result(run, evaluation, agent.num_timesteps, seconds))


@contextmanager
def _logs_in(folder: Path, agent: RecurrentA2C) -> Iterator[None]:
    """Let the agent log to ``progress.csv`` and TensorBoard, and close both in the end."""
    from stable_baselines3.common.logger import configure

    agent.set_logger(configure(str(folder), ["csv", "tensorboard"]))
    try:
        yield
    finally:
        agent.logger.close()


@contextmanager
def _blame_divergence(agent: RecurrentA2C) -> Iterator[None]:
    """Say in one line that a training diverged: torch only says that it cannot draw an action."""
    import torch

    try:
        yield
    except RuntimeError as error:
        tensors = [*agent.policy.parameters(), *(agent.core_state or ())]
        if all(torch.isfinite(tensor).all() for tensor in tensors):
            raise
        raise UserError(
            f"the training diverged after {agent.num_timesteps:,} steps (weights or trace are not finite): "
            "try a lower --learning-rate, --eta or --max-grad-norm, or --bound-eta"
        ) from error


def _result(run: MazeRun, evaluation: Evaluation, steps: int, seconds: float) -> dict[str, Any]:
    import gymnasium
    import numpy
    import stable_baselines3
    import torch

    modules = (gymnasium, numpy, stable_baselines3, torch)
    return {
        "evaluation": evaluation.as_dict(),
        "steps": steps,
        "seconds": round(seconds, 3),
        "steps_per_second": round(steps / seconds, 1),
        "core": run.core,
        "seed": run.seed,
        "command": sys.argv,
        "versions": {
            "plasticrl": __version__,
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in modules},
        },
    }

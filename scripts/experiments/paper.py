"""The paper's experiments with the settings of their reproduction, in two budgets each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from plasticrl.scripts.experiments.experiment import Condition, Experiment
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.settings.maze import A2C_PRESETS, ContribSettings
from plasticrl.scripts.settings.supervised import IMAGES_PRESETS, OMNIGLOT_PRESETS, PATTERNS_PRESETS
from plasticrl.scripts.settings.tasks import CONTRIB

Budget: TypeAlias = Literal["quick", "paper"]
TaskName: TypeAlias = Literal["maze", "patterns", "images", "omniglot"]

_ABOUT = {
    "plastic": "an alpha for each connection",
    "homogeneous": "one alpha for all connections",
    "rnn": "not plastic",
    "lstm": "long short-term memory",
}
_PAPER_SETTINGS, _FEW_BITS = "paper_settings", "50_bits"  # series
_RATE = "; Adam from 1e-3 to 1e-4, ten times the paper's at first"
# Differences from the tuned preset, which is for shorter trainings; docs/results.md explains the search.
_FOUND: dict[str, dict[str, Any]] = {
    "plastic": {"learning_rate": 0.002},
    "homogeneous": {"learning_rate": 0.002},
    "rnn": {
        "learning_rate": 0.00315,
        "gae_lambda": 0.88,
        "concentration_coef": 0.12,
        "max_grad_norm": 0.49,
        "init_scale": 0.006,
    },
    "lstm": {
        "learning_rate": 0.0096,
        "gae_lambda": 0.95,
        "concentration_coef": 0.049,
        "max_grad_norm": 4.8,
    },
}


def _recurrent_ppo(name: str, about: str, hidden_size: int, total: int) -> Condition:
    """Return a RecurrentPPO condition with four times as many parallel mazes, since its steps cost more."""
    tuned = A2C_PRESETS["tuned"]
    training = replace(tuned.training, total_timesteps=total, n_envs=128, eval_episodes=500)
    ppo = ContribSettings(
        hidden_size=hidden_size,
        learning_rate=5.9e-3,
        final_learning_rate=0.0,
        n_steps=250,
        batch_size=8000,
        n_epochs=4,
        gamma=0.9,
        gae_lambda=0.975,
        ent_coef=1.2e-3,
        vf_coef=0.028,
        max_grad_norm=0.58,
    )
    run = Run("maze", CONTRIB, "lstm", 0, {"maze": tuned.maze, "ppo": ppo, "training": training})
    return Condition(name, run, about)


def _maze(core: str, hidden_size: int, total: int) -> Condition:
    tuned = A2C_PRESETS["tuned"]
    agent = replace(tuned.agent, hidden_size=hidden_size, n_steps=None, **_FOUND.get(core, {}))
    training = replace(tuned.training, total_timesteps=total, n_envs=32, eval_episodes=500)
    run = Run("maze", "a2c", core, 0, {**tuned.groups, "agent": agent, "training": training})
    return Condition(core, run, _ABOUT[core])


def _maze_as_in_the_paper(core: str, total: int) -> Condition:
    paper = A2C_PRESETS["paper"]
    training = replace(paper.training, total_timesteps=total, eval_episodes=500)
    run = Run("maze", "a2c", core, 0, {**paper.groups, "training": training})
    return Condition(f"{core}_paper", run, f"{_ABOUT[core]}; the paper's own settings", _PAPER_SETTINGS)


def _without_action(condition: Condition) -> Condition:
    """Return the condition with the observation exactly as in the paper's text: walls and reward."""
    run = condition.run.with_groups(maze=replace(condition.run.maze, observe_action=False))
    return Condition(f"{condition.name}_letter", run, f"{condition.about}; sees no previous action")


def _of_equal_size(lstm: Condition, cells: int) -> Condition:
    """Return an LSTM with as many parameters as the plastic network; with equal size it has twice as many."""
    run = lstm.run.with_groups(agent=replace(lstm.run.agent, hidden_size=cells))
    about = f"{lstm.about}, {cells} cells: as many parameters as the plastic network"
    return Condition("lstm_small", run, about)


def _maze_experiment(
    name: str, hidden_size: int, small_hidden_size: int, total: int, seeds: int
) -> Experiment:
    cores = [_maze(core, hidden_size, total) for core in ("plastic", "homogeneous", "rnn", "lstm")]
    paper = [_maze_as_in_the_paper(core, total) for core in ("plastic", "homogeneous", "rnn")]
    ppo = "sb3-contrib's RecurrentPPO, an LSTM"
    others = (
        _of_equal_size(cores[3], small_hidden_size),
        _recurrent_ppo("recurrent_ppo", ppo, hidden_size, total),
        _recurrent_ppo("recurrent_ppo_fifth", f"{ppo}; a fifth of the steps", hidden_size, total // 5),
        _without_action(cores[0]),
    )
    more = {_PAPER_SETTINGS: "Maze, the paper's own settings"}
    return Experiment(name, "Maze", (*cores, *others, *paper), seeds, more)


def _episodes(
    name: str,
    task: Any,
    preset: Any,
    core: str,
    about: str = "",
    *,
    total: int,
    evaluated: int,
    **changes: Any,
) -> Condition:
    known = {one.name for one in (*fields(preset.network), *fields(preset.descent))}
    if unknown := changes.keys() - known:
        raise TypeError(f"{name} has no {', '.join(unknown)}")
    network = replace(preset.network, **{k: v for k, v in changes.items() if hasattr(preset.network, k)})
    descent = replace(preset.descent, **{k: v for k, v in changes.items() if hasattr(preset.descent, k)})
    training = replace(preset.training, total_episodes=total, eval_episodes=evaluated)
    groups = {**preset.groups, "network": network, "descent": descent, "training": training}
    run = Run(task, "supervised", core, 0, groups)
    return Condition(name, run, about or _ABOUT[core])


def _patterns(name: str, seeds: int, total: int, total_small: int) -> Experiment:
    text, program = PATTERNS_PRESETS["text"], PATTERNS_PRESETS["program"]
    many: Any = {"total": total, "evaluated": 50}
    return Experiment(
        name,
        "Patterns of 1,000 bits",
        (
            _episodes("plastic", "patterns", text, "plastic", "Hebb with decay, the paper's", **many),
            _episodes(
                "plastic_clipped", "patterns", text, "plastic", "additive, clipped", rule="clipped", **many
            ),
            _episodes("plastic_oja", "patterns", text, "plastic", "Oja", rule="oja", **many),
            _episodes("plastic_program", "patterns", program, "plastic", "the program's protocol", **many),
            *_small_patterns(total_small),
        ),
        seeds,
        {_FEW_BITS: "Patterns of 50 bits"},
    )


def _small_patterns(total: int) -> list[Condition]:
    """Return the 50-bit comparison with the paper's non-plastic networks, which cannot learn 1,000 bits."""
    settings: dict[str, Any] = {
        "plastic": {"rule": "clipped", "learning_rate": 0.003, "final_learning_rate": 0.0},
        "rnn": {},
        "lstm": {"hidden_size": 100},
    }
    about = {"plastic": "51 neurons, clipped rule", "rnn": "2,051 neurons, not plastic", "lstm": "100 cells"}
    made = [
        _episodes(
            f"{core}_50",
            "patterns",
            PATTERNS_PRESETS["small"],
            core,
            about[core],
            total=total,
            evaluated=1000,
            **changes,
        )
        for core, changes in settings.items()
    ]
    return [replace(one, series=_FEW_BITS) for one in made]


def _images(name: str, seeds: int, total: int) -> Experiment:
    preset = IMAGES_PRESETS["paper"]
    rate: Any = {"learning_rate": 1e-3, "final_learning_rate": 1e-4}
    cores = [
        _episodes(core, "images", preset, core, _ABOUT[core] + _RATE, total=total, evaluated=500, **rate)
        for core in ("plastic", "homogeneous", "rnn")
    ]
    return Experiment(name, "Images, a half hidden", tuple(cores), seeds)


def _omniglot(name: str, seeds: int, total: int) -> Experiment:
    tuned, normalized = OMNIGLOT_PRESETS["tuned"], OMNIGLOT_PRESETS["batch_norm"]
    about = "plastic, with batch normalization"
    conditions = (
        _episodes("plastic", "omniglot", tuned, "plastic", total=total, evaluated=10_000),
        _episodes("batch_norm", "omniglot", normalized, "plastic", about, total=total, evaluated=10_000),
        _episodes("homogeneous", "omniglot", tuned, "homogeneous", total=total, evaluated=10_000),
        _episodes("rnn", "omniglot", tuned, "rnn", total=total, evaluated=10_000),
    )
    return Experiment(name, "Omniglot, 5 ways, 1 shot", conditions, seeds)


EXPERIMENTS: Mapping[tuple[TaskName, Budget], Experiment] = MappingProxyType(
    {
        ("maze", "quick"): _maze_experiment("maze_quick", 100, 66, 25_000_000, 5),
        ("maze", "paper"): _maze_experiment("maze_paper", 200, 137, 50_000_000, 15),
        ("patterns", "quick"): _patterns("patterns_quick", 3, 200, 3000),
        ("patterns", "paper"): _patterns("patterns_paper", 10, 2000, 100_000),
        ("images", "quick"): _images("images_quick", 3, 3000),
        ("images", "paper"): _images("images_paper", 10, 100_000),
        ("omniglot", "quick"): _omniglot("omniglot_quick", 3, 1_920_000),
        ("omniglot", "paper"): _omniglot("omniglot_paper", 10, 11_520_000),
    }
)

"""The trained agents that come with the package, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from stable_baselines3.common.type_aliases import GymEnv

    from plasticrl.agents.ppo.recurrent_ppo import RecurrentPPO
    from plasticrl.agents.supervised.learner import EpisodeLearner
    from plasticrl.envs.supervised.task import EpisodeTask


class Pretrained(NamedTuple):
    """A trained agent of the package.

    Attributes:
        task: id of its environment, or name of its supervised task.
        core: its core, or the name of its network.
        learner: "ppo" or "supervised".
    """

    task: str
    core: str
    learner: Literal["ppo", "supervised"] = "ppo"


PRETRAINED: dict[str, Pretrained] = {
    "maze": Pretrained("PlasticMaze-v0", "plastic_lstm"),
    "maze_plastic": Pretrained("PlasticMaze-v0", "plastic"),
    "maze_lstm": Pretrained("PlasticMaze-v0", "lstm"),
    "random_maze": Pretrained("PlasticMazeRandom-v0", "plastic_lstm"),
    "cartpole_positions": Pretrained("CartPolePositions-v0", "plastic"),
    "patterns": Pretrained("patterns", "plastic", "supervised"),
    "omniglot": Pretrained("omniglot", "plastic", "supervised"),
}
"""The agents by name; the first one of a task is its default. Each has a folder of its name with a card."""


def pretrained_folder(name: str) -> Path:
    """Return the folder of an agent's run: settings, result, checkpoint and card.

    Raises:
        ValueError: there is no such agent; the message lists them.
    """
    if name not in PRETRAINED:
        raise ValueError(f"there is no pretrained agent {name!r}: choose one of {', '.join(PRETRAINED)}")
    return Path(__file__).parent / name


def load_pretrained(
    name: str,
    core: str | None = None,
    *,
    env: GymEnv | str | None = None,
    task: EpisodeTask | None = None,
    device: str = "auto",
    **options: Any,
) -> RecurrentPPO | EpisodeLearner:
    """Load a trained agent of the package, which can act, be evaluated, and be trained on.

    Args:
        name: a name in ``PRETRAINED``, or the id of an environment or the name of a task there.
        core: the core, if a task has several agents. Default: that of the first one.
        env: environment to act or train in. Default: none, as in ``RecurrentPPO.load``.
        task: task of a supervised network, with as many classes as it was trained with. Default: for
            "patterns" the one that it was trained on; "omniglot" needs one, since its drawings are not part
            of the package.
        device: "auto" (default), "cpu" or "cuda".
        **options: further arguments of ``load``.

    Raises:
        ValueError: there is no such agent, the task is missing, or ``env`` or ``task`` is for others.
    """
    from plasticrl.agents.ppo.recurrent_ppo import RecurrentPPO  # torch takes seconds to load
    from plasticrl.agents.supervised.learner import EpisodeLearner
    from plasticrl.envs.supervised.make_task import make_task

    found = [
        one for one, kept in PRETRAINED.items() if name in (one, kept.task) and core in (None, kept.core)
    ]
    if not found:
        of_core = "" if core is None else f" with core {core!r}"
        known = ", ".join(f"{one} ({kept.task}, {kept.core})" for one, kept in PRETRAINED.items())
        raise ValueError(f"there is no pretrained agent {name!r}{of_core}; there are {known}")
    chosen = name if name in found else found[0]
    folder = pretrained_folder(chosen)
    (file,) = (folder / "checkpoints").glob("*.safetensors")
    if PRETRAINED[chosen].learner == "ppo":
        if task is not None:
            raise ValueError(f"{chosen} takes env, not task")
        return RecurrentPPO.load(file, env=env, device=device, **options)
    if env is not None:
        raise ValueError(f"{chosen} takes task, not env")
    if task is None and chosen == "patterns":
        task = make_task("patterns", **json.loads((folder / "config.json").read_text())["patterns"])
    if task is None:
        raise ValueError(
            "give the task whose pictures it should classify: task=OmniglotTask('train', n_way=20), or a "
            "OneShotTask of your own with n_way=20"
        )
    return EpisodeLearner.load(file, task, device=device, **options)

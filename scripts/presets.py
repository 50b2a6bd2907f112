"""The defaults of the commands on the maze; they are defined only here."""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

from plasticrl.scripts.search_space import RULES, Between, SearchSpace
from plasticrl.scripts.settings import AgentSettings, MazeSettings, TrainingSettings

PresetName: TypeAlias = Literal["tuned", "paper", "demo"]


@dataclass(frozen=True)
class MazePreset:
    """A named set of all settings of a training on the maze."""

    maze: MazeSettings
    agent: AgentSettings
    training: TrainingSettings
    space: SearchSpace


_SPACE: SearchSpace = MappingProxyType(
    {
        "learning_rate": Between(3e-4, 1e-2),
        "gae_lambda": Between(0.8, 1.0, log=False),
        "concentration_coef": Between(0.02, 0.5),
        "max_grad_norm": Between(0.3, 10.0),
        "init_scale": Between(0.003, 0.1),
        "rule": RULES,
        "eta": Between(0.003, 0.3),
    }
)
_MAZE = MazeSettings(
    env="PlasticMaze-v0",
    size=None,
    episode_length=None,
    reward=None,
    wall_penalty=None,
    observe_action=None,
    observe_time=None,
    reward_on_border=None,
    recenter=None,
    relocate_every=None,
    layout_seed=None,
)

_TUNED = MazePreset(
    maze=_MAZE,
    agent=AgentSettings(
        hidden_size=64,
        rule="oja",
        eta=0.03,
        bound_eta=True,  # an unbounded one eventually turns negative, and the trace diverges
        init="uniform",
        init_scale=0.01,
        learning_rate=3e-3,
        final_learning_rate=0.0,
        gamma=0.9,
        gae_lambda=0.9,
        ent_coef=0.0,
        concentration_coef=0.2,
        vf_coef=0.03,
        max_grad_norm=1.0,
        max_grad_ratio=10.0,
        normalize_advantage=False,
    ),
    training=TrainingSettings(total_timesteps=6_000_000, n_envs=16, eval_episodes=200, checkpoints=10),
    space=_SPACE,
)

# Miconi, Clune & Stanley 2018, section 4.4: one episode per update, 200,000 episodes; the agent sees
# only the walls and the reward.
_PAPER = MazePreset(
    maze=replace(_MAZE, observe_action=False),
    agent=replace(
        _TUNED.agent,
        hidden_size=200,
        rule="hebb",
        eta=0.01,
        bound_eta=False,
        learning_rate=1e-4,
        final_learning_rate=1e-4,
        gae_lambda=1.0,
        concentration_coef=0.1,
        max_grad_norm=None,
        max_grad_ratio=None,
    ),
    training=replace(_TUNED.training, total_timesteps=50_000_000, n_envs=1),
    space=MappingProxyType({**_SPACE, "learning_rate": Between(3e-5, 1e-3)}),
)

# Short enough that nine runs take a few minutes on two cores.
_DEMO = replace(
    _TUNED,
    agent=replace(_TUNED.agent, max_grad_ratio=None),  # none of its runs has collapsed permanently without it
    training=replace(_TUNED.training, total_timesteps=2_500_000, checkpoints=3),
)

MAZE_PRESETS: MappingProxyType[PresetName, MazePreset] = MappingProxyType(
    {"tuned": _TUNED, "paper": _PAPER, "demo": _DEMO}
)

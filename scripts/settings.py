"""What a training on the maze can be asked to be, and where any training writes: typed settings.

The defaults of the maze, the agent and the training are the presets of :mod:`plasticrl.scripts.presets`.
The choices are spelled out here so that ``--help`` need not load torch; a test compares them with the code.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

MazeId: TypeAlias = Literal["PlasticMaze-v0", "PlasticMazeICLR-v0"]
CoreChoice: TypeAlias = Literal["plastic", "homogeneous", "rnn", "lstm", "gru", "feedforward"]
RuleChoice: TypeAlias = Literal["hebb", "oja", "clipped"]
LesionChoice: TypeAlias = Literal["frozen", "cleared", "silenced"]
InitChoice: TypeAlias = Literal["uniform", "normal"]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class MazeSettings:
    """The maze. None leaves the environment's own default."""

    env: MazeId
    """The environment: the maze of 2018 (9x9, 250 steps), or of 2019 (11x11, 200 steps, no wall penalty)."""
    size: int | None
    """Side of the maze inside its outer wall, in squares; odd."""
    episode_length: int | None
    """Steps of one episode."""
    reward: float | None
    """What finding the reward pays."""
    wall_penalty: float | None
    """What walking into a wall costs."""
    observe_action: bool | None
    """Whether the agent sees its previous action."""
    observe_time: bool | None
    """Whether the agent sees the share of the episode that is over."""
    reward_on_border: bool | None
    """Whether the reward lies only on the outermost ring of squares."""
    recenter: bool | None
    """Whether a find sends the agent back to the centre instead of to a random square."""
    relocate_every: int | None
    """Steps after which the reward moves to another square; None: it stays for the whole episode."""
    layout_seed: int | None
    """Which maze with irregular pillars; None: they stand in rows."""

    def env_kwargs(self) -> dict[str, Any]:
        """The arguments to give to the environment."""
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "env"}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class AgentSettings:
    """The network and the learning rule of A2C."""

    hidden_size: int
    """Neurons of the recurrent core."""
    rule: RuleChoice
    """How the trace changes: Hebb with decay, Oja, or additive and clipped (plastic cores)."""
    eta: float
    """Initial learning rate of the trace (plastic cores)."""
    bound_eta: bool
    """Keep eta between 0 and 1, instead of letting training move it freely (plastic cores)."""
    init: InitChoice
    """Distribution of the initial weights w and plasticity coefficients alpha (plastic, homogeneous, rnn)."""
    init_scale: float
    """Scale of that distribution."""
    learning_rate: float
    """Learning rate of Adam at the start."""
    final_learning_rate: float
    """Learning rate at the end, reached in a straight line."""
    gamma: float
    """Discount factor."""
    gae_lambda: float
    """Bias-variance trade-off of the advantages; 1 takes whole returns."""
    ent_coef: float
    """Weight of an entropy bonus."""
    concentration_coef: float
    """Weight of the penalty on concentrated policies, the sum of squared probabilities."""
    vf_coef: float
    """Weight of the value loss."""
    max_grad_norm: float | None
    """The gradient is clipped to this norm; None for no clipping."""
    max_grad_ratio: float | None
    """An update is left out where the gradient's norm is more than this multiple of the usual one and of \
--max-grad-norm; None: none is."""
    normalize_advantage: bool
    """Scale the advantages of an update to zero mean and unit variance."""


@dataclass(frozen=True)
class TrainingSettings:
    """How long to train, and what is measured and kept."""

    total_timesteps: int
    """Environment steps of the whole training; rounded up to whole updates."""
    n_envs: int
    """Environments side by side: the episodes of one update."""
    eval_episodes: int
    """Episodes of the evaluation at the end."""
    checkpoints: int
    """Checkpoints to save, evenly spread, the last at the end. TensorBoard gets pictures with each."""


@dataclass(frozen=True)
class OutputSettings:
    """Where to write and how to run; none of it changes what is learned."""

    root: Path = Path("runs")
    """Folder of all runs."""
    overwrite: bool = False
    """Replace what is in the way: see the command's description."""
    device: Device = "auto"
    """What computes the network."""
    threads: int | None = None
    """Threads of the network's computations; None leaves the choice to torch, 1 when runs go side by side."""
    keep: int | None = 2
    """Checkpoints to keep, the newest ones; None keeps those of --checkpoints all."""
    quiet: bool = False
    """Show no progress."""

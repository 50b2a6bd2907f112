"""Typed settings of the maze, of agents in it and in other environments, of output, and their presets.

A setting with a default was added later: the default is what trainings before it were made with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

from plasticrl.agents.presets import A2C, PPO
from plasticrl.agents.presets import Preset as Tuned
from plasticrl.scripts.settings.groups import RULES, Between, OneOf, Preset, SearchSpace

MazeId: TypeAlias = Literal[
    "PlasticMaze-v0", "PlasticMazeICLR-v0", "PlasticMazeMoving-v0", "PlasticMazeRandom-v0"
]
RuleChoice: TypeAlias = Literal["hebb", "oja", "clipped", "delta", "retroactive", "stp", "fast_weights"]
LesionChoice: TypeAlias = Literal["frozen", "cleared", "silenced"]
ModulationChoice: TypeAlias = Literal["none", "sigmoid", "tanh"]
ModulateChoice: TypeAlias = Literal["neurons", "network"]
InitChoice: TypeAlias = Literal["uniform", "normal", "fan_in", "orthogonal"]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class MazeSettings:
    """The maze; None selects the environment's default."""

    env: MazeId
    """The environment: the maze of 2018 (9x9, 250 steps), that of 2019 (11x11, 200 steps, no wall penalty), \
or that of 2018 with a reward that moves every 50 steps or with other pillars in every episode."""
    size: int | None = None
    """Side of the maze inside its outer wall, in squares; odd."""
    episode_length: int | None = None
    """Steps of one episode."""
    reward: float | None = None
    """Reward for a find."""
    wall_penalty: float | None = None
    """Penalty for walking into a wall."""
    observe_action: bool | None = None
    """Show the agent its previous action."""
    observe_time: bool | None = None
    """Show the agent the elapsed share of the episode."""
    reward_on_border: bool | None = None
    """Place the reward only on the outermost ring of squares."""
    recenter: bool | None = None
    """Move the agent back to the centre after a find, instead of to a random square."""
    relocate_every: int | None = None
    """Steps after which the reward moves to another square; None: it stays for the whole episode."""
    layout_seed: int | None = None
    """Seed of a maze with irregular pillars; None: pillars in rows."""


@dataclass(frozen=True)
class AgentSettings:
    """The network, and the settings of learning that A2C and PPO share."""

    hidden_size: int
    """Number of neurons of the recurrent core."""
    rule: RuleChoice
    """Rule of the trace: Hebb with decay, Oja, additive and clipped, delta, retroactive modulation, \
short-term plasticity, or fast weights (plastic cores)."""
    eta: float
    """Initial learning rate of the trace (plastic cores)."""
    bound_eta: bool
    """Keep eta between 0 and 1 instead of training it without bounds (plastic cores)."""
    modulation: ModulationChoice = field(default="none", kw_only=True)
    """Let the network decide when its neurons store, by this function of a linear read-out of input and \
hidden state; none: they always store (plastic cores)."""
    modulate: ModulateChoice = field(default="neurons", kw_only=True)
    """Decide for each of the neurons, or once for the network (plastic cores)."""
    alpha_scale: float | None = field(default=None, kw_only=True)
    """Scale of the initial plasticity coefficients alpha; None: --init-scale for uniform and normal, \
otherwise the core's default (plastic cores)."""
    init: InitChoice
    """Distribution of the initial weights w, and with uniform and normal of alpha (plastic cores, rnn)."""
    init_scale: float
    """Scale of that distribution; 1 is usual for fan_in and orthogonal."""
    forget_bias: float = field(default=0.0, kw_only=True)
    """Addition to the initial bias of the gates that keep memories: the larger, the longer these last at \
first (cores with gates)."""
    learning_rate: float
    """Initial learning rate of Adam."""
    final_learning_rate: float
    """Final learning rate, approached linearly."""
    normalize_observations: bool = field(default=False, kw_only=True)
    """Let the policy scale observations of real numbers by their running mean and variance."""
    normalize_returns: bool = field(default=False, kw_only=True)
    """Let the policy learn values of returns that are scaled likewise."""
    n_steps: int | None = field(default=None, kw_only=True)
    """Steps of each environment per rollout, through which gradients flow; None: in the maze a whole \
episode, the most, elsewhere the learner's choice (32 with a2c, 128 with ppo, or shorter episodes)."""
    gamma: float
    """Discount factor."""
    gae_lambda: float
    """Bias-variance trade-off of the advantages; 1 uses full returns."""
    ent_coef: float
    """Weight of an entropy bonus."""
    vf_coef: float
    """Weight of the value loss."""
    max_grad_norm: float | None
    """Clip the gradient to this norm; None for no clipping."""
    normalize_advantage: bool
    """Scale the advantages of an update, or of each of PPO's minibatches, to zero mean and unit variance."""


@dataclass(frozen=True)
class A2CSettings(AgentSettings):
    """The network and the learning rule of A2C."""

    concentration_coef: float
    """Weight of the penalty on concentrated policies, the sum of squared probabilities."""
    max_grad_ratio: float | None = field(default=None, kw_only=True)
    """Skip an update if the gradient's norm exceeds this multiple of the usual norm and of --max-grad-norm; \
None: skip none."""


@dataclass(frozen=True)
class PPOSettings(AgentSettings):
    """The network and the learning rule of PPO on whole sequences."""

    batch_size: int | None
    """Steps of a minibatch, a multiple of the rollout's length; None: four minibatches."""
    n_epochs: int
    """Number of passes over a rollout."""
    clip_range: float
    """Clip the ratio of new to old probabilities to 1 plus or minus this."""
    target_kl: float | None
    """End an update once the policy has moved by 1.5 times this divergence; None: never."""


@dataclass(frozen=True)
class ContribSettings:
    """Network and learning algorithm of sb3-contrib's RecurrentPPO; the other settings are its defaults."""

    hidden_size: int
    """Number of LSTM cells."""
    learning_rate: float
    """Initial learning rate of Adam."""
    final_learning_rate: float
    """Final learning rate, approached linearly."""
    n_steps: int
    """Steps of each environment per rollout."""
    batch_size: int
    """Minibatch size, in steps."""
    n_epochs: int
    """Number of passes over the rollout per update."""
    gamma: float
    """Discount factor."""
    gae_lambda: float
    """Lambda of generalised advantage estimation: trade-off between bias and variance."""
    ent_coef: float
    """Weight of the entropy bonus."""
    vf_coef: float
    """Weight of the value loss."""
    max_grad_norm: float
    """Clip the gradient to this norm."""


@dataclass(frozen=True)
class TrainingSettings:
    """Length of the training, evaluation and checkpoints."""

    total_timesteps: int
    """Total number of environment steps, rounded up to whole updates. A larger number than that of a \
finished run, with otherwise the same settings, trains it longer; rates that fall are those of the new \
length."""
    n_envs: int
    """Number of parallel environments."""
    eval_episodes: int
    """Number of episodes in the final evaluation."""
    checkpoints: int
    """Number of checkpoints, evenly spaced, the last one at the end. TensorBoard gets pictures with each."""


@dataclass(frozen=True)
class MazeEvaluation:
    """The options of an evaluation on the maze."""

    deterministic: bool = False
    """Take the most probable actions, the default in environments but the maze, instead of drawing them as \
in training (maze, environments)."""
    env: MazeId | None = None
    """Another environment to play in; None for that of the training (maze)."""
    size: int | None = None
    """Another side of the maze, in squares; odd. None for that of the training (maze)."""
    episode_length: int | None = None
    """Another number of steps per episode; None for that of the training (maze)."""
    relocate_every: int | Literal["off"] | None = None
    """Steps after which the reward moves to another square; off: it stays for the whole episode; None for \
that of the training (maze)."""
    layout_seed: int | Literal["off"] | None = None
    """Seed of another maze, with irregular pillars; off: pillars in rows; None for that of the training \
(maze)."""
    lesion: LesionChoice | None = None
    """Change the trace from --lesion-step of each episode on: frozen (it no longer changes), cleared (it is \
set to zero once), silenced (it stays zero) (maze, plastic cores)."""
    lesion_step: int | None = None
    """Step of the episode at which the lesion is made; None: 0 (maze)."""


@dataclass(frozen=True)
class OutputSettings:
    """Output folder and execution; these settings do not change the learning."""

    root: Path = Path("runs")
    """Root folder of all runs."""
    overwrite: bool = False
    """Replace existing runs with other settings: see the command's description."""
    device: Device = "auto"
    """Device that computes the network."""
    threads: int | None = None
    """Number of threads for the network; None leaves the choice to torch, or means 1 if runs train in \
parallel."""
    keep: int | None = 2
    """Number of newest checkpoints to keep; None keeps all those of --checkpoints."""
    track: bool = False
    """Log to Weights & Biases, too: pip install 'plasticrl[track]'. Its own variables apply, such as \
WANDB_PROJECT (by default plasticrl) and WANDB_MODE=offline."""
    quiet: bool = False
    """Show no progress."""


_MAZE: MazeId = "PlasticMaze-v0"


def preset_of(
    kind: type[AgentSettings],
    tuned: Tuned,
    place: Mapping[str, Any],
    space: SearchSpace,
    eval_episodes: int = 200,
    **others: Any,
) -> Preset:
    """Return the preset of a learner in an environment.

    Args:
        kind: the learner's settings.
        tuned: their values.
        place: the environment's group of settings, by its name.
        space: the ranges that a search draws from, besides that of alpha's scale.
        eval_episodes: number of episodes in the final evaluation.
        **others: values of settings that ``tuned`` lacks.
    """

    def agent(core: str) -> dict[str, Any]:
        own = tuned.for_core(core)
        rates = {"learning_rate": own.learning_rate, "final_learning_rate": own.final_learning_rate}
        return {**others, **own.learner, **own.policy, **rates}

    values = agent("plastic")  # cores without own values share those of the plastic core
    training = TrainingSettings(
        total_timesteps=tuned.total_timesteps,
        n_envs=tuned.n_envs,
        eval_episodes=eval_episodes,
        checkpoints=10,
    )
    return Preset(
        {
            **place,
            "agent": kind(**{one.name: values[one.name] for one in fields(kind) if one.name in values}),
            "training": training,
        },
        {**space, "alpha_scale": Between(0.01, 1.0)},
        tuned.cores,
    )


def _network(core: str) -> dict[str, Any]:
    """Return those values of a core's own that are of its network."""
    tuned = A2C[_MAZE]
    return {name: value for name, value in tuned.cores[core].items() if name in tuned.for_core(core).policy}


_PLACE = {"maze": MazeSettings(env=_MAZE)}
_A2C = preset_of(
    A2CSettings,
    A2C[_MAZE],
    _PLACE,
    {
        "learning_rate": Between(3e-4, 1e-2),
        "gae_lambda": Between(0.8, 1.0, log=False),
        "concentration_coef": Between(0.02, 0.5),
        "max_grad_norm": Between(0.3, 10.0),
        "init_scale": Between(0.003, 0.1),
        "rule": RULES,
        "eta": Between(0.003, 0.3),
    },
)
A2C_PRESETS: Mapping[str, Preset] = {
    "tuned": _A2C,
    # Miconi, Clune & Stanley 2018, section 4.4: one episode per update, 200,000 episodes; the agent sees
    # only the walls and the reward.
    "paper": _A2C.changed(
        {"learning_rate": Between(3e-5, 1e-3)},
        {core: _network(core) for core in ("plastic_lstm", "plastic_gru")},  # which the paper lacks
        observe_action=False,
        hidden_size=200,
        rule="hebb",
        eta=0.01,
        bound_eta=False,
        n_steps=None,
        learning_rate=1e-4,
        final_learning_rate=1e-4,
        gae_lambda=1.0,
        concentration_coef=0.1,
        max_grad_norm=None,
        max_grad_ratio=None,
        total_timesteps=50_000_000,
        n_envs=1,
    ),
}

_PPO = preset_of(
    PPOSettings,
    PPO[_MAZE],
    _PLACE,
    {
        "learning_rate": Between(1e-3, 2e-2),
        "gae_lambda": Between(0.9, 1.0, log=False),
        "ent_coef": Between(1e-4, 1e-2),
        "max_grad_norm": Between(0.1, 5.0),
        "rule": OneOf((*RULES.choices, "delta")),
        "eta": Between(0.01, 0.9),
    },
    batch_size=None,
    target_kl=None,
)
PPO_PRESETS: Mapping[str, Preset] = {
    "tuned": _PPO,
    "demo": _PPO.changed(total_timesteps=1_600_000, checkpoints=3),
}

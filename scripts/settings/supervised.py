"""Typed settings of a training on a supervised task, and their presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Generic, Literal, TypeAlias, TypeVar

from plasticrl.scripts.settings.maze import InitChoice, RuleChoice
from plasticrl.scripts.settings.search_space import RULES, Between, SearchSpace

EpisodeTaskName: TypeAlias = Literal["patterns", "images", "omniglot"]
CompletionCore: TypeAlias = Literal["plastic", "homogeneous", "rnn", "lstm"]
OneShotCore: TypeAlias = Literal["plastic", "homogeneous", "rnn"]
DatasetChoice: TypeAlias = Literal["cifar-10", "cifar-100", "omniglot"]
OcclusionChoice: TypeAlias = Literal["half", "quarter", "pixels", "square"]
SplitChoice: TypeAlias = Literal["class", "alphabet"]
LossChoice: TypeAlias = Literal["cross_entropy", "binary_cross_entropy"]


@dataclass(frozen=True)
class PatternsSettings:
    """The patterns to memorise."""

    n_bits: int
    """Bits per pattern."""
    n_patterns: int
    """Patterns per episode."""
    n_cycles: int
    """Number of times that each pattern is shown."""
    steps_on: int
    """Steps per presentation."""
    steps_off: int
    """Steps of zeros after each presentation."""
    test_steps: int
    """Steps of the query."""
    degraded: float
    """Fraction of the query's bits that are set to zero."""
    input_gain: float | None
    """Multiply the input by this and add it to the neurons' drive; None clamps neurons to it instead."""


@dataclass(frozen=True)
class ImagesSettings:
    """The images to complete."""

    dataset: DatasetChoice
    """Source of the images."""
    n_images: int
    """Images per episode."""
    n_cycles: int
    """Number of times that each image is shown."""
    steps_on: int
    """Steps per presentation."""
    steps_off: int
    """Steps of zeros after each presentation."""
    test_steps: int
    """Steps of the query."""
    occlusion: OcclusionChoice
    """Part hidden in the query: the top or bottom half, a quarter, random pixels, or a square."""
    share: float | None
    """Fraction of the image that random pixels or the square hide; None means 0.5."""


@dataclass(frozen=True)
class OmniglotSettings:
    """The drawings to classify."""

    n_way: int
    """Classes per episode."""
    k_shot: int
    """Labelled drawings per class."""
    split_by: SplitChoice
    """Hold out single characters or whole alphabets as test classes."""
    rotations: bool
    """Rotate each class of an episode by a random multiple of 90 degrees."""
    size: int
    """Height and width of the drawings in pixels."""
    pool: int | None
    """Draw the episodes of each update from this many classes, with few drawings each. This is much faster, \
since each drawing is embedded only once. None draws every episode from all classes. Training only."""


@dataclass(frozen=True)
class CompletionSettings:
    """The network that completes patterns or images: one neuron per element, and a bias neuron."""

    rule: RuleChoice
    """Update rule of the trace: Hebb with decay, Oja, or additive and clipped (plastic, homogeneous)."""
    eta: float
    """Initial learning rate of the trace (plastic, homogeneous)."""
    bound_eta: bool
    """Keep eta between 0 and 1 instead of training it without bounds (plastic, homogeneous)."""
    init: InitChoice
    """Distribution of the initial weights w and plasticity coefficients alpha (plastic, homogeneous, rnn)."""
    init_scale: float
    """Scale of that distribution."""
    extra_neurons: int
    """Additional neurons without input (rnn)."""
    hidden_size: int
    """Number of LSTM cells (lstm)."""


@dataclass(frozen=True)
class OneShotSettings:
    """The network that classifies drawings: convolutions, and a plastic layer on top of them."""

    rule: RuleChoice
    """Update rule of the trace: Hebb with decay, Oja, or additive and clipped (plastic, homogeneous)."""
    eta: float
    """Initial learning rate of the trace (plastic, homogeneous)."""
    bound_eta: bool
    """Keep eta between 0 and 1 instead of training it without bounds (plastic, homogeneous)."""
    init_scale: float
    """Scale of the initial weights w of the plastic layer."""
    alpha_scale: float | None
    """Scale of its initial plasticity coefficients alpha; None uses that of w (plastic, homogeneous)."""
    input_mean: float
    """Mean to subtract from the pixels, which are between 0 and 1."""
    input_std: float
    """Standard deviation to divide the pixels by, after subtracting the mean."""
    n_filters: int
    """Filters per convolution."""


@dataclass(frozen=True)
class DescentSettings:
    """Gradient descent through whole episodes, with Adam."""

    batch_size: int
    """Episodes per update."""
    learning_rate: float
    """Initial learning rate."""
    final_learning_rate: float
    """Final learning rate, approached linearly."""
    decay_every: int | None
    """Number of episodes after which --decay-factor is applied, again and again; None for never."""
    decay_factor: float
    """Additional factor of the learning rate, applied after every --decay-every episodes."""
    max_grad_norm: float | None
    """Clip the gradient to this norm; None for no clipping."""


@dataclass(frozen=True)
class ClassDescentSettings(DescentSettings):
    """Gradient descent through whole episodes, with Adam."""

    loss: LossChoice
    """Cross-entropy, or binary cross-entropy of each softmax output as in the paper's program."""


@dataclass(frozen=True)
class EpisodeTrainingSettings:
    """Length of the training, evaluation and checkpoints."""

    total_episodes: int
    """Number of training episodes; rounded up to whole updates."""
    eval_episodes: int
    """Number of held-out episodes in the final evaluation."""
    checkpoints: int
    """Number of checkpoints, evenly spaced, the last one at the end. TensorBoard gets pictures with each."""


PatternsPresetName: TypeAlias = Literal["text", "program", "small"]
ImagesPresetName: TypeAlias = Literal["paper"]
OmniglotPresetName: TypeAlias = Literal["tuned", "paper"]

Task = TypeVar("Task", PatternsSettings, ImagesSettings, OmniglotSettings)
Network = TypeVar("Network", CompletionSettings, OneShotSettings)
Descent = TypeVar("Descent", bound=DescentSettings)


@dataclass(frozen=True)
class EpisodePreset(Generic[Task, Network, Descent]):
    """A named set of all settings of a training on a supervised task."""

    task: Task
    """Settings of the task."""
    network: Network
    descent: Descent
    training: EpisodeTrainingSettings
    space: SearchSpace
    """Ranges that a search draws from."""


_SPACE: SearchSpace = MappingProxyType(
    {
        "learning_rate": Between(1e-4, 1e-2),
        "init_scale": Between(0.001, 0.1),
        "rule": RULES,
        "eta": Between(0.003, 0.3),
    }
)
_COMPLETION = CompletionSettings(
    rule="hebb", eta=0.01, bound_eta=False, init="normal", init_scale=0.01, extra_neurons=0, hidden_size=2000
)
_ADAM = DescentSettings(
    batch_size=1,
    learning_rate=1e-3,
    final_learning_rate=1e-3,
    decay_every=None,
    decay_factor=1.0,
    max_grad_norm=None,
)

# Miconi, Clune & Stanley 2018, section 4.1.
_TEXT = EpisodePreset(
    task=PatternsSettings(
        n_bits=1000,
        n_patterns=5,
        n_cycles=3,
        steps_on=10,
        steps_off=3,
        test_steps=10,
        degraded=0.5,
        input_gain=None,
    ),
    network=_COMPLETION,
    descent=_ADAM,
    training=EpisodeTrainingSettings(total_episodes=300, eval_episodes=200, checkpoints=3),
    space=_SPACE,
)

# The same task as in the paper's program.
_PROGRAM = replace(
    _TEXT,
    task=replace(_TEXT.task, n_cycles=2, steps_on=6, steps_off=4, test_steps=6, input_gain=20.0),
    descent=replace(_ADAM, learning_rate=3e-4, final_learning_rate=3e-4),
    training=replace(_TEXT.training, total_episodes=2000),
)

# The comparison with non-plastic networks, which need more neurons.
_SMALL = replace(
    _TEXT,
    task=replace(_TEXT.task, n_bits=50, n_patterns=2, n_cycles=1, steps_on=3, steps_off=1, test_steps=3),
    network=replace(_COMPLETION, extra_neurons=2000),
    training=EpisodeTrainingSettings(total_episodes=20_000, eval_episodes=1000, checkpoints=4),
)

# Section 4.2.
_IMAGES = EpisodePreset(
    task=ImagesSettings(
        dataset="cifar-10",
        n_images=3,
        n_cycles=3,
        steps_on=20,
        steps_off=3,
        test_steps=3,
        occlusion="half",
        share=None,
    ),
    network=_COMPLETION,
    descent=replace(_ADAM, learning_rate=1e-4, final_learning_rate=1e-4),
    training=EpisodeTrainingSettings(total_episodes=100_000, eval_episodes=500, checkpoints=10),
    space=_SPACE,
)

# Section 4.3: one episode per update.
_OMNIGLOT_PAPER = EpisodePreset(
    task=OmniglotSettings(n_way=5, k_shot=1, split_by="class", rotations=True, size=31, pool=None),
    network=OneShotSettings(
        rule="oja",
        eta=0.01,
        bound_eta=False,
        init_scale=0.01,
        alpha_scale=None,
        input_mean=0.0,
        input_std=1.0,
        n_filters=64,
    ),
    descent=ClassDescentSettings(
        batch_size=1,
        learning_rate=3e-5,
        final_learning_rate=3e-5,
        decay_every=1_000_000,
        decay_factor=2 / 3,
        max_grad_norm=None,
        loss="cross_entropy",
    ),
    training=EpisodeTrainingSettings(total_episodes=5_000_000, eval_episodes=1000, checkpoints=10),
    space=MappingProxyType({**_SPACE, "learning_rate": Between(1e-5, 1e-3)}),
)

# Selected on classes held out from the training classes. With the paper's initialisation, alpha is so small
# that learning starts late. Mean and standard deviation of the drawings are those of all training classes.
_OMNIGLOT = replace(
    _OMNIGLOT_PAPER,
    task=replace(_OMNIGLOT_PAPER.task, pool=64),
    network=replace(_OMNIGLOT_PAPER.network, eta=0.1, alpha_scale=10.0, input_mean=0.0826, input_std=0.2404),
    descent=replace(
        _OMNIGLOT_PAPER.descent,
        batch_size=320,
        learning_rate=1e-3,
        final_learning_rate=0.0,
        decay_every=None,
        decay_factor=1.0,
    ),
    training=replace(_OMNIGLOT_PAPER.training, total_episodes=19_200_000, eval_episodes=5000),
    space=MappingProxyType({**_SPACE, "alpha_scale": Between(0.1, 100.0)}),
)

PATTERNS_PRESETS: Mapping[
    PatternsPresetName, EpisodePreset[PatternsSettings, CompletionSettings, DescentSettings]
] = MappingProxyType({"text": _TEXT, "program": _PROGRAM, "small": _SMALL})
IMAGES_PRESETS: Mapping[
    ImagesPresetName, EpisodePreset[ImagesSettings, CompletionSettings, DescentSettings]
] = MappingProxyType({"paper": _IMAGES})
OMNIGLOT_PRESETS: Mapping[
    OmniglotPresetName, EpisodePreset[OmniglotSettings, OneShotSettings, ClassDescentSettings]
] = MappingProxyType({"tuned": _OMNIGLOT, "paper": _OMNIGLOT_PAPER})

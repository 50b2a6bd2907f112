"""Typed settings of a training on a supervised task.

The defaults are the presets of :mod:`plasticrl.scripts.episode_presets`. The choices are repeated here so
that ``--help`` need not load torch; a test compares them with the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from plasticrl.scripts.settings import InitChoice, RuleChoice

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

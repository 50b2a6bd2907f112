"""What a training on a supervised task can be asked to be: typed settings.

The defaults are the presets of :mod:`plasticrl.scripts.episode_presets`. The choices are spelled out here
so that ``--help`` need not load torch; a test compares them with the code.
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
    """The patterns to be memorized."""

    n_bits: int
    """Bits of a pattern."""
    n_patterns: int
    """Patterns of an episode."""
    n_cycles: int
    """Times that each is shown."""
    steps_on: int
    """Steps of one showing."""
    steps_off: int
    """Steps of zeros after it."""
    test_steps: int
    """Steps of the query."""
    degraded: float
    """Share of the query's bits that are set to zero."""
    input_gain: float | None
    """The input is multiplied by this and added; None holds neurons at it instead."""


@dataclass(frozen=True)
class ImagesSettings:
    """The images to be completed."""

    dataset: DatasetChoice
    """Where the images are from."""
    n_images: int
    """Images of an episode."""
    n_cycles: int
    """Times that each is shown."""
    steps_on: int
    """Steps of one showing."""
    steps_off: int
    """Steps of zeros after it."""
    test_steps: int
    """Steps of the query."""
    occlusion: OcclusionChoice
    """What the query hides: the top or bottom half, a quarter, random pixels, or a square."""
    share: float | None
    """Share that random pixels or the square hide; None: half."""


@dataclass(frozen=True)
class OmniglotSettings:
    """The drawings to be told apart."""

    n_way: int
    """Classes of an episode."""
    k_shot: int
    """Labelled drawings of each class."""
    split_by: SplitChoice
    """Whether the held-out classes are single characters or whole alphabets."""
    rotations: bool
    """Turn each class of an episode by a random multiple of 90 degrees."""
    size: int
    """Height and width of the drawings in pixels."""
    pool: int | None
    """Classes, drawn anew for each update, whose few drawings all of its episodes share: much faster, \
since each drawing is embedded once; None: every episode draws from all classes. In training only."""


@dataclass(frozen=True)
class CompletionSettings:
    """The network that completes patterns or images: a neuron for each element, and a bias neuron."""

    rule: RuleChoice
    """How the trace changes: Hebb with decay, Oja, or additive and clipped (plastic, homogeneous)."""
    eta: float
    """Initial learning rate of the trace (plastic, homogeneous)."""
    bound_eta: bool
    """Keep eta between 0 and 1, instead of letting training move it freely (plastic, homogeneous)."""
    init: InitChoice
    """Distribution of the initial weights w and plasticity coefficients alpha (plastic, homogeneous, rnn)."""
    init_scale: float
    """Scale of that distribution."""
    extra_neurons: int
    """Neurons beside those (rnn)."""
    hidden_size: int
    """Cells of the LSTM (lstm)."""


@dataclass(frozen=True)
class OneShotSettings:
    """The network that tells drawings apart: convolutions, and a plastic layer on them."""

    rule: RuleChoice
    """How the trace changes: Hebb with decay, Oja, or additive and clipped (plastic, homogeneous)."""
    eta: float
    """Initial learning rate of the trace (plastic, homogeneous)."""
    bound_eta: bool
    """Keep eta between 0 and 1, instead of letting training move it freely (plastic, homogeneous)."""
    init_scale: float
    """Scale of the layer's initial weights w."""
    alpha_scale: float | None
    """Scale of its initial plasticity coefficients alpha; None: that of w (plastic, homogeneous)."""
    input_mean: float
    """Is subtracted from the pixels, which are between 0 and 1."""
    input_std: float
    """The pixels are divided by it then."""
    n_filters: int
    """Filters of each convolution."""


@dataclass(frozen=True)
class DescentSettings:
    """Gradient descent through whole episodes, with Adam."""

    batch_size: int
    """Episodes of one update."""
    learning_rate: float
    """Learning rate at the start."""
    final_learning_rate: float
    """Learning rate at the end, reached in a straight line."""
    decay_every: int | None
    """The learning rate is also multiplied by --decay-factor after every so many episodes; None: never."""
    decay_factor: float
    """See --decay-every."""
    max_grad_norm: float | None
    """The gradient is clipped to this norm; None for no clipping."""


@dataclass(frozen=True)
class ClassDescentSettings(DescentSettings):
    """Gradient descent through whole episodes, with Adam."""

    loss: LossChoice
    """Cross-entropy, or binary cross-entropy of each softmax output as in the paper's program."""


@dataclass(frozen=True)
class EpisodeTrainingSettings:
    """How long to train, and what is measured and kept."""

    total_episodes: int
    """Episodes of the whole training; rounded up to whole updates."""
    eval_episodes: int
    """Held-out episodes of the evaluation at the end."""
    checkpoints: int
    """Checkpoints to save, evenly spread, the last at the end. TensorBoard gets pictures with each."""

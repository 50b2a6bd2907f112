"""The defaults of the commands on the supervised tasks; they are defined only here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Generic, Literal, TypeAlias, TypeVar

from plasticrl.scripts.episode_settings import (
    ClassDescentSettings,
    CompletionSettings,
    DescentSettings,
    EpisodeTrainingSettings,
    ImagesSettings,
    OmniglotSettings,
    OneShotSettings,
    PatternsSettings,
)
from plasticrl.scripts.search_space import RULES, Between, SearchSpace

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
    network: Network
    descent: Descent
    training: EpisodeTrainingSettings
    space: SearchSpace


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

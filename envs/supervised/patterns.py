"""Binary pattern memorisation: show a few random patterns, then complete one of them from a part of it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypedDict

import numpy as np

from plasticrl.arguments import check_count, is_number
from plasticrl.envs.supervised.references import hopfield_completion
from plasticrl.envs.supervised.task import Episode, EpisodeTask, Predictor, Presentation


class PatternsOptions(TypedDict, total=False):
    """Keyword arguments of ``PatternsTask``."""

    n_bits: int
    n_patterns: int
    n_cycles: int
    steps_on: int
    steps_off: int
    test_steps: int
    degraded: float
    input_gain: float | None


class PatternsTask(EpisodeTask):
    """Experiment 1 of Miconi et al. (2018), section 4.1; the defaults are those of the text.

    An episode draws ``n_patterns`` random patterns of ``n_bits`` bits, each -1 or 1, and shows all of
    them ``n_cycles`` times, each time in a new random order: ``steps_on`` steps each, followed by
    ``steps_off`` steps of zeros. It ends with a query: one of the patterns for ``test_steps`` steps, with a
    random part of its bits set to 0. The target of the last step is the whole pattern.

    Args:
        n_bits: D, at least 2.
        n_patterns: patterns per episode, at least 1.
        n_cycles: number of times that each pattern is shown, at least 1.
        steps_on: steps per presentation, at least 1.
        steps_off: steps of zeros after each presentation, at least 0.
        test_steps: steps of the query, at least 1. The text does not state it; the default is the length of
            a presentation, as in the published programs.
        degraded: fraction of the query's bits that are set to 0; ``hidden`` marks exactly
            ``round(degraded * n_bits)`` of them, at least one and not all.
        input_gain: None clamps neurons to their non-zero input (``clamp``), as in the text. A number
            multiplies the inputs instead; they are then added to the input of the neurons (``clamp`` is
            None), as in the published program with 20.

    Raises:
        ValueError: an argument is invalid; the message names it.
    """

    def __init__(
        self,
        n_bits: int = 1000,
        n_patterns: int = 5,
        n_cycles: int = 3,
        steps_on: int = 10,
        steps_off: int = 3,
        test_steps: int = 10,
        degraded: float = 0.5,
        input_gain: float | None = None,
    ) -> None:
        self.n_bits = check_count("n_bits", n_bits, least=2)
        self.n_patterns = check_count("n_patterns", n_patterns)
        self.presentation = Presentation(n_cycles, steps_on, steps_off, test_steps)
        self.n_hidden = round(degraded * self.n_bits) if is_number(degraded) and 0 < degraded < 1 else 0
        if not 0 < self.n_hidden < self.n_bits:
            raise ValueError(
                f"degraded must be a fraction between 0 and 1 that hides at least one of the {n_bits} bits "
                f"and leaves one, got {degraded!r}"
            )
        if input_gain is not None and not (is_number(input_gain) and 0 < input_gain < np.inf):
            raise ValueError(f"input_gain must be a finite number above 0, or None, got {input_gain!r}")
        self.degraded = degraded
        self.input_gain = input_gain
        self.input_bound = 1.0 if input_gain is None else float(input_gain)
        self.input_shape = (self.n_bits,)
        self.steps = self.presentation.steps(self.n_patterns)

    def sample(self, batch_size: int, rng: np.random.Generator) -> Episode:
        """Draw episodes; see ``EpisodeTask.sample``."""
        check_count("batch_size", batch_size)
        bits = rng.integers(0, 2, (batch_size, self.n_patterns, self.n_bits), dtype=np.int8)
        patterns = (2 * bits - 1).astype(np.float32)
        target = patterns[np.arange(batch_size), rng.integers(0, self.n_patterns, batch_size)]
        first = np.arange(self.n_bits) < self.n_hidden
        hidden = rng.permuted(np.tile(first, (batch_size, 1)), axis=1)
        inputs, scored = self.presentation.show(patterns, np.where(hidden, np.float32(0), target), rng)
        if self.input_gain is None:
            return Episode(inputs, inputs != 0, None, target, scored, hidden)
        inputs *= np.float32(self.input_gain)
        return Episode(inputs, None, None, target, scored, hidden)

    def references(self) -> Mapping[str, Predictor]:
        """Return the Hopfield network, which sees the signs of the inputs, whatever their gain."""
        return {"Hopfield network": lambda e: hopfield_completion(e._replace(inputs=np.sign(e.inputs)))}


PATTERNS_PRESETS: Mapping[str, PatternsOptions] = MappingProxyType(
    {
        "text": {},
        "program": {
            "n_cycles": 2,
            "steps_on": 6,
            "steps_off": 4,
            "test_steps": 6,
            "input_gain": 20.0,
        },
        "small": {
            "n_bits": 50,
            "n_patterns": 2,
            "n_cycles": 1,
            "steps_on": 3,
            "steps_off": 1,
            "test_steps": 3,
        },
    }
)
"""Arguments of ``PatternsTask``: "text" and "program", the 1,000-bit task as in the paper's text and in its
published program, and "small", the 50-bit comparison with non-plastic networks."""

"""How a completion task spends its episode: items shown in cycles, then one of them degraded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.argument_checks import check_count


@dataclass(frozen=True)
class Presentation:
    """Each cycle shows every item once, in an order of its own; the query comes after the last cycle.

    Every showing lasts ``steps_on`` steps and is followed by ``steps_off`` steps of zeros, the last one
    before the query too; so the programs of Miconi et al. (2018) count their steps.

    Attributes:
        n_cycles: times that the whole set is shown, at least 1.
        steps_on: steps of one showing, at least 1.
        steps_off: steps of zeros after it, at least 0.
        test_steps: steps of the query, at least 1; the last one is judged.

    Raises:
        ValueError: a number is not allowed; the text names it.
    """

    n_cycles: int
    steps_on: int
    steps_off: int
    test_steps: int

    def __post_init__(self) -> None:
        for name in ("n_cycles", "steps_on", "test_steps"):
            check_count(name, getattr(self, name))
        check_count("steps_off", self.steps_off, least=0)

    def steps(self, n_items: int) -> int:
        """T, steps of an episode with this many items."""
        return self.n_cycles * n_items * (self.steps_on + self.steps_off) + self.test_steps

    def show(
        self, items: NDArray[np.float32], query: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Inputs (T, B, D) of B episodes, and the mask (T, B) of the step that is judged.

        Args:
            items: (B, n_items, D), what each episode shows.
            query: (B, D), what it shows at the end.
            rng: draws the orders.
        """
        batch, n_items, width = items.shape
        steps = self.steps(n_items)
        order = rng.permuted(np.tile(np.arange(n_items), (batch, self.n_cycles, 1)), axis=2)
        inputs = np.zeros((steps, batch, width), dtype=np.float32)
        showings = inputs[: -self.test_steps].reshape(
            self.n_cycles * n_items, self.steps_on + self.steps_off, batch, width
        )
        for showing, item in zip(showings, order.reshape(batch, -1).T, strict=True):
            showing[: self.steps_on] = items[np.arange(batch), item]
        inputs[-self.test_steps :] = query
        judged = np.zeros((steps, batch), dtype=np.bool_)
        judged[-1] = True
        return inputs, judged

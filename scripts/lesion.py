"""An agent whose trace is tampered with while it acts: what is the trace good for?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from plasticrl.agents import RecurrentA2C
from plasticrl.scripts.settings import LesionChoice
from plasticrl.scripts.user_error import UserError
from plasticrl.state import PlasticState


class LesionedAgent:
    """Acts as an agent does, but from one step of each episode on its trace is not its own.

    Args:
        agent: has a trace.
        lesion: "frozen": the trace stays as it is then. "cleared": it is zero then, and goes on from there.
            "silenced": it is zero from then on, so that alpha is without effect.
        step: of the episode, from 0.

    Raises:
        UserError: the agent has no trace.
    """

    def __init__(self, agent: Any, lesion: LesionChoice, step: int) -> None:
        state = agent.policy.initial_state(1) if isinstance(agent, RecurrentA2C) else None
        if not isinstance(state, PlasticState) or not state.trace.numel():
            raise UserError("--lesion: only a plastic agent has a trace, leave it out")
        self.agent: RecurrentA2C = agent
        self.lesion, self.step = lesion, step
        self._done: NDArray[np.int64] | None = None  # steps of each episode so far
        self._frozen: NDArray[np.float32] | None = None

    def predict(
        self,
        observation: Any,
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """As :meth:`plasticrl.agents.RecurrentA2C.predict`; all episodes from their start to their end."""
        assert episode_start is not None
        done = np.zeros(len(episode_start), np.int64) if self._done is None else self._done + 1
        self._done = np.where(episode_start, 0, done)
        if state is not None:
            hidden, trace = state  # of a PlasticState, as arrays
            state = hidden, self._tampered(np.array(trace), self._done)
        return self.agent.predict(observation, state, episode_start, deterministic)

    def _tampered(self, trace: NDArray[Any], done: NDArray[np.int64]) -> NDArray[Any]:
        trace[done == 0] = 0  # the agent clears it itself, but only once it is given
        if self._frozen is None:
            self._frozen = np.zeros_like(trace)
        now, later = done == self.step, done > self.step
        if self.lesion == "frozen":
            self._frozen[now] = trace[now]
            trace[later] = self._frozen[later]
        else:
            trace[now if self.lesion == "cleared" else now | later] = 0
        return trace

"""``PlasticRecall-v0``, the smallest test of memory: a cue is shown, and must be named some steps later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from plasticrl.arguments import check_count
from plasticrl.envs.common.lockstep import (
    FPS,
    SAME_STEP,
    Dynamics,
    Generators,
    LockstepEnv,
    LockstepVectorEnv,
    Transition,
    vector_maker,
)
from plasticrl.envs.common.state_dict import (
    check_settings,
    entry,
    generator_states,
    restored_generators,
    step_number,
    whole_numbers,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack


class RecallOptions(TypedDict, total=False):
    """Keyword arguments of the recall environments: those of ``RecallDynamics``."""

    n_cues: int
    delay: int
    n_recalls: int


class RecallState(NamedTuple):
    """State of B episodes, all at the same step."""

    cues: NDArray[np.intp]  # (B, n_recalls) the cues of an episode in their order
    step: int  # actions taken
    right: NDArray[np.intp]  # (B,) right answers so far


class RecallDynamics(Dynamics[RecallState]):
    """The rules of recall as pure functions of a batch of states.

    Args:
        n_cues: number of different cues, at least 2.
        delay: steps from a cue to its recall, at least 1.
        n_recalls: number of cues in an episode, one after the other, each followed by its recall; at least 1.

    Raises:
        ValueError: an argument is outside its range.
    """

    def __init__(self, n_cues: int = 2, delay: int = 5, n_recalls: int = 1) -> None:
        self.n_cues = check_count("n_cues", n_cues, least=2)
        self.delay = check_count("delay", delay)
        self.n_recalls = check_count("n_recalls", n_recalls)
        self.settings = {"n_cues": self.n_cues, "delay": self.delay, "n_recalls": self.n_recalls}
        self.episode_length = self.n_recalls * (self.delay + 1)
        self.observation_space = gym.spaces.Box(0, 1, (self.n_cues + 1,), np.float32)
        self.action_space = gym.spaces.Discrete(self.n_cues)

    def start(self, rngs: Generators) -> tuple[RecallState, NDArray[np.float32]]:
        """Draw the cues of one episode from each generator; return the state and the first observations."""
        cues = [[rng.integers(self.n_cues) for _ in range(self.n_recalls)] for rng in rngs]
        state = RecallState(np.array(cues, dtype=np.intp), 0, np.zeros(len(cues), dtype=np.intp))
        return state, self._observed(state)

    def step(self, state: RecallState, actions: NDArray[Any], rngs: Generators = ()) -> Transition:
        """Step every episode; an action that follows the flag is the answer.

        Args:
            state: B unfinished episodes; not modified.
            actions: (B,) numbers of cues.
            rngs: not used; only a new episode draws random numbers.

        Raises:
            ValueError: the actions are not B numbers of cues.
        """
        count = len(state.cues)
        answers = whole_numbers("actions", np.asarray(actions), (count,), 0, self.n_cues - 1)
        number, place = divmod(state.step, self.delay + 1)
        right = np.zeros(count, dtype=np.bool_)
        if place == self.delay:
            right = answers == state.cues[:, number]
        after = RecallState(state.cues, state.step + 1, state.right + right)
        ended = np.full(count, after.step >= self.episode_length)
        return Transition(after, self._observed(after), right.astype(np.float64), ended)

    def _observed(self, state: RecallState) -> NDArray[np.float32]:
        """Return the observations (B, n_cues + 1); those after the last step are zeros."""
        observation = np.zeros((len(state.cues), self.n_cues + 1), dtype=np.float32)
        number, place = divmod(state.step, self.delay + 1)
        if place == 0 and number < self.n_recalls:
            observation[np.arange(len(observation)), state.cues[:, number]] = 1
        observation[:, -1] = place == self.delay
        return observation

    def steps_taken(self, state: RecallState) -> int:
        """Return the number of steps since the episodes began."""
        return state.step

    def summary(self, state: RecallState) -> dict[str, NDArray[Any]]:
        """Return the entry of ``info`` at the end of episodes: ``right_share``, of all recalls, (B,)."""
        return {"right_share": state.right / self.n_recalls}

    def state_dict(self, state: RecallState, rngs: Generators) -> dict[str, Any]:
        """Return the full state of B episodes."""
        episodes = {"cues": state.cues.copy(), "step": state.step, "right": state.right.copy()}
        return {"settings": dict(self.settings), "generators": generator_states(rngs), "episodes": episodes}

    def restored(
        self, saved: Any, count: int, *, over: bool
    ) -> tuple[RecallState, list[np.random.Generator]]:
        """Return the checked content of a :meth:`state_dict`."""
        check_settings(saved, self.settings)
        cues, number, right = (entry(entry(saved, "episodes"), name) for name in RecallState._fields)
        step = step_number(number, self.episode_length - (not over))
        state = RecallState(
            whole_numbers("cues", cues, (count, self.n_recalls), 0, self.n_cues - 1),
            step,
            whole_numbers("right", right, (count,), 0, step // (self.delay + 1)),
        )
        return state, restored_generators(entry(saved, "generators"), count)

    def draw(self, mode: str, history: Sequence[RecallState], row: int) -> str:
        """Describe one episode in a line.

        Args:
            mode: "ansi", the only mode.
            history: the latest states; the last one is described.
            row: number of the episode.
        """
        now = history[-1]
        number, place = divmod(now.step, self.delay + 1)
        shown = "recall" if place == self.delay else "-"
        if place == 0 and number < self.n_recalls:
            shown = f"cue {now.cues[row, number]}"
        return f"step {now.step}/{self.episode_length}  {shown}  right answers {now.right[row]}"


class RecallEnv(LockstepEnv[RecallState]):
    """Recall of a cue: it is shown for one step, and must be named ``delay`` steps later.

    Observation, a float32 vector: the cue (n_cues numbers, one-hot, zeros where none is shown), and a flag
    that asks for it. The action that follows the flag is the answer: the number of the cue pays 1, another
    one nothing, and no other action has an effect. With several recalls, the next cue follows an answer.
    The episode is ``terminated`` after n_recalls * (delay + 1) steps.

    ``info`` is empty except at the end of an episode, when it holds ``right_share``, the share of right
    answers.

    Args:
        render_mode: None or "ansi".
        **options: the arguments of ``RecallDynamics``: ``n_cues``, 2 by default, ``delay``, 5 by default, and
            ``n_recalls``, 1 by default.

    Raises:
        ValueError: an argument is not allowed; the message names it.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": FPS}  # noqa: RUF012
    dynamics: RecallDynamics

    def __init__(self, *, render_mode: str | None = None, **options: Unpack[RecallOptions]) -> None:
        dynamics = RecallDynamics(**options)
        super().__init__(dynamics, dynamics.draw, render_mode)


class RecallVectorEnv(LockstepVectorEnv[RecallState]):
    """``num_envs`` episodes with the rules, spaces and arguments of ``RecallEnv``.

    See ``LockstepVectorEnv`` for seeds and for the end of an episode.

    Args:
        num_envs: number of episodes run side by side, at least 1.
        render_mode: None or "ansi".
        **options: the arguments of ``RecallDynamics``.

    Raises:
        ValueError: an argument is not allowed; the message names it.
    """

    metadata = {**RecallEnv.metadata, "autoreset_mode": SAME_STEP}  # noqa: RUF012
    dynamics: RecallDynamics

    def __init__(
        self, num_envs: int = 1, *, render_mode: str | None = None, **options: Unpack[RecallOptions]
    ) -> None:
        dynamics = RecallDynamics(**options)
        super().__init__(dynamics, dynamics.draw, num_envs, render_mode)


make_recall_vector_env = vector_maker(RecallVectorEnv)
"""The entry point for ``gym.make_vec``."""

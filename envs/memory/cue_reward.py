"""``CueReward-v0``: find the one of several cues that a reward depends on, and recognise it from then on.

The cue-reward association of Miconi et al. (ICLR 2019), section 4.1, with the trials of the authors' program.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from plasticrl.arguments import check_above_zero, check_count, check_number
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
    array_of,
    check_settings,
    entry,
    generator_states,
    restored_generators,
    step_number,
    whole_numbers,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

_SHORTEST = 5  # steps of a trial without a pause: nothing, two cues, the go signal, nothing
_ACTIONS = 2
_LARGEST = float(np.finfo(np.float32).max)  # the reward is part of a float32 observation


class CueRewardOptions(TypedDict, total=False):
    """Keyword arguments of the cue-reward environments: those of ``CueRewardDynamics``."""

    n_cues: int
    n_bits: int
    max_pause: int
    episode_length: int
    reward: float
    wrong_penalty: float


class CueRewardState(NamedTuple):
    """State of B episodes, all at the same step."""

    inputs: NDArray[np.float32]  # (B, n_cues + 2, n_bits + 1) the cues, the go signal, and no input
    target: NDArray[np.intp]  # (B,) number of the target
    shown: NDArray[np.intp]  # (B, episode_length + 1) the number in ``inputs`` that is shown at each step
    step: int  # actions taken
    seen: NDArray[np.bool_]  # (B,) the target was shown in this trial, before the current step
    right: NDArray[np.intp]  # (B,) right answers so far


class CueRewardDynamics(Dynamics[CueRewardState]):
    """The rules of cue-reward association as pure functions of a batch of states.

    Args:
        n_cues: number of cues in an episode, at least 3: with two, every pair holds the target.
        n_bits: length of a cue, at most 62; 2**n_bits must be at least n_cues, since cues differ.
        max_pause: largest number of steps without input that are inserted before a go signal.
        episode_length: steps of one episode, at least max_pause + 4, so that each holds a go signal.
        reward: reward of a right answer, above 0.
        wrong_penalty: penalty for a wrong answer, not negative.

    Raises:
        ValueError: an argument is outside its range; the message names it.
    """

    def __init__(
        self,
        n_cues: int = 4,
        n_bits: int = 20,
        max_pause: int = 3,
        episode_length: int = 120,
        reward: float = 1.0,
        wrong_penalty: float = 1.0,
    ) -> None:
        self.n_cues = check_count("n_cues", n_cues, least=3)
        self.n_bits = check_count("n_bits", n_bits)
        if not self.n_cues <= 2**self.n_bits <= 2**62:
            least = (self.n_cues - 1).bit_length()
            raise ValueError(f"n_bits must be from {least}, for {n_cues} different cues, to 62, got {n_bits}")
        self.max_pause = check_count("max_pause", max_pause, least=0)
        least = self.max_pause + _SHORTEST - 1
        self.episode_length = check_count("episode_length", episode_length, least=least)
        self.reward = check_number("reward", check_above_zero("reward", reward), most=_LARGEST)
        self.wrong_penalty = check_number("wrong_penalty", wrong_penalty, most=_LARGEST)
        self.settings = {name: getattr(self, name) for name in CueRewardOptions.__annotations__}
        self._go, self._nothing = self.n_cues, self.n_cues + 1

        low = np.zeros(self.n_bits + 2 + _ACTIONS, dtype=np.float32)
        high = np.ones_like(low)
        low[: self.n_bits] = -1
        low[self.n_bits + 1], high[self.n_bits + 1] = 0.0 - self.wrong_penalty, self.reward
        self.observation_space = gym.spaces.Box(low, high, dtype=np.float32)
        self.action_space = gym.spaces.Discrete(_ACTIONS)

    def start(self, rngs: Generators) -> tuple[CueRewardState, NDArray[np.float32]]:
        """Draw one episode from each generator; return the state and the first observations (B, D)."""
        count = len(rngs)
        target = np.array([rng.integers(self.n_cues) for rng in rngs], dtype=np.intp)
        codes = np.array([rng.choice(2**self.n_bits, self.n_cues, replace=False) for rng in rngs])
        inputs = self._inputs(2 * (codes[..., None] >> np.arange(self.n_bits) & 1) - 1)
        none = np.zeros(count, dtype=np.intp)
        state = CueRewardState(inputs, target, self._shown(rngs), 0, none.astype(np.bool_), none)
        return state, self._observed(state)

    def _inputs(self, cues: NDArray[Any]) -> NDArray[np.float32]:
        """Return cues (B, n_cues, n_bits) with the flag of the go signal, its own input, and no input."""
        inputs = np.zeros((len(cues), self.n_cues + 2, self.n_bits + 1), dtype=np.float32)
        inputs[:, : self.n_cues, :-1] = cues
        inputs[:, self._go, -1] = 1
        return inputs

    def _shown(self, rngs: Generators) -> NDArray[np.intp]:
        """Draw what is shown at each step: trials of random lengths, the last one cut off."""
        trials, slots = -(-self.episode_length // _SHORTEST), 2 + self.max_pause
        uniform = np.array([rng.random((trials, 1 + self.n_cues + slots)) for rng in rngs])
        pause = (uniform[..., 0] * (self.max_pause + 1)).astype(np.intp)  # (B, trials)
        pair = uniform[..., 1 : 1 + self.n_cues].argsort(axis=-1)[..., :2]  # (B, trials, 2)
        free = np.arange(slots) < 2 + pause[..., None]
        place = np.where(free, uniform[..., 1 + self.n_cues :], 1.0).argsort(axis=-1)[..., :2]
        length = _SHORTEST + pause
        begins = length.cumsum(axis=1) - length
        width = trials * (_SHORTEST + self.max_pause)  # at least the episode's length
        shown = np.full((len(rngs), width + 1), self._nothing, dtype=np.intp)
        row = np.arange(len(rngs))[:, None]
        shown[row[..., None], begins[..., None] + 1 + place] = pair
        shown[row, begins + length - 2] = self._go
        shown[:, self.episode_length] = self._nothing  # after the last step
        whole: NDArray[np.intp] = shown[:, : self.episode_length + 1].copy()
        return whole

    def step(self, state: CueRewardState, actions: NDArray[Any], rngs: Generators = ()) -> Transition:
        """Step every episode; an action that follows the go signal is the answer.

        Args:
            state: B unfinished episodes; not modified.
            actions: (B,) 1 if the target was one of the pair, 0 if not.
            rngs: not used; only a new episode draws random numbers.

        Raises:
            ValueError: the actions are not B zeros and ones.
        """
        count = len(state.target)
        actions = whole_numbers("actions", np.asarray(actions), (count,), 0, _ACTIONS - 1)
        shown = state.shown[:, state.step]
        asked, right = shown == self._go, actions == state.seen
        reward = np.where(asked, np.where(right, self.reward, 0.0 - self.wrong_penalty), 0.0)
        seen = ~asked & (state.seen | (shown == state.target))
        after = state._replace(step=state.step + 1, seen=seen, right=state.right + (asked & right))
        observation = self._observed(after)
        observation[:, self.n_bits + 1] = reward
        observation[np.arange(count), self.n_bits + 2 + actions] = 1
        return Transition(after, observation, reward, np.full(count, after.step >= self.episode_length))

    def _observed(self, state: CueRewardState) -> NDArray[np.float32]:
        """Return observations (B, D) that hold the current input only."""
        rows = np.arange(len(state.target))
        observation = np.zeros((len(rows), self.observation_space.shape[0]), dtype=np.float32)
        observation[:, : self.n_bits + 1] = state.inputs[rows, state.shown[:, state.step]]
        return observation

    def steps_taken(self, state: CueRewardState) -> int:
        """Return the number of steps since the episodes began."""
        return state.step

    def asked(self, shown: NDArray[np.intp], step: int) -> NDArray[np.intp]:
        """Return the number of go signals that were answered before a step, (B,)."""
        answered: NDArray[np.intp] = (shown[:, :step] == self._go).sum(axis=1)
        return answered

    def summary(self, state: CueRewardState) -> dict[str, NDArray[Any]]:
        """Return the entries of ``info`` at the end of episodes, each of shape (B,).

        ``answers``, the number of go signals; ``right_share``, the share of right answers.
        """
        answers = self.asked(state.shown, state.step)
        return {"answers": answers, "right_share": state.right / answers}

    def state_dict(self, state: CueRewardState, rngs: Generators) -> dict[str, Any]:
        """Return the full state of B episodes."""
        episodes = {
            "cues": state.inputs[:, : self.n_cues, :-1].astype(np.int8),
            **{name: getattr(state, name).copy() for name in ("target", "shown", "seen", "right")},
            "step": state.step,
        }
        return {"settings": dict(self.settings), "generators": generator_states(rngs), "episodes": episodes}

    def restored(
        self, saved: Any, count: int, *, over: bool
    ) -> tuple[CueRewardState, list[np.random.Generator]]:
        """Return the checked content of a :meth:`state_dict`."""
        check_settings(saved, self.settings)
        episodes = entry(saved, "episodes")
        cues, target, shown, seen, right, step = (
            entry(episodes, name) for name in ("cues", "target", "shown", "seen", "right", "step")
        )
        step = step_number(step, self.episode_length - (not over))
        cues = array_of("cues", cues, (count, self.n_cues, self.n_bits), "i")
        if (abs(cues) != 1).any():
            raise ValueError("cues must be -1 and 1")
        shown = whole_numbers("shown", shown, (count, self.episode_length + 1), 0, self._nothing)
        state = CueRewardState(
            self._inputs(cues),
            whole_numbers("target", target, (count,), 0, self.n_cues - 1),
            shown,
            step,
            array_of("seen", seen, (count,), "b"),
            whole_numbers("right", right, (count,), 0, self.asked(shown, step)),
        )
        return state, restored_generators(entry(saved, "generators"), count)

    def draw(self, mode: str, history: Sequence[CueRewardState], row: int) -> str:
        """Describe one episode in a line.

        Args:
            mode: "ansi", the only mode.
            history: the latest states; the last one is described.
            row: number of the episode.
        """
        now = history[-1]
        number = int(now.shown[row, now.step])
        words = {self._go: "go", self._nothing: "-", int(now.target[row]): f"cue {number}, the target"}
        answers = self.asked(now.shown, now.step)[row]
        return (
            f"step {now.step}/{self.episode_length}  {words.get(number, f'cue {number}')}  "
            f"right answers {now.right[row]} of {answers}"
        )


class CueRewardEnv(LockstepEnv[CueRewardState]):
    """Cue-reward association: which of the cues is the target, and was it one of the last two?

    Every episode has its own random cues, and one of them is the target. In each trial two different cues are
    shown, one after the other, then a go signal. The action that follows it is the answer: 1 if the target
    was one of the pair, 0 if not. A right one pays ``reward``, a wrong one costs ``wrong_penalty``; other
    actions have no effect. A trial begins and ends with a step without input, and up to ``max_pause`` more
    are inserted at random around its cues, so that counting steps does not help. The episode is
    ``terminated`` after ``episode_length`` steps.

    Observation, a float32 vector: the cue (n_bits numbers, -1 and 1; zeros where none is shown); the go
    signal, 0 or 1; the previous reward; the previous action (2 numbers, one-hot, zeros at the start).

    ``info`` is empty except at the end of an episode, when it holds ``answers``, the number of go signals,
    and ``right_share``, the share of right answers. ``cue_reward_bracket`` gives what to compare it with.

    Args:
        render_mode: None or "ansi".
        **options: the arguments of ``CueRewardDynamics``; by default those of the paper: 4 cues of 20 bits,
            120 steps, reward 1, penalty 1, and up to 3 steps inserted.

    Raises:
        ValueError: an argument is not allowed; the message names it.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": FPS}  # noqa: RUF012
    dynamics: CueRewardDynamics

    def __init__(self, *, render_mode: str | None = None, **options: Unpack[CueRewardOptions]) -> None:
        dynamics = CueRewardDynamics(**options)
        super().__init__(dynamics, dynamics.draw, render_mode)


class CueRewardVectorEnv(LockstepVectorEnv[CueRewardState]):
    """``num_envs`` episodes with the rules, spaces and arguments of ``CueRewardEnv``.

    See ``LockstepVectorEnv`` for seeds and for the end of an episode.

    Args:
        num_envs: number of episodes run side by side, at least 1.
        render_mode: None or "ansi".
        **options: the arguments of ``CueRewardDynamics``.

    Raises:
        ValueError: an argument is not allowed; the message names it.
    """

    metadata = {**CueRewardEnv.metadata, "autoreset_mode": SAME_STEP}  # noqa: RUF012
    dynamics: CueRewardDynamics

    def __init__(
        self, num_envs: int = 1, *, render_mode: str | None = None, **options: Unpack[CueRewardOptions]
    ) -> None:
        dynamics = CueRewardDynamics(**options)
        super().__init__(dynamics, dynamics.draw, num_envs, render_mode)


make_cue_reward_vector_env = vector_maker(CueRewardVectorEnv)
"""The entry point for ``gym.make_vec``."""


class CueRewardBracket(NamedTuple):
    """Expected shares of right answers in an episode: of random actions, and of the ideal observer."""

    random: float
    ideal: float


def cue_reward_bracket(**options: Unpack[CueRewardOptions]) -> CueRewardBracket:
    """Return the shares of right answers of random actions (0.5) and of the ideal observer.

    The ideal observer knows the rules and forgets nothing: it keeps all cues that may still be the target and
    gives the more probable answer. Every reward tells whether the target was in the pair, whatever the answer
    was, so no other answers would tell it more. Its share is exact, 0.945 at the defaults.

    Args:
        **options: the arguments of ``CueRewardDynamics``.

    Raises:
        ValueError: an argument is not allowed; the message names it.
    """
    rules = CueRewardDynamics(**options)
    trial = np.zeros(_SHORTEST + rules.max_pause + 1)
    trial[_SHORTEST:] = 1 / (rules.max_pause + 1)  # chance of each length
    ends, latest = np.ones(1), rules.episode_length + 1  # chance of each end of the first trials
    reached, rights, ideal = 1.0, 0.0, 0.0
    chance = np.zeros(rules.n_cues + 1)  # of each number of candidates
    chance[-1] = 1.0
    for answers in range(-(-rules.episode_length // _SHORTEST) + 1):
        ends = np.convolve(ends, trial)[: latest + 1]  # a go signal comes two steps before its trial's end
        further = float(ends.sum())
        ideal += (reached - further) * rights / max(answers, 1)
        right, chance = _ideal_answer(chance)
        reached, rights = further, rights + right
    return CueRewardBracket(1 / _ACTIONS, ideal)


def _ideal_answer(chance: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Return the chance that the ideal observer's answer is right, and its candidates after the reward.

    Args:
        chance: (n_cues + 1,) the chance of each number of candidates.
    """
    n_cues, right, after = len(chance) - 1, 0.0, np.zeros_like(chance)
    for candidates in range(1, n_cues + 1):
        for inside in range(min(2, candidates) + 1):  # candidates in the pair
            pairs = comb(candidates, inside) * comb(n_cues - candidates, 2 - inside)
            share = float(chance[candidates]) * pairs / comb(n_cues, 2)
            yes = inside / candidates
            right += share * max(yes, 1 - yes)
            after[inside] += share * yes
            after[candidates - inside] += share * (1 - yes)
    return right, after

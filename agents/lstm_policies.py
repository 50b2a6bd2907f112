"""sb3-contrib's LSTM policies, at the speed that whole sequences allow."""

from __future__ import annotations

from typing import Any

import torch
from sb3_contrib.ppo_recurrent.policies import CnnLstmPolicy, MlpLstmPolicy, MultiInputLstmPolicy
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn

_NO_PICKLE = (
    "the file of this policy alone would be a pickle, which can run code: save and load the agent, "
    "with PlainRecurrentPPO.save and PlainRecurrentPPO.load"
)


class WholeSequences:
    """Before one of sb3-contrib's LSTM policies as a base: one call of the LSTM for all steps of a batch.

    sb3-contrib loops over the steps in Python as soon as one sequence of the batch begins with an episode.
    Its buffer cuts the sequences where episodes start, so that only a first step can be such a one: the
    states are reset before it, and one call does the rest. The results are the same, up to rounding.
    """

    @staticmethod
    def _process_sequence(
        features: Tensor, lstm_states: tuple[Tensor, Tensor], episode_starts: Tensor, lstm: nn.LSTM
    ) -> tuple[Tensor, Any]:  # sb3-contrib's annotation is wrong: two states
        """The LSTM's outputs ``(B * T, H)`` and last states, where it begins anew with each episode.

        Args:
            features: ``(B * T, D)``, sequence after sequence.
            lstm_states: hidden and cell states before the first step, each ``(layers, B, H)``.
            episode_starts: 1 where a step is the first of an episode, else 0, ``(B * T,)``. Where a later
                step than the first of a sequence is, sb3-contrib's loop does it.
            lstm: with inputs of size D.
        """
        rows = lstm_states[0].shape[1]
        starts = episode_starts.reshape(rows, -1)
        if starts[:, 1:].any():
            return MlpLstmPolicy._process_sequence(features, lstm_states, episode_starts, lstm)
        goes_on = (starts[:, 0] == 0).view(1, rows, 1)
        first_states = (goes_on * lstm_states[0], goes_on * lstm_states[1])
        sequence = features.reshape(rows, -1, lstm.input_size).swapaxes(0, 1)
        outputs, last_states = lstm(sequence, first_states)
        return torch.flatten(outputs.transpose(0, 1), 0, 1), last_states

    def save(self, path: str) -> None:
        """Refuse: sb3-contrib would write a pickle.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(_NO_PICKLE)

    @classmethod
    def load(cls, path: str, device: torch.device | str = "auto") -> Any:
        """Refuse: sb3-contrib would unpickle, and a pickle can run code.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(_NO_PICKLE)


class WholeSequenceMlpLstmPolicy(WholeSequences, MlpLstmPolicy):
    """For observations that are vectors."""


class WholeSequenceCnnLstmPolicy(WholeSequences, CnnLstmPolicy):
    """For observations that are images."""


class WholeSequenceMultiInputLstmPolicy(WholeSequences, MultiInputLstmPolicy):
    """For observations that are dicts."""


WHOLE_SEQUENCE_POLICIES: dict[str, type[BasePolicy]] = {
    "MlpLstmPolicy": WholeSequenceMlpLstmPolicy,
    "CnnLstmPolicy": WholeSequenceCnnLstmPolicy,
    "MultiInputLstmPolicy": WholeSequenceMultiInputLstmPolicy,
}

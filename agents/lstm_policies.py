"""sb3-contrib's LSTM policies with one LSTM call per whole sequence, for speed."""

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
    """Mixin, to be listed before an sb3-contrib LSTM policy: one LSTM call for all steps of a batch.

    sb3-contrib loops over the steps in Python if any sequence of the batch begins with an episode. Its
    buffer cuts the sequences at episode starts, so that only the first step of a sequence can be one: the
    states are reset before it, and one call computes the rest. The results are equal up to rounding.
    """

    @staticmethod
    def _process_sequence(
        features: Tensor, lstm_states: tuple[Tensor, Tensor], episode_starts: Tensor, lstm: nn.LSTM
    ) -> tuple[Tensor, Any]:  # sb3-contrib's annotation is wrong: it returns two states
        """Return the LSTM's outputs ``(B * T, H)`` and last states, with the state reset at episode starts.

        Args:
            features: ``(B * T, D)``, one sequence after another.
            lstm_states: hidden and cell states before the first step, each ``(layers, B, H)``.
            episode_starts: ``(B * T,)``, 1 at the first step of an episode, else 0. If an episode starts
                after the first step of a sequence, sb3-contrib's loop is used.
            lstm: an LSTM with inputs of size D.
        """
        rows = lstm_states[0].shape[1]
        starts = episode_starts.reshape(rows, -1)
        if starts[:, 1:].any():
            return MlpLstmPolicy._process_sequence(features, lstm_states, episode_starts, lstm)
        continues = (starts[:, 0] == 0).view(1, rows, 1)
        first_states = (continues * lstm_states[0], continues * lstm_states[1])
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
    """Policy for vector observations."""


class WholeSequenceCnnLstmPolicy(WholeSequences, CnnLstmPolicy):
    """Policy for image observations."""


class WholeSequenceMultiInputLstmPolicy(WholeSequences, MultiInputLstmPolicy):
    """Policy for dict observations."""


WHOLE_SEQUENCE_POLICIES: dict[str, type[BasePolicy]] = {
    "MlpLstmPolicy": WholeSequenceMlpLstmPolicy,
    "CnnLstmPolicy": WholeSequenceCnnLstmPolicy,
    "MultiInputLstmPolicy": WholeSequenceMultiInputLstmPolicy,
}

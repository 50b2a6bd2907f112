"""TensorBoard output: a plastic core's matrices and metrics, and the infos of episodes."""

from collections.abc import Callable, Mapping
from math import ceil
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter

from plasticrl.agents.common import tags
from plasticrl.nn import Core, PlasticLinear, PlasticRNN

_SMALLEST_SIDE = 200  # pixels; small matrices get larger squares
_NEGATIVE, _ZERO, _POSITIVE = (33, 102, 172), (247, 247, 247), (178, 24, 43)


def tensorboard_writer(logger: Logger) -> SummaryWriter | None:
    """Return the writer of the logger's TensorBoard output; None without one."""
    for output in logger.output_formats:
        if isinstance(output, TensorBoardOutputFormat):
            return output.writer
    return None


def matrix_picture(matrix: Tensor) -> npt.NDArray[np.uint8]:
    """Draw a matrix in colour: blue below zero, white at zero, red above, scaled to the largest magnitude.

    Args:
        matrix: ``(rows, columns)``.

    Returns:
        RGB, ``(height, width, 3)``, with a square of pixels for each element.
    """
    values = matrix.detach().cpu().double().numpy()
    share = np.nan_to_num(values / max(np.abs(values).max(), np.finfo(np.float64).tiny))[..., None]
    end = np.where(share < 0, _NEGATIVE, _POSITIVE)
    colors: npt.NDArray[np.uint8] = (_ZERO + np.abs(share) * (end - _ZERO)).round().astype(np.uint8)
    side = ceil(_SMALLEST_SIDE / max(values.shape))
    return colors.repeat(side, axis=0).repeat(side, axis=1)


def plastic_matrices(core: Core, state: Any) -> dict[str, Tensor]:
    """Return w, alpha and the first trace, each ``(rows, columns)``, as far as the core has them.

    Args:
        core: the core.
        state: its state, which holds the trace.
    """
    if not isinstance(core, (PlasticRNN, PlasticLinear)):
        return {}
    matrices: dict[str, Tensor] = {"w": core.weight_hh if isinstance(core, PlasticRNN) else core.weight}
    alpha = core.plasticity.alpha
    if alpha is not None:
        matrices["alpha"] = alpha.reshape(-1, alpha.shape[-1]) if alpha.ndim else alpha.reshape(1, 1)
        matrices["trace"] = state.trace[0]
    return matrices


def log_matrices(writer: SummaryWriter, core: Core, state: Any, step: int) -> None:
    """Log w, alpha and the first trace as ``plastic/w``, ``plastic/alpha`` and ``plastic/trace``.

    Matrices that the core does not have are left out; for a core that is not of a plastic kind, nothing is
    logged.

    Args:
        writer: the TensorBoard writer.
        core: the core.
        state: its state, which holds the trace.
        step: the step to log them at.
    """
    for name, matrix in plastic_matrices(core, state).items():
        writer.add_image(tags.plastic(name), matrix_picture(matrix), step, dataformats="HWC")


class MatrixPictures(BaseCallback):
    """Callback that shows w, alpha and the trace of the first environment as pictures in TensorBoard.

    The tags are ``plastic/w``, ``plastic/alpha`` and ``plastic/trace``; those that the core does not have are
    left out. Does nothing if the agent does not log to TensorBoard.

    Args:
        every: environment steps between two pictures.
    """

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every
        self._next = every

    def _on_training_start(self) -> None:
        self._set_next()

    def _set_next(self) -> None:
        self._next = (self.num_timesteps // self.every + 1) * self.every

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self.num_timesteps < self._next:
            return
        self._set_next()
        agent: Any = self.model
        writer = tensorboard_writer(self.logger)
        if writer is not None:
            log_matrices(writer, agent.policy.core, agent.core_state, self.num_timesteps)


def plastic_metrics(core: Core, state: Any) -> dict[str, float]:
    """Return eta, mean ``|alpha|`` and mean ``|H|``; empty for a core that is not plastic.

    Args:
        core: the agent's core.
        state: its state at the end of the rollout or the episodes.
    """
    if not isinstance(core, (PlasticRNN, PlasticLinear)) or core.plasticity.alpha is None:
        return {}
    return {
        "eta": core.plasticity.eta.item(),
        "alpha_abs_mean": core.plasticity.alpha.abs().mean().item(),
        "trace_abs_mean": state.trace.abs().mean().item(),
    }


Finish = Callable[[float], float]


class EpisodeInfo(BaseCallback):
    """Callback that logs means over the episodes that ended since the last update.

    Args:
        prefix: first part of the tags, ``prefix/name``.
        names: entries of the final ``info`` to log. Negative values mean "never" and are left out.
        of_reward: further tags, each with a function of the mean reward.
    """

    def __init__(
        self,
        prefix: str,
        names: tuple[str, ...],
        of_reward: Mapping[str, Finish] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.prefix = prefix
        self.of_reward = of_reward
        self._values: dict[str, list[float]] = {name: [] for name in names}
        self._rewards: list[float] = []

    def _on_step(self) -> bool:
        if self.locals["dones"].any():
            for info in self.locals["infos"]:
                if "episode" in info:
                    self._rewards.append(info["episode"]["r"])
                    for name, values in self._values.items():
                        if info[name] >= 0:
                            values.append(info[name])
        return True

    def _on_rollout_end(self) -> None:
        for name, values in self._values.items():
            if values:
                self.logger.record(f"{self.prefix}/{name}", float(np.mean(values)))
                values.clear()
        if self._rewards:
            mean = float(np.mean(self._rewards))
            for name, function in self.of_reward.items():
                self.logger.record(f"{self.prefix}/{name}", function(mean))
            self._rewards.clear()

"""A callback that shows a plastic core's matrices in TensorBoard."""

from math import ceil

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter

from plasticrl.nn import PlasticRNN

_SMALLEST_SIDE = 200  # pixels; smaller matrices are shown with larger squares
_NEGATIVE, _ZERO, _POSITIVE = (33, 102, 172), (247, 247, 247), (178, 24, 43)


def tensorboard_writer(logger: Logger) -> SummaryWriter | None:
    """The writer of the logger's TensorBoard output, None where it has none."""
    for output in logger.output_formats:
        if isinstance(output, TensorBoardOutputFormat):
            return output.writer
    return None


def matrix_picture(matrix: Tensor) -> npt.NDArray[np.uint8]:
    """A matrix as colours: blue below zero, white at zero, red above; the largest magnitude is full.

    Args:
        matrix: ``(rows, columns)``.

    Returns:
        RGB, ``(height, width, 3)``: one square of pixels for each element.
    """
    values = matrix.detach().cpu().double().numpy()
    share = np.nan_to_num(values / max(np.abs(values).max(), np.finfo(np.float64).tiny))[..., None]
    end = np.where(share < 0, _NEGATIVE, _POSITIVE)
    colors: npt.NDArray[np.uint8] = (_ZERO + np.abs(share) * (end - _ZERO)).round().astype(np.uint8)
    side = ceil(_SMALLEST_SIDE / max(values.shape))
    return colors.repeat(side, axis=0).repeat(side, axis=1)


class MatrixPictures(BaseCallback):
    """Shows w, alpha and the trace of the first environment as pictures in TensorBoard.

    The tags are ``plastic/w``, ``plastic/alpha`` and ``plastic/trace``; a core without one of them
    is shown without it. Does nothing where the agent does not log to TensorBoard.

    Args:
        every: environment steps between two pictures.
    """

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every
        self._next = every

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self.num_timesteps < self._next:
            return
        self._next = (self.num_timesteps // self.every + 1) * self.every
        core, writer = self.model.policy.core, tensorboard_writer(self.logger)
        if writer is None or not isinstance(core, PlasticRNN):
            return
        pictures: dict[str, Tensor] = {"w": core.weight_hh}
        alpha = core.plasticity.alpha
        if alpha is not None:
            pictures["alpha"] = alpha.reshape(-1, alpha.shape[-1]) if alpha.ndim else alpha.reshape(1, 1)
            pictures["trace"] = self.model.core_state.trace[0]  # type: ignore[attr-defined]
        for name, matrix in pictures.items():
            writer.add_image(f"plastic/{name}", matrix_picture(matrix), self.num_timesteps, dataformats="HWC")

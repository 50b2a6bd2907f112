"""TensorBoard output: a plastic core's matrices and metrics."""

from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter

from plasticrl.agents.common import tags
from plasticrl.nn import Core, PlasticLinear
from plasticrl.nn.plastic_rnn import PlasticCore

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
    if not isinstance(core, (PlasticCore, PlasticLinear)):
        return {}
    matrices: dict[str, Tensor] = {"w": core.weight_hh if isinstance(core, PlasticCore) else core.weight}
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
        writer.add_image(tags.PLASTIC + name, matrix_picture(matrix), step, dataformats="HWC")


def plastic_metrics(core: Core, state: Any) -> dict[str, float]:
    """Return eta (if the rule reads it), mean ``|alpha|`` and mean ``|H|``; empty for a core without trace.

    Args:
        core: the agent's core.
        state: its state at the end of the rollout or the episodes.
    """
    if not isinstance(core, (PlasticCore, PlasticLinear)) or core.plasticity.alpha is None:
        return {}
    return {
        **({} if core.plasticity.eta_raw is None else {"eta": core.plasticity.eta.item()}),
        "alpha_abs_mean": core.plasticity.alpha.abs().mean().item(),
        "trace_abs_mean": state.trace.abs().mean().item(),
    }

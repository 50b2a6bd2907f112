"""The specification of the plastic recurrence in plain torch: any dtype, any device, differentiable twice."""

import torch
from torch import Tensor

from plasticrl.rules import Rule, next_trace
from plasticrl.state import PlasticState


def reference_scan(
    drive: Tensor,
    w: Tensor,
    alpha: Tensor | None,
    eta: Tensor,
    state: PlasticState,
    reset: Tensor | None = None,
    clamp: Tensor | None = None,
    *,
    rule: Rule,
) -> tuple[Tensor, PlasticState]:
    """See :func:`plasticrl.plastic_scan`."""
    x, trace = state
    outputs = []
    for t in range(drive.shape[0]):
        if reset is not None:
            x = x.masked_fill(reset[t, :, None], 0)  # a mask, not a product: clears NaN too
            trace = trace.masked_fill(reset[t, :, None, None], 0) if alpha is not None else trace
        fan_in = x @ w.T  # (B, n)
        if alpha is not None:
            fan_in = fan_in + ((alpha * trace) @ x.unsqueeze(-1)).squeeze(-1)
        y = torch.tanh(drive[t] + fan_in)
        if clamp is not None:
            y = torch.where(clamp[t], drive[t], y)
        if alpha is not None:
            trace = next_trace(rule, trace, x, y, eta)
        x = y
        outputs.append(y)
    return torch.stack(outputs), PlasticState(x, trace)

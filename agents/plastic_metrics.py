"""Metrics of a plastic core."""

from typing import Any

from plasticrl.nn import Core, PlasticLinear, PlasticRNN


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

"""Hopfield network, the classical associative memory: a baseline for the completion of binary patterns."""

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.episode import Episode


def hopfield_completion(episode: Episode) -> NDArray[np.float32]:
    """Complete the query with a Hopfield network that stores the patterns shown (Hopfield, PNAS 1982).

    ``w_ij`` is the sum of ``p_i p_j`` over the distinct vectors without a zero in the episode, and
    ``w_ii = 0``. The visible bits of the query are clamped. The others start at 0 and are updated one after
    another, ``s_i = sign(sum_j w_ij s_j)``, unchanged if the sum is 0, until no bit changes.

    Args:
        episode: binary patterns, with a zero for each hidden bit; the query is the last step.

    Returns:
        The completed patterns ``(B, D)``, -1 or 1, and 0 for a bit that remains undetermined.

    Raises:
        ValueError: the inputs are not binary patterns.
    """
    inputs = episode.inputs
    magnitude = np.abs(inputs)
    if inputs.ndim != 3 or not ((magnitude == 0) | (magnitude == magnitude.max())).all():
        raise ValueError(
            "hopfield_completion is for binary patterns: inputs must be (T, B, D), with entries 0, x or -x"
        )
    signs = np.sign(inputs).swapaxes(0, 1).astype(np.float64)  # (B, T, D); sums of whole numbers are exact
    recalled = [_recall(np.unique(shown[shown.all(axis=-1)], axis=0), shown[-1]) for shown in signs]
    return np.stack(recalled).astype(np.float32)


def _recall(patterns: NDArray[np.float64], query: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the state ``(D,)`` that a network with these patterns ``(P, D)`` reaches from the query.

    The loop terminates: w is symmetric with a zero diagonal, so that each change lowers the energy.
    """
    weights: NDArray[np.float64] = patterns.T @ patterns
    np.fill_diagonal(weights, 0)
    state: NDArray[np.float64] = query.copy()
    sums = weights @ state
    free = np.flatnonzero(query == 0)
    changed = True
    while changed:
        changed = False
        for i in free:
            new = np.sign(sums[i]) or state[i]
            if new != state[i]:
                sums += weights[i] * (new - state[i])
                state[i] = new
                changed = True
    return state

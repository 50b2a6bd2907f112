"""Detection of gradients that are too large for their direction to be trusted."""

from __future__ import annotations

from math import isfinite

_DECAY = 0.95


class UsualGradient:
    """A running geometric mean of gradient norms, for detecting outliers.

    Backpropagation through hundreds of steps occasionally yields a gradient thousands of times larger than
    the previous one. Clipping restores its length, but its direction is arbitrary.

    Attributes:
        usual: the mean; 0 before the first norm.
    """

    usual: float = 0.0

    def admits(self, norm: float, max_norm: float, max_ratio: float) -> bool:
        """Return True unless the gradient is an outlier, and update the mean.

        An outlier enters the mean as the largest norm that would have been accepted. If gradients stay
        larger, they are therefore accepted again: with a ratio of 10, after about twenty updates per factor
        of 10.

        Args:
            norm: norm of the gradient before clipping.
            max_norm: the clipping norm; smaller norms count as this value and are thus never outliers.
            max_ratio: ratio to the mean above which a norm is an outlier; infinite accepts all.
        """
        if not isfinite(max_ratio):
            return True
        usual = max(self.usual, max_norm)
        limit = max_ratio * usual
        self.usual = usual**_DECAY * min(max(norm, max_norm), limit) ** (1 - _DECAY)
        return norm <= limit

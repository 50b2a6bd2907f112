"""Which gradients are so large that their direction is not to be trusted."""

from __future__ import annotations

from math import isfinite

_DECAY = 0.95


class UsualGradient:
    """A running geometric mean of gradient norms, which tells those that are far above it.

    Backpropagation through hundreds of steps now and then gives a gradient thousands of times as long as the
    one before. Clipped it is as long as any other, but points anywhere.

    Attributes:
        usual: the mean; 0 before the first norm.
    """

    usual: float = 0.0

    def admits(self, norm: float, max_norm: float, max_ratio: float) -> bool:
        """Whether this gradient is to be followed; it counts for those that come.

        One that is not counts as the largest that would have been: where gradients have become longer for
        good they are followed again, with a ratio of 10 after about twenty updates for each factor of 10.

        Args:
            norm: of the gradient before it is clipped.
            max_norm: what gradients are clipped to; shorter ones count as this, so none of them is too long.
            max_ratio: how many times the mean is too much; infinite: nothing is.
        """
        if not isfinite(max_ratio):
            return True
        usual = max(self.usual, max_norm)
        limit = max_ratio * usual
        self.usual = usual**_DECAY * min(max(norm, max_norm), limit) ** (1 - _DECAY)
        return norm <= limit

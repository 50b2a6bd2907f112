"""Running moments with which a policy normalizes its observations and the targets of its values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from torch import Tensor, nn
from typing_extensions import Self

from plasticrl.agents.common.distributed import Ranks
from plasticrl.agents.recurrent.rollout import ObservationTensor, by_key

_ROUNDING = 1e-12  # relative variance of equal values
_LARGEST = 10.0  # bound of a normalized observation, as in SB3's VecNormalize


class Moments(nn.Module):
    """Mean and variance of all values seen so far; 0 and 1 before the first.

    Args:
        shape: shape of one value.

    Attributes:
        mean, variance: float64, of that shape.
        count: number of values, a float64 scalar.
        shift, scale: mean and standard deviation in float32, for every step; not saved.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(shape, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(shape), persistent=False)
        self.register_buffer("scale", torch.ones(shape), persistent=False)

    @property
    def std(self) -> Tensor:
        """Standard deviation; 1 while all values have been equal."""
        equal = self.variance <= _ROUNDING * self.mean.square()
        return torch.where(equal, 1.0, self.variance).sqrt()

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, moment in self.named_buffers():  # the policy may be cast to another dtype
            setattr(self, name, moment.float() if name in ("shift", "scale") else moment.double())
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *others)
        if not self.mean.is_meta and not (
            self.mean.isfinite().all() and (self.variance >= 0).all() and self.count >= 0
        ):
            others[-1].append(f"{prefix}: a variance or a count is below 0, or a mean is not finite")
        self._derive()

    def update(self, values: npt.NDArray[Any], ranks: Ranks) -> None:
        """Add the values ``(N, ...)`` of all processes (Chan et al. 1979)."""
        values = values.astype(np.float64)
        own = np.stack([values.mean(axis=0), values.var(axis=0)])[None]
        for mean, variance in torch.as_tensor(ranks.gather(own, axis=0), device=self.mean.device):
            total = self.count + len(values)
            share = len(values) / total
            apart = mean - self.mean
            # Before the first values, share is 1 and the initial variance has no weight.
            self.variance.lerp_(variance, share).add_(apart.square() * share * (1 - share))
            self.mean.add_(apart * share)
            self.count.copy_(total)
        self._derive()

    def _derive(self) -> None:
        self.shift.copy_(self.mean)
        self.scale.copy_(self.std)


class ObservationNormalizer(nn.Module):
    """Scaling of the float vectors in observations to mean 0 and variance 1, within ±10.

    Images, and what is one-hot encoded, stay as they are.

    Args:
        space: space of the observations.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        super().__init__()
        parts: Mapping[str, Any] = space.spaces if isinstance(space, spaces.Dict) else {"": space}
        # A list, since torch does not allow all keys as names of modules.
        self.keys = [key for key, part in parts.items() if _is_vector(part)]
        self.moments = nn.ModuleList([Moments(parts[key].shape) for key in self.keys])

    def forward(self, observations: ObservationTensor) -> ObservationTensor:
        """Return normalized observations ``(N, ...)``; as they are before the first update."""
        scaled = dict(by_key(observations))
        for key, moments in zip(self.keys, self.moments, strict=True):
            assert isinstance(moments, Moments)
            normal = ((scaled[key] - moments.shift) / moments.scale).clamp(-_LARGEST, _LARGEST)
            scaled[key] = torch.where(moments.count > 0, normal, scaled[key])
        return scaled if isinstance(observations, dict) else scaled[""]

    def update(self, observations: Any, ranks: Ranks) -> None:
        """Add the observations ``(T, B, ...)`` of a rollout of all processes."""
        for key, moments in zip(self.keys, self.moments, strict=True):
            assert isinstance(moments, Moments)
            values = by_key(observations)[key]
            moments.update(values.reshape(-1, *values.shape[2:]), ranks)


def _is_vector(space: spaces.Space[Any]) -> bool:
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        return False
    return not is_image_space(space, normalized_image=True)

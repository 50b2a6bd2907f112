"""Features extractors for images and dicts that SB3's own extractors do not support."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    NatureCNN,
)
from torch import Tensor, nn

_NATURE_CNN_SIDE = 36  # smallest height and width for its three convolutions


class SmallCNN(BaseFeaturesExtractor):
    """Convolutional network for images of any size, meant for those below NatureCNN's 36 x 36.

    Three layers of 3 x 3 kernels with padding, the last two with stride 2, and a linear layer.

    Args:
        observation_space: image space (channels, height, width).
        features_dim: number of features. Default 256.
    """

    def __init__(self, observation_space: spaces.Box, features_dim: int = 256) -> None:
        super().__init__(observation_space, features_dim)
        channels, *size = observation_space.shape
        height, width = ((side + 3) // 4 for side in size)  # halved twice, rounded up
        self.cnn = nn.Sequential(
            nn.Conv2d(channels, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.linear = nn.Sequential(nn.Linear(64 * height * width, features_dim), nn.ReLU())

    def forward(self, observations: Tensor) -> Tensor:
        """Return features ``(N, features_dim)`` of images ``(N, channels, height, width)``."""
        features: Tensor = self.linear(self.cnn(observations))
        return features


class DictExtractor(CombinedExtractor):
    """SB3's CombinedExtractor for any keys and for images of any size.

    torch does not allow some keys as names of modules, such as "a.b" and "type".

    Args:
        observation_space: the dict space; all parts except images are flattened.
        cnn_output_dim: number of features of each image. Default 256.
        normalized_image: treat every Box of three dimensions as an image, whatever its dtype and bounds.
    """

    def __init__(
        self, observation_space: spaces.Dict, cnn_output_dim: int = 256, normalized_image: bool = False
    ) -> None:
        parts: list[nn.Module] = []
        features = 0
        for space in observation_space.spaces.values():
            if is_image_space(space, normalized_image=normalized_image):
                assert isinstance(space, spaces.Box)
                kind: Any = image_extractor(space)
                options = {"normalized_image": normalized_image} if kind is NatureCNN else {}
                parts.append(kind(space, cnn_output_dim, **options))
                features += cnn_output_dim
            else:
                parts.append(nn.Flatten())
                features += get_flattened_obs_dim(space)
        super(CombinedExtractor, self).__init__(observation_space, features)
        self.names = tuple(observation_space.spaces)
        self.parts = nn.ModuleList(parts)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Return features ``(N, features_dim)`` of all parts, in the order of the space."""
        return torch.cat(
            [part(observations[name]) for name, part in zip(self.names, self.parts, strict=True)], dim=1
        )


def image_extractor(space: spaces.Box) -> type[BaseFeaturesExtractor]:
    """Return NatureCNN if the image is large enough for it, otherwise :class:`SmallCNN`."""
    return NatureCNN if min(space.shape[1:]) >= _NATURE_CNN_SIDE else SmallCNN

"""The one-shot classifier: convolutions embed an image, and a plastic layer binds it to its label."""

from itertools import pairwise
from math import isfinite

import torch
from torch import Tensor, nn

from plasticrl.agents.supervised.network import EpisodeNetwork, EpisodeTensors
from plasticrl.arguments import MOST_SIZE, check_whole
from plasticrl.nn import PlasticLinear
from plasticrl.nn.core import check_shape
from plasticrl.nn.factory import PlasticName, alpha_mode
from plasticrl.rules import RuleLike
from plasticrl.state import TraceState

_CONVOLUTIONS = 4
_SMALLEST_IMAGE = 31  # leaves one position after four convolutions
_LABEL_GAIN = 1000.0  # makes the label decide the softmax


class OneShotNetwork(EpisodeNetwork):
    """Network of experiment 3 (Miconi, Clune & Stanley 2018), for images with labels.

    Four convolutions, 3 x 3, stride 2, tanh, without padding, are followed by
    :class:`plasticrl.PlasticLinear` from the features to the classes. A label shown with the image adds
    1,000 to the logit of its class. With five classes and 31 x 31 images there are 64 features and 112,065
    parameters, including eta.

    Args:
        n_classes: N.
        core: ``"plastic"`` (default; one alpha per connection), ``"homogeneous"`` (one alpha for all) or
            ``"rnn"`` (not plastic, so that it cannot bind labels).
        image_size: side of the square images, at least 31 (default).
        n_filters: number of filters of each convolution. Default 64.
        input_mean: subtracted from the pixels. Default 0.
        input_std: divides the difference. Default 1.
        rule, eta, bound_eta, init_scale, alpha_scale: as in :class:`plasticrl.PlasticLinear`. The defaults
            are those of the paper: Oja, 0.01, unbounded, 0.01, 0.01.

    Raises:
        ValueError: an argument is outside the range given above.
    """

    core: PlasticLinear

    def __init__(
        self,
        n_classes: int,
        core: PlasticName = "plastic",
        *,
        image_size: int = _SMALLEST_IMAGE,
        n_filters: int = 64,
        input_mean: float = 0.0,
        input_std: float = 1.0,
        rule: RuleLike = "oja",
        eta: float = 0.01,
        bound_eta: bool = False,
        init_scale: float = 0.01,
        alpha_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.n_classes = check_whole("n_classes", n_classes, least=1, most=MOST_SIZE)
        self.image_size = image_size = check_whole("image_size", image_size, least=1, most=MOST_SIZE)
        if image_size < _SMALLEST_IMAGE:
            raise ValueError(f"image_size must be at least {_SMALLEST_IMAGE}, not {image_size}")
        if not (isfinite(input_mean) and isfinite(input_std) and input_std > 0):
            raise ValueError(
                f"input_mean must be finite and input_std finite and above 0, "
                f"not {input_mean} and {input_std}"
            )
        self.input_mean, self.input_std = input_mean, input_std
        n_filters = check_whole("n_filters", n_filters, least=1, most=MOST_SIZE)
        channels = [1] + _CONVOLUTIONS * [n_filters]
        self.embedding = nn.Sequential()
        side = image_size
        for before, after in pairwise(channels):
            self.embedding.extend([nn.Conv2d(before, after, 3, stride=2), nn.Tanh()])
            side = (side - 1) // 2
        self.embedding.append(nn.Flatten())
        # channels_last makes a training step on the CPU up to a third faster.
        nn.utils.convert_conv2d_weight_memory_format(self.embedding, torch.channels_last)
        self.core = PlasticLinear(
            n_filters * side**2,
            self.n_classes,
            alpha=alpha_mode(core),
            rule=rule,
            eta=eta,
            bound_eta=bound_eta,
            init_scale=init_scale,
            alpha_scale=alpha_scale,
        )

    def embed(self, images: Tensor, picture: Tensor | None = None) -> Tensor:
        """Compute the features of images ``(T, B, size, size)`` in one pass: ``(T, B, features)``.

        Args:
            images: the images.
            picture: ``(T, B)``, equal numbers for equal images; each distinct image is then computed once.

        Raises:
            ValueError: ``picture`` has another shape.
        """
        steps, batch = images.shape[:2]
        if picture is not None:
            check_shape("picture", picture, (steps, batch))
        flat = images.reshape(steps * batch, 1, *images.shape[2:])
        if picture is not None:
            distinct, place = torch.unique(picture.flatten(), return_inverse=True)
            flat = flat[torch.empty_like(distinct).scatter_(0, place, torch.arange(len(place)).to(place))]
        flat = (flat - self.input_mean) / self.input_std
        features: Tensor = self.embedding(flat.contiguous(memory_format=torch.channels_last))
        return (features if picture is None else features[place]).view(steps, batch, -1)

    def forward(self, episode: EpisodeTensors) -> tuple[Tensor, TraceState]:
        """Run the network on B episodes; see :class:`EpisodeNetwork`. The outputs are log-probabilities."""
        images, size = episode.inputs, self.image_size
        if images.ndim != 4 or tuple(images.shape[2:]) != (size, size) or 0 in images.shape:
            raise ValueError(
                f"inputs must be (T, B, {size}, {size}) with T, B >= 1, not {tuple(images.shape)}"
            )
        if episode.labels is None:
            raise ValueError("the episode has no labels: this network is for classification tasks")
        check_shape("labels", episode.labels, tuple(images.shape[:2]))
        if int(episode.labels.max()) >= self.n_classes:
            raise ValueError(f"labels must be below {self.n_classes}, not {int(episode.labels.max())}")
        labelled = episode.labels[..., None] == torch.arange(
            self.n_classes, device=images.device
        )  # -1 matches no class
        logits, state = self.core.sums(self.embed(images, episode.picture), drive=_LABEL_GAIN * labelled)
        return logits.log_softmax(-1), state

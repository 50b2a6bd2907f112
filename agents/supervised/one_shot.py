"""The one-shot classifier: convolutions embed an image, and a plastic layer binds it to its label."""

from itertools import pairwise
from math import inf, isfinite

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plasticrl.agents.supervised.network import EpisodeNetwork, EpisodeTensors
from plasticrl.arguments import MOST_SIZE, check_flag, check_whole
from plasticrl.nn import PlasticLinear
from plasticrl.nn.core import check_shape
from plasticrl.nn.factory import PlasticName, alpha_mode
from plasticrl.nn.notices import warn_of_free_eta
from plasticrl.rules import Oja, RuleLike
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

    After the last label of a batch the trace is only read: for one query at the end, as in the paper, this
    makes no difference, and of several each is answered as if it were the only one. A class of which an
    episode shows no label is not among its answers.

    Args:
        n_classes: N.
        core: ``"plastic"`` (default; one alpha per connection), ``"homogeneous"`` (one alpha for all) or
            ``"rnn"`` (not plastic, so that it cannot bind labels).
        image_size: side of the square images, at least 31 (default).
        n_filters: number of filters of each convolution. Default 64.
        input_mean: subtracted from the pixels. Default 0.
        input_std: divides the difference. Default 1.
        normalize_features: scale the features of each image to the norm ``sqrt(features)``, so that what
            the trace recalls depends on their direction alone. Default False, as in the paper.
        batch_norm: normalize over the batch after each convolution, which then has no bias, and replace the
            first three tanh by ReLU and the last by nothing. Default False.
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
        normalize_features: bool = False,
        batch_norm: bool = False,
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
        self.normalize_features = check_flag("normalize_features", normalize_features)
        check_flag("batch_norm", batch_norm)
        n_filters = check_whole("n_filters", n_filters, least=1, most=MOST_SIZE)
        channels = [1] + _CONVOLUTIONS * [n_filters]
        self.embedding = nn.Sequential()
        side = image_size
        for number, (before, after) in enumerate(pairwise(channels), 1):
            self.embedding.append(nn.Conv2d(before, after, 3, stride=2, bias=not batch_norm))
            self.embedding.append(nn.BatchNorm2d(after) if batch_norm else nn.Tanh())
            if batch_norm and number < _CONVOLUTIONS:
                self.embedding.append(nn.ReLU())
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

    def embed(self, images: Tensor) -> Tensor:
        """Compute the features of images ``(..., size, size)`` in one pass: ``(..., features)``."""
        flat = (images.reshape(-1, 1, *images.shape[-2:]) - self.input_mean) / self.input_std
        features: Tensor = self.embedding(flat.contiguous(memory_format=torch.channels_last))
        if self.normalize_features:
            features = F.normalize(features, dim=-1) * features.shape[-1] ** 0.5
        return features.view(*images.shape[:-2], -1)

    def forward(self, episode: EpisodeTensors) -> tuple[Tensor, TraceState]:
        """Run the network on B episodes; see :class:`EpisodeNetwork`. The outputs are log-probabilities."""
        labels = self._checked(episode)
        features = self.embed(episode.inputs)
        if episode.picture is not None:
            features = features[episode.picture]
        numbers = torch.arange(1, len(labels) + 1, device=labels.device)
        steps = int((numbers * (labels >= 0).any(1)).max())  # up to the last label; 0 without any
        told = labels[:steps, :, None] == torch.arange(self.n_classes, device=labels.device)
        drive = (_LABEL_GAIN * told).to(features.dtype)  # -1 matches no class
        if type(self.core.plasticity.rule) is Oja and told.any(-1).all():
            sums, state = [drive], self._bound(features[:steps], told)
        elif steps:
            shown, state = self.core.sums(features[:steps], drive=drive)
            sums = [shown]
        else:
            sums, state = [], self.core.initial_state(labels.shape[1])
        if steps < len(labels):
            asked = self.core.recall(features[steps:], state)
            sums.append(asked.masked_fill(~told.any(0), -inf) if steps else asked)
        return torch.cat(sums).log_softmax(-1), state

    def _bound(self, features: Tensor, told: Tensor) -> TraceState:
        """Return the trace that Oja's rule has stored after labels at all steps, in closed form.

        A label makes the output exactly one-hot, so that a row decays by 1 - eta only when its own class is
        shown: after one image x it is eta x.

        Args:
            features: ``(T, B, features)``.
            told: bool ``(T, B, N)``, the labels, one-hot.
        """
        plasticity = self.core.plasticity
        if plasticity.alpha is None:
            return self.core.initial_state(features.shape[1])
        warn_of_free_eta(plasticity, plasticity.free_eta)
        eta, shown = plasticity.eta, told.to(self.core.weight.dtype)
        later = shown.flip(0).cumsum(0).flip(0) - shown
        stored = eta * (1 - eta) ** later * shown
        with torch.autocast(features.device.type, enabled=False):  # the trace has the dtype of the weights
            return TraceState(torch.einsum("tbn,tbf->bnf", stored, features.to(stored.dtype)))

    def _checked(self, episode: EpisodeTensors) -> Tensor:
        """Return the labels ``(T, B)``.

        Raises:
            ValueError: the episodes are not of a task that the network was made for.
        """
        images, size = episode.inputs, self.image_size
        dims = 4 if episode.picture is None else 3
        if images.ndim != dims or tuple(images.shape[-2:]) != (size, size) or 0 in images.shape:
            wanted = f"(T, B, {size}, {size}) with T, B >= 1" if dims == 4 else f"(P, {size}, {size})"
            raise ValueError(f"inputs must be {wanted}, not {tuple(images.shape)}")
        if episode.labels is None:
            raise ValueError("the episode has no labels: this network is for classification tasks")
        shape = tuple((images if episode.picture is None else episode.picture).shape[:2])
        check_shape("labels", episode.labels, shape)
        if int(episode.labels.max()) >= self.n_classes:
            raise ValueError(f"labels must be below {self.n_classes}, not {int(episode.labels.max())}")
        return episode.labels

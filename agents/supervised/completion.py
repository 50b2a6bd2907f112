"""Networks that complete vectors: the plastic one and the LSTM."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from plasticrl.agents.supervised.network import EpisodeNetwork, EpisodeTensors
from plasticrl.arguments import MOST_SIZE, check_whole
from plasticrl.nn import LSTM, Init, LSTMState, PlasticRNN
from plasticrl.nn.core import check_shape
from plasticrl.nn.factory import PlasticName, alpha_mode
from plasticrl.ops.scan import Backend
from plasticrl.rules import RuleLike
from plasticrl.state import PlasticState


class CompletionNetwork(EpisodeNetwork):
    """Fully recurrent network of experiments 1 and 2 (Miconi, Clune & Stanley 2018).

    It has one neuron for each of the D elements, one that is 1 at every step (the bias), and
    ``extra_neurons`` without input. If the episode has a ``clamp``, neurons are clamped to their input;
    otherwise the input is added to their drive. With full plasticity and 1,000 bits it has 2 x 1,001²
    parameters, plus eta.

    Args:
        n_bits: D, number of elements of the vectors to complete.
        core: ``"plastic"`` (default; one alpha per connection), ``"homogeneous"`` (one alpha for all) or
            ``"rnn"`` (not plastic).
        extra_neurons: default 0. The non-plastic network of the paper has 2,000.
        rule, eta, bound_eta, init, init_scale, backend: as in :class:`plasticrl.PlasticRNN`. The defaults are
            those of the paper's programs: Hebb, 0.01, unbounded, and w and alpha initialised as 0.01 N(0, 1).

    Raises:
        ValueError: an argument is outside the range given above.
    """

    core: PlasticRNN

    def __init__(
        self,
        n_bits: int,
        core: PlasticName = "plastic",
        *,
        extra_neurons: int = 0,
        rule: RuleLike = "hebb",
        eta: float = 0.01,
        bound_eta: bool = False,
        init: Init = "normal",
        init_scale: float = 0.01,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        self.n_bits = check_whole("n_bits", n_bits, least=1, most=MOST_SIZE)
        self.extra_neurons = check_whole("extra_neurons", extra_neurons, least=0, most=MOST_SIZE)
        self.core = PlasticRNN(
            None,
            self.n_bits + 1 + self.extra_neurons,
            alpha=alpha_mode(core),
            rule=rule,
            eta=eta,
            bound_eta=bound_eta,
            init=init,
            init_scale=init_scale,
            backend=backend,
        )

    def forward(self, episode: EpisodeTensors) -> tuple[Tensor, PlasticState]:
        """Run the network on B episodes; see :class:`EpisodeNetwork`."""
        check_completion(episode, self.n_bits)
        drive, clamp = self._with_bias(episode)
        outputs, state = self.core(drive, clamp=clamp)
        return outputs[..., : self.n_bits], state

    def _with_bias(self, episode: EpisodeTensors) -> tuple[Tensor, Tensor]:
        """Return drive and clamp of all neurons, ``(T, B, D + 1 + extra_neurons)``."""
        bias = self.n_bits
        others = (0, 1 + self.extra_neurons)
        drive = pad(episode.inputs, others)
        drive[..., bias] = 1
        known = torch.zeros_like(episode.inputs, dtype=torch.bool) if episode.clamp is None else episode.clamp
        clamp = pad(known, others)
        clamp[..., bias] = True
        return drive, clamp


def check_completion(episode: EpisodeTensors, n_bits: int) -> None:
    """Raise ValueError unless the episode is a completion of vectors of size ``n_bits``.

    Raises:
        ValueError: inputs or clamp have another shape; the message gives it.
    """
    inputs = episode.inputs
    if inputs.ndim != 3 or inputs.shape[-1] != n_bits or len(inputs) < 1:
        raise ValueError(f"inputs must be (T, B, {n_bits}) with T >= 1, not {tuple(inputs.shape)}")
    if episode.clamp is not None:
        check_shape("clamp", episode.clamp, tuple(inputs.shape))


class LSTMCompletion(EpisodeNetwork):
    """``y = tanh(W h + b)`` of an LSTM's hidden state h, with clamped elements copied from the input.

    If the episode has a ``clamp``, the network need not learn to copy its input; neither need the plastic
    network. Without a ``clamp`` (``PatternsTask`` with an ``input_gain``), all elements come from the
    readout, and it must learn to copy.

    Args:
        n_bits: D, number of elements of the vectors to complete.
        hidden_size: number of cells. Default 2,000, as in the paper's comparison on 50 bits.

    Raises:
        ValueError: a size is not an integer above 0.
    """

    core: LSTM

    def __init__(self, n_bits: int, *, hidden_size: int = 2000) -> None:
        super().__init__()
        self.n_bits = check_whole("n_bits", n_bits, least=1, most=MOST_SIZE)
        self.core = LSTM(self.n_bits, hidden_size)
        self.readout = nn.Linear(hidden_size, self.n_bits)

    def forward(self, episode: EpisodeTensors) -> tuple[Tensor, LSTMState]:
        """Run the network on B episodes; see :class:`EpisodeNetwork`."""
        check_completion(episode, self.n_bits)
        hidden, state = self.core(episode.inputs)
        outputs = torch.tanh(self.readout(hidden))
        if episode.clamp is not None:
            outputs = torch.where(episode.clamp, episode.inputs, outputs)
        return outputs, state

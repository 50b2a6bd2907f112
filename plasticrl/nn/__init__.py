"""The plastic networks and their baselines, behind one interface."""

from plasticrl.nn.core import Core, FeedForward, NoState, State
from plasticrl.nn.gated import GRU, LSTM, GRUState, LSTMState
from plasticrl.nn.plastic_gated import PlasticGRU, PlasticGRUCell, PlasticLSTM, PlasticLSTMCell
from plasticrl.nn.plastic_linear import PlasticLinear
from plasticrl.nn.plastic_rnn import PlasticRNN, PlasticRNNCell
from plasticrl.nn.plasticity import AlphaMode, Init, Plasticity

__all__ = [
    "GRU",
    "LSTM",
    "AlphaMode",
    "Core",
    "FeedForward",
    "GRUState",
    "Init",
    "LSTMState",
    "NoState",
    "PlasticGRU",
    "PlasticGRUCell",
    "PlasticLSTM",
    "PlasticLSTMCell",
    "PlasticLinear",
    "PlasticRNN",
    "PlasticRNNCell",
    "Plasticity",
    "State",
]

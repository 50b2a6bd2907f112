"""Learners in the shape of Stable-Baselines3."""

from plasticrl.agents.a2c.recurrent_a2c import RecurrentA2C
from plasticrl.agents.checkpoint.tensor_file import TensorFileError
from plasticrl.agents.common.finite_checks import NonFiniteError
from plasticrl.agents.recurrent.policies import PlasticPolicy
from plasticrl.agents.supervised.evaluation import EpisodeEvaluation, evaluate_predictor
from plasticrl.agents.supervised.learner import EpisodeLearner
from plasticrl.agents.supervised.network import EpisodeNetwork
from plasticrl.agents.supervised.networks import NETWORK_NAMES, NetworkName, make_network
from plasticrl.agents.supervised.pictures import EpisodePictures
from plasticrl.nn.factory import CORE_NAMES, CoreName, make_core

__all__ = [
    "CORE_NAMES",
    "NETWORK_NAMES",
    "CoreName",
    "EpisodeEvaluation",
    "EpisodeLearner",
    "EpisodeNetwork",
    "EpisodePictures",
    "NetworkName",
    "NonFiniteError",
    "PlasticPolicy",
    "RecurrentA2C",
    "TensorFileError",
    "evaluate_predictor",
    "make_core",
    "make_network",
]

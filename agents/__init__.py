"""Learners in the shape of Stable-Baselines3."""

from plasticrl.agents.cores import CORE_NAMES, CoreName, make_core
from plasticrl.agents.episode_evaluation import EpisodeEvaluation, evaluate_predictor
from plasticrl.agents.episode_learner import EpisodeLearner
from plasticrl.agents.episode_network import EpisodeNetwork
from plasticrl.agents.episode_pictures import EpisodePictures
from plasticrl.agents.finite_checks import NonFiniteError
from plasticrl.agents.networks import NETWORK_NAMES, NetworkName, make_network
from plasticrl.agents.policy import PlasticPolicy
from plasticrl.agents.recurrent_a2c import RecurrentA2C
from plasticrl.agents.tensor_file import TensorFileError

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

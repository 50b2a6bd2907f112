"""Learners in the shape of Stable-Baselines3."""

from plasticrl.agents.cores import CORE_NAMES, CoreName, make_core
from plasticrl.agents.policy import PlasticPolicy
from plasticrl.agents.recurrent_a2c import RecurrentA2C

__all__ = ["CORE_NAMES", "CoreName", "PlasticPolicy", "RecurrentA2C", "make_core"]

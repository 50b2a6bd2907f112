"""Settings of the paper's maze, in which neither observations nor returns nor advantages are normalized."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

AGENT: Mapping[str, Any] = MappingProxyType(
    {
        "gamma": 0.9,
        "gae_lambda": 1.0,
        "concentration_coef": 0.1,
        "vf_coef": 0.03,
        "max_grad_norm": 1.0,
        "normalize_advantage": False,
    }
)
POLICY: Mapping[str, Any] = MappingProxyType({"normalize_observations": False, "normalize_returns": False})

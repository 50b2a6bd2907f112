"""The policy under its public module name, which programs import it from."""

from plasticrl.agents.recurrent.policies import PlasticPolicy

__all__ = ["PlasticPolicy"]

"""Rules of plasticity: how the trace changes in each step."""

from plasticrl.rules.adjoint_rules import (
    AdjointRule,
    FastWeights,
    Retroactive,
    ShortTermPlasticity,
    UpdateArguments,
)
from plasticrl.rules.hebbian import ClippedHebb, Delta, Hebb, HebbianRule, Oja
from plasticrl.rules.registry import (
    RULES,
    RuleLike,
    get_rule,
    has_adjoint,
    has_coefficients,
    has_numbers,
    next_trace,
)
from plasticrl.rules.rule import Rule, RuleParameter

__all__ = [
    "RULES",
    "AdjointRule",
    "ClippedHebb",
    "Delta",
    "FastWeights",
    "Hebb",
    "HebbianRule",
    "Oja",
    "Retroactive",
    "Rule",
    "RuleLike",
    "RuleParameter",
    "ShortTermPlasticity",
    "UpdateArguments",
    "get_rule",
    "has_adjoint",
    "has_coefficients",
    "has_numbers",
    "next_trace",
]

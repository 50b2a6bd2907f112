"""The rules by name, what the backends can do with one, and its checked update."""

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from plasticrl.rules.adjoint_rules import AdjointRule, FastWeights, Retroactive, ShortTermPlasticity
from plasticrl.rules.hebbian import ClippedHebb, Delta, Hebb, HebbianRule, Oja
from plasticrl.rules.rule import Rule

_Named: TypeAlias = (
    type[Hebb]
    | type[Oja]
    | type[ClippedHebb]
    | type[Delta]
    | type[Retroactive]
    | type[ShortTermPlasticity]
    | type[FastWeights]
)
RULES: dict[str, _Named] = {
    rule.name: rule for rule in (Hebb, Oja, ClippedHebb, Delta, Retroactive, ShortTermPlasticity, FastWeights)
}
RuleLike: TypeAlias = Rule | str


def get_rule(rule: RuleLike) -> Rule:
    """Return the rule with a name (``"hebb"``, ``"oja"``, ... in ``RULES``), or a given rule.

    Raises:
        ValueError: the name is unknown.
        TypeError: ``rule`` is neither a name nor a rule.
    """
    if isinstance(rule, str):
        if rule not in RULES:
            raise ValueError(f"unknown rule {rule!r}: choose one of {', '.join(map(repr, RULES))}")
        return RULES[rule]()
    if not isinstance(rule, Rule):
        given = rule.__name__ if isinstance(rule, type) else f"a {type(rule).__name__}"
        raise TypeError(f"rule must be a name or an object of a Rule's class, such as Oja(), not {given}")
    return rule


def has_coefficients(rule: Rule) -> bool:
    """Return True if the rule's update is that of :class:`HebbianRule`, of whatever coefficients."""
    inherited = isinstance(rule, HebbianRule) and type(rule).update is HebbianRule.update
    return inherited and rule.matrices == 1 and not rule.parameters


def has_numbers(rule: Rule) -> bool:
    """Return True if the rule's coefficients are those of :class:`HebbianRule`, which the kernels compute."""
    return isinstance(rule, HebbianRule) and has_coefficients(rule) and rule.has_numbers


def has_adjoint(rule: Rule) -> bool:
    """Return True if the adjoint of the rule's update is known, of coefficients or of its own."""
    return has_coefficients(rule) or (isinstance(rule, AdjointRule) and rule.has_adjoint)


def next_trace(
    rule: Rule,
    trace: Tensor,
    pre: Tensor,
    post: Tensor,
    eta: Tensor,
    modulation: Tensor | None = None,
    parameters: tuple[Tensor, ...] = (),
) -> Tensor:
    """Compute the trace after one step; arguments as for :meth:`Rule.update`.

    Raises:
        TypeError: a rule of the user's own returns no tensor.
        ValueError: it returns one of another shape, dtype or device; the text names the rule and both.
    """
    update: Callable[..., Tensor] = rule.update  # a rule without need of them may lack the last arguments
    given = (trace, pre, post, eta)
    if modulation is None and not parameters:
        updated = update(*given)
    else:
        updated = update(*given, modulation, *parameters)
    if type(rule) in RULES.values():
        return updated
    name = f"{type(rule).__name__}.update"
    if not isinstance(updated, Tensor):
        raise TypeError(
            f"{name} must return the new trace, a tensor {tuple(trace.shape)}, not {_kind(updated)}"
        )
    for what in ("shape", "dtype", "device"):
        wanted, found = getattr(trace, what), getattr(updated, what)
        if found != wanted:
            raise ValueError(
                f"{name} must return a trace of {what} {_shown(wanted)}, as the one given, not "
                f"{_shown(found)} (trace {tuple(trace.shape)}, pre {tuple(pre.shape)}, "
                f"post {tuple(post.shape)})"
            )
    return updated


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _shown(value: object) -> object:
    return tuple(value) if isinstance(value, tuple) else value

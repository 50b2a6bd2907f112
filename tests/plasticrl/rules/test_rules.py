"""What each rule claims: its formula in closed form, its limit, its bound."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from math import inf, sqrt
from typing import Any, ClassVar

import pytest
import torch
from recurrences import MODULATIONS, make_case
from torch import Tensor

from plasticrl.nn import PlasticGRUCell, PlasticLinear, PlasticLSTM, PlasticRNN, PlasticRNNCell
from plasticrl.ops import plastic_scan, plastic_step_
from plasticrl.rules import (
    RULES,
    ClippedHebb,
    Delta,
    FastWeights,
    Hebb,
    HebbianRule,
    Oja,
    Retroactive,
    Rule,
    ShortTermPlasticity,
    get_rule,
)
from plasticrl.state import PlasticState


@dataclass(frozen=True)
class Mixed(HebbianRule):
    """Numbers of the user's own: every coefficient, and a limit."""

    limit: float = 0.4
    name: ClassVar[str] = "mixed"
    formula: ClassVar[str] = "H <- clip((1 - eta (0.3 + 0.7 m v^2)) H + eta m (v - 0.5 H k) k^T)"
    citation: ClassVar[str] = "none"
    leak: ClassVar[float] = 0.3
    normalisation: ClassVar[float] = 0.7
    correction: ClassVar[float] = 0.5
    scaled_key: ClassVar[bool] = True


class Cubed(HebbianRule):
    """Coefficients of the user's own."""

    name: ClassVar[str] = "cubed"
    formula: ClassVar[str] = "H <- (1 - eta m q^2) H + eta m sin(v q) x^T"
    citation: ClassVar[str] = "none"

    def coefficients(
        self, value: Tensor, recalled: Tensor, eta: Tensor, modulation: Tensor
    ) -> tuple[Tensor, Tensor]:
        rate = eta * modulation
        return 1 - rate * recalled.square(), rate * torch.sin(value * recalled + value)


ALL_RULES = [Hebb(), Oja(), ClippedHebb(), ClippedHebb(limit=0.3), Delta(), Mixed()]
EVERY_RULE = pytest.mark.parametrize("rule", ALL_RULES, ids=repr)


def activities(*shape: int, seed: int = 0) -> torch.Tensor:
    """Uniform in [-1, 1], as tanh neurons give them."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@EVERY_RULE
@pytest.mark.parametrize("modulated", [False, True])
def test_one_step_is_the_published_formula_element_by_element(rule: Rule, modulated: bool) -> None:
    batch, n_post, n_pre, eta = 2, 3, 4, 0.2
    trace, pre, post = activities(batch, n_post, n_pre), activities(batch, n_pre), activities(batch, n_post)
    modulation = activities(batch, n_post, seed=3)
    new = rule.update(trace, pre, post, scalar(eta), modulation if modulated else None)
    assert new.shape == trace.shape
    for b in range(batch):
        for j in range(n_post):
            m = modulation[b, j].item() if modulated else 1.0
            recalled = (trace[b, j] @ pre[b]).item() / sqrt(n_pre)
            for i in range(n_pre):
                h, x, y = trace[b, j, i].item(), pre[b, i].item(), post[b, j].item()
                k = x / sqrt(n_pre)
                mixed = (1 - eta * (0.3 + 0.7 * m * y * y)) * h + eta * m * (y - 0.5 * recalled) * k
                expected = {
                    "hebb": (1 - eta) * h + eta * m * x * y,
                    "oja": h + eta * m * y * (x - y * h),
                    "clipped": max(-rule.bound, min(rule.bound, h + eta * m * x * y)),
                    "delta": h + eta * m * (y - recalled) * k,
                    "mixed": max(-rule.bound, min(rule.bound, mixed)),
                }[rule.name]
                assert new[b, j, i].item() == pytest.approx(expected, abs=1e-14)


def test_delta_recalls_what_was_stored_last_and_every_pair_of_orthonormal_keys() -> None:
    """With eta 1 and keys of norm 1, whatever the trace held for other keys or other values of this one."""
    n, delta, trace = 6, Delta(), activities(2, 3, 6)
    keys = torch.linalg.qr(activities(n, n, seed=1)).Q
    values = activities(n, 2, 3, seed=2)
    for k, key in enumerate(keys):
        if k:  # stored with another value first
            trace = delta.update(trace, (sqrt(n) * key).expand(2, n), values[k - 1], scalar(1.0))
        trace = delta.update(trace, (sqrt(n) * key).expand(2, n), values[k], scalar(1.0))
        torch.testing.assert_close(trace @ key, values[k])
    torch.testing.assert_close((trace @ keys.T).permute(2, 0, 1), values)
    slanted = torch.nn.functional.normalize(activities(n, seed=3), dim=0)
    for value in values[:2]:
        trace = delta.update(trace, (sqrt(n) * slanted).expand(2, n), value, scalar(1.0))
        torch.testing.assert_close(trace @ slanted, value)


def test_delta_goes_the_share_eta_m_of_the_way_to_the_value() -> None:
    n, trace, value = 4, activities(1, 3, 4), activities(1, 3, seed=1)
    key, modulation = activities(1, n, seed=2).sign() / sqrt(n), activities(1, 3, seed=4)
    before = (trace @ key[0])[0]
    after = (Delta().update(trace, sqrt(n) * key, value, scalar(0.3), modulation) @ key[0])[0]
    torch.testing.assert_close(after, torch.lerp(before, value[0], 0.3 * modulation[0]))


@pytest.mark.parametrize("rule", [Oja(), ClippedHebb(), Delta()], ids=repr)
def test_a_modulation_of_0_stores_nothing(rule: Rule) -> None:
    trace, zero = activities(2, 3, 4), torch.zeros(2, 3, dtype=torch.float64)
    zero[0, 1] = 1.0
    new = rule.update(trace, activities(2, 4, seed=1), activities(2, 3, seed=2), scalar(0.5), zero)
    changed = (new != trace).any(-1)
    assert torch.equal(changed, zero.bool())


def test_a_modulation_of_0_leaves_only_the_decay_of_hebb() -> None:
    trace, zero = activities(2, 3, 4), torch.zeros(2, 3, dtype=torch.float64)
    new = Hebb().update(trace, activities(2, 4, seed=1), activities(2, 3, seed=2), scalar(0.5), zero)
    torch.testing.assert_close(new, 0.5 * trace)


@pytest.mark.parametrize("rule", [*ALL_RULES, Cubed()], ids=lambda rule: rule.name)
@pytest.mark.parametrize("shape", [(2, 3), (2, 1), ()])
def test_the_adjoint_of_the_coefficients_is_autograds(rule: HebbianRule, shape: tuple[int, ...]) -> None:
    """For a modulation of each neuron, one for each net, and none."""
    value, recalled, d_keep, d_gain = (activities(2, 3, seed=k) for k in range(4))
    eta, modulation = scalar(0.3), activities(*shape, seed=4)
    each = modulation.expand(2, 3).clone()  # the adjoint is that of every neuron's
    leaves = [leaf.requires_grad_() for leaf in (value, recalled, eta, each)]
    results = rule.coefficients(*leaves)
    expected = torch.autograd.grad(results, leaves, (d_keep, d_gain), materialize_grads=True)
    with torch.no_grad():
        found = rule.pull_back(value, recalled, eta, modulation, d_keep, d_gain)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("rule", "backend"), [(Mixed(), "numba"), (Mixed(), "adjoint"), (Cubed(), "adjoint")]
)
@pytest.mark.parametrize("modulation", ["none", "tanh", "one sigmoid"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_coefficients_of_the_users_own_run_on_the_fast_backends(
    rule: HebbianRule, backend: str, modulation: str, cell: str
) -> None:
    dtype = torch.float32 if backend == "numba" else torch.float64
    case = make_case(17, 2, 7, cell=cell, rule=rule, modulation=modulation, eta=0.4, dtype=dtype)
    expected, gradients = case.run(torch.float64, "reference")
    results, found = case.run(dtype, backend)
    options = {"rtol": 1e-5, "atol": 1e-5} if backend == "numba" else {}
    torch.testing.assert_close([one.double() for one in results], expected, **options)
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name].double(), gradient, **options)


def test_coefficients_of_the_users_own_are_not_for_the_kernels() -> None:
    with pytest.raises(ValueError, match=r"HebbianRule only, not of Cubed.*use 'adjoint', 'reference'"):
        make_case(3, 2, 5, rule=Cubed()).scan(backend="numba")
    outputs, _, trace = make_case(3, 2, 5, rule=Cubed()).scan()
    expected = make_case(3, 2, 5, rule=Cubed()).scan(backend="reference")
    torch.testing.assert_close([outputs, trace], [expected[0], expected[2]])


def test_hebb_is_the_exponential_running_average_of_the_products() -> None:
    steps, eta = 20, 0.15
    pre, post, start = activities(steps, 2, 4, seed=1), activities(steps, 2, 3, seed=2), activities(2, 3, 4)
    trace = start
    for x, y in zip(pre, post, strict=True):
        trace = Hebb().update(trace, x, y, scalar(eta))
    decay = (1 - eta) ** torch.arange(steps - 1, -1, -1, dtype=torch.float64)
    closed = (1 - eta) ** steps * start + eta * torch.einsum("t,tbj,tbi->bji", decay, post, pre)
    torch.testing.assert_close(trace, closed)


def test_oja_converges_to_the_unit_principal_direction() -> None:
    """For linear neurons y = H x every row of H goes there, whatever its start (up to the sign)."""
    n, rows = 4, 6
    directions = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(0)).double()).Q
    spread = torch.tensor([1.0, 0.3, 0.2, 0.1], dtype=torch.float64)  # standard deviations along them
    draws = torch.randn(4000, 1, n, generator=torch.Generator().manual_seed(1)).double()
    trace = activities(1, rows, n, seed=3)
    assert (trace[0] @ directions[:, 0]).abs().min() < 0.5  # it does not start there
    for x in (draws * spread) @ directions.T:
        trace = Oja().update(trace, x, (trace @ x.unsqueeze(-1)).squeeze(-1), scalar(0.005))
    norms = trace[0].norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms), atol=0.01, rtol=0)
    cosines = (trace[0] @ directions[:, 0]).abs() / norms
    assert cosines.min() > 0.999


@pytest.mark.parametrize("rule", [Hebb(), ClippedHebb(), ClippedHebb(limit=0.3)], ids=repr)
@pytest.mark.parametrize("eta", [0.01, 0.5, 1.0])
def test_the_trace_stays_in_its_bound(rule: Rule, eta: float) -> None:
    pre, post = activities(200, 8, 5, seed=4), activities(200, 8, 3, seed=5)
    pre[50:100], post[50:100] = 1.0, -1.0  # the hardest push
    trace, largest = torch.zeros(8, 3, 5, dtype=torch.float64), 0.0
    for x, y in zip(pre, post, strict=True):
        trace = rule.update(trace, x, y, scalar(eta))
        largest = max(largest, trace.abs().max().item())
    assert largest <= rule.bound
    if eta == 1.0:
        assert largest == rule.bound  # the bound is tight


def test_oja_has_no_bound_because_a_weak_output_hardly_decays_it() -> None:
    """H goes to x / y, here 1 / 0.02 = 50, with all activities in [-1, 1]."""
    assert Oja().bound == inf
    trace = torch.zeros(1, 1, 1, dtype=torch.float64)
    for _ in range(20_000):
        trace = Oja().update(trace, scalar(1.0)[None, None], scalar(0.02)[None, None], scalar(1.0))
    assert trace.item() == pytest.approx(50, rel=1e-3)


@EVERY_RULE
def test_the_trace_given_is_not_changed(rule: Rule) -> None:
    trace = activities(1, 3, 3)
    before = trace.clone()
    after = rule.update(trace, activities(1, 3), activities(1, 3, seed=1), scalar(0.5))
    assert torch.equal(trace, before)
    assert not torch.equal(after, before)


@EVERY_RULE
def test_eta_zero_changes_nothing(rule: Rule) -> None:
    trace = activities(1, 3, 3) * 0.3
    assert torch.equal(rule.update(trace, activities(1, 3), activities(1, 3), scalar(0.0)), trace)


def test_every_name_gives_its_rule() -> None:
    assert {name: get_rule(name) for name in RULES} == {
        "hebb": Hebb(),
        "oja": Oja(),
        "clipped": ClippedHebb(),
        "delta": Delta(),
        "retroactive": Retroactive(),
        "stp": ShortTermPlasticity(),
        "fast_weights": FastWeights(),
    }


@EVERY_RULE
def test_a_rule_object_is_taken_as_it_is(rule: Rule) -> None:
    assert get_rule(rule) is rule
    assert rule.formula
    assert rule.citation


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown rule 'bcm'.*'hebb', 'oja', 'clipped', 'delta'"):
        get_rule("bcm")


@pytest.mark.parametrize("wrong", [Hebb, None, 1.0])
def test_what_is_no_rule_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="name or an object"):
        get_rule(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [0.0, -1.0, inf, float("nan")])
def test_the_limit_of_the_clipped_rule_must_be_finite_and_positive(limit: float) -> None:
    with pytest.raises(ValueError, match="limit must be finite and above 0"):
        ClippedHebb(limit=limit)


def test_rules_are_frozen_equal_by_value_and_hashable() -> None:
    with pytest.raises(FrozenInstanceError):
        ClippedHebb().limit = 2.0  # type: ignore[misc]
    assert ClippedHebb(0.5) == ClippedHebb(0.5) != ClippedHebb(1.0)
    assert len({Hebb(), Hebb(), Oja(), ClippedHebb(), ClippedHebb()}) == 3


class Wrong(Rule):
    """A rule of the user's own that returns what it is given, and cannot be shown or hashed."""

    name: ClassVar[str] = "wrong"
    formula: ClassVar[str] = "H <- something else"
    citation: ClassVar[str] = "none"
    bound: ClassVar[float] = 1.0
    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __init__(self, returns: Callable[[Tensor], Any]) -> None:
        self.returns = returns

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    def update(self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor) -> Tensor:
        updated: Tensor = self.returns(trace)
        return updated


STATE = PlasticState(torch.zeros(2, 5), torch.zeros(2, 5, 5))
CALLS: dict[str, Callable[[Rule], Any]] = {
    "scan": lambda rule: plastic_scan(
        torch.ones(3, 2, 5), torch.zeros(5, 5), torch.ones(5, 5), torch.tensor(0.1), STATE, rule=rule
    ),
    "step": lambda rule: plastic_step_(
        torch.ones(2, 5), torch.zeros(5, 5), torch.ones(()), torch.tensor(0.1), STATE, rule=rule
    ),
    "rnn": lambda rule: PlasticRNN(None, 5, rule=rule)(torch.ones(3, 2, 5)),
    "cell": lambda rule: PlasticRNNCell(None, 5, rule=rule)(torch.ones(2, 5)),
    "lstm": lambda rule: PlasticLSTM(5, 5, rule=rule, modulation="none")(torch.ones(3, 2, 5)),
    "gru cell": lambda rule: PlasticGRUCell(5, 5, rule=rule, modulation="none")(torch.ones(2, 5)),
    "step of rnn": lambda rule: PlasticRNN(None, 5, rule=rule).step_(torch.ones(2, 5), STATE),
    "linear": lambda rule: PlasticLinear(5, 5, rule=rule)(torch.ones(3, 2, 5)),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("returns", "kind", "says"),
    [
        (lambda trace: None, TypeError, r"a tensor \(2, 5, 5\), not None"),
        (lambda trace: trace.numpy(), TypeError, r"a tensor \(2, 5, 5\), not a ndarray"),
        (lambda trace: 0.5, TypeError, r"not a float"),
        (lambda trace: (trace, trace), TypeError, r"not a tuple"),
        (lambda trace: trace[0], ValueError, r"shape \(2, 5, 5\), .*, not \(5, 5\)"),
        (lambda trace: trace.sum(), ValueError, r"shape \(2, 5, 5\), .*, not \(\)"),
        (lambda trace: trace.flatten(1), ValueError, r"not \(2, 25\) .*pre \(2, 5\), post \(2, 5\)"),
        (lambda trace: trace.double(), ValueError, r"dtype torch\.float32, .* not torch\.float64"),
        (lambda trace: trace.bool(), ValueError, r"not torch\.bool"),
        (lambda trace: trace.to("meta"), ValueError, r"device cpu, .* not meta"),
    ],
)
def test_what_a_rule_of_the_users_own_returns_is_checked(
    returns: Callable[[Tensor], Any], kind: type[Exception], says: str, call: str
) -> None:
    with pytest.raises(kind, match=rf"^Wrong\.update must return .*{says}") as error, torch.no_grad():
        CALLS[call](Wrong(returns))
    assert "\n" not in str(error.value)
    assert not any(part.any() for part in STATE)


@pytest.mark.parametrize("call", CALLS)
def test_a_rule_that_cannot_be_shown_compared_or_hashed_is_taken(call: str) -> None:
    CALLS[call](Wrong(lambda trace: trace * 1))


def test_a_backend_that_does_not_know_a_rule_names_its_class() -> None:
    rnn = PlasticRNN(None, 5, rule=Wrong(lambda trace: trace), backend="numba")
    with pytest.raises(ValueError, match="not of Wrong"):
        rnn(torch.ones(3, 2, 5))


def test_what_quacks_like_a_rule_is_none() -> None:
    class Quacks:
        name, update = "quacks", Hebb().update

        def __repr__(self) -> str:
            raise RuntimeError("no text")

    for call in CALLS.values():
        with pytest.raises(TypeError, match="object of a Rule's class, such as Oja\\(\\), not a Quacks"):
            call(Quacks())  # type: ignore[arg-type]


class Faded(Rule):
    """A rule of the user's own that takes a modulation."""

    name: ClassVar[str] = "faded"
    formula: ClassVar[str] = "H <- H / 2 + eta m y x^T"
    citation: ClassVar[str] = "none"
    bound: ClassVar[float] = 2.0

    def update(
        self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor, modulation: Tensor | None = None
    ) -> Tensor:
        m = torch.ones_like(post) if modulation is None else modulation
        assert m.shape == post.shape
        return trace / 2 + (eta * m * post).unsqueeze(-1) * pre.unsqueeze(-2)


@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_rule_of_the_users_own_gets_a_modulation_of_every_neuron(cell: str, modulation: str) -> None:
    """So that it may be written for that shape, also if one is for the net."""
    case = make_case(5, 2, 4, cell=cell, rule=Faded(), modulation=modulation)
    outputs, *state = case.scan()
    assert state[-1].shape == (2, 4, 4)
    assert outputs.isfinite().all()


@pytest.mark.parametrize("call", ["rnn", "lstm", "gru"])
def test_a_rule_of_four_arguments_is_not_given_a_modulation(call: str) -> None:
    """It was written before there was one: it works without, and Python says what is wrong with one."""
    rule = Wrong(lambda trace: trace * 1)
    make_case(5, 2, 4, cell=call, rule=rule).scan()
    with pytest.raises(TypeError, match="positional arguments"):
        make_case(5, 2, 4, cell=call, rule=rule, modulation="sigmoid").scan()

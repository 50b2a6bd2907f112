"""Rules with matrices or parameters of their own: formulas, closed forms, adjoints, layers, backends."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from recurrences import ADJOINT_RULES, MODULATIONS, make_case
from torch import Tensor

from plasticrl.nn import PlasticGRU, PlasticLinear, PlasticLSTM, PlasticRNN, PlasticRNNCell
from plasticrl.ops import plastic_scan
from plasticrl.rules import (
    AdjointRule,
    FastWeights,
    Hebb,
    Oja,
    Retroactive,
    Rule,
    RuleParameter,
    ShortTermPlasticity,
    UpdateArguments,
    has_adjoint,
)
from plasticrl.state import PlasticState

EVERY_RULE = pytest.mark.parametrize("rule", ADJOINT_RULES, ids=lambda rule: rule.name)


def activities(*shape: int, seed: int = 0) -> Tensor:
    """Uniform in [-1, 1], as tanh neurons give them."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def drawn(rule: Rule, batch: int, n_post: int, n_pre: int) -> UpdateArguments:
    shapes = [(n_post, n_pre) if one.each else () for one in rule.parameters]
    return UpdateArguments(
        activities(batch, rule.matrices * n_post, n_pre),
        activities(batch, n_pre, seed=1),
        activities(batch, n_post, seed=2),
        torch.tensor(0.3, dtype=torch.float64),
        activities(batch, n_post, seed=3),
        tuple(activities(*shape, seed=4 + k) for k, shape in enumerate(shapes)),
    )


@EVERY_RULE
@pytest.mark.parametrize("modulated", [False, True])
def test_one_step_is_the_published_formula_element_by_element(rule: Rule, modulated: bool) -> None:
    batch, n = 2, 3
    trace, pre, post, eta, modulation, own = drawn(rule, batch, n, n)
    new = rule.update(trace, pre, post, eta, modulation if modulated else None, *own)  # type: ignore[call-arg]
    assert new.shape == trace.shape
    for b in range(batch):
        for i in range(n):
            m, v = modulation[b, i].item() if modulated else 1.0, post[b, i].item()
            for j in range(n):
                h, x = trace[b, i, j].item(), pre[b, j].item()
                if isinstance(rule, Retroactive):
                    e = trace[b, n + i, j].item()
                    assert new[b, n + i, j].item() == pytest.approx(0.7 * e + 0.3 * v * x, abs=1e-14)
                    expected = max(-rule.limit, min(rule.limit, h + m * e))
                elif isinstance(rule, ShortTermPlasticity):
                    expected = own[0][i, j].item() * h + own[1][i, j].item() * m * v * x
                else:
                    expected = own[0].item() * h + 0.3 * m * v * post[b, j].item()
                assert new[b, i, j].item() == pytest.approx(expected, abs=1e-14)


@EVERY_RULE
def test_the_adjoint_of_the_update_is_autograds(rule: AdjointRule) -> None:
    now = drawn(rule, 3, 4, 4)
    leaves = [leaf.clone().requires_grad_() for leaf in (*now[:5], *now.parameters)]
    new = rule.advance(UpdateArguments(*leaves[:5], tuple(leaves[5:])))
    d_new = activities(*new.shape, seed=9)
    expected = torch.autograd.grad(new, leaves, d_new, materialize_grads=True)
    found = rule.adjoint(d_new, now)
    for ours, theirs in zip((*found[:5], *found.parameters), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_constant_modulation_moves_the_running_average_into_the_trace() -> None:
    """From zeros, E(t) is the average of Hebb's rule, and H the sum of m E(s) over s < t."""
    steps, eta, m = 12, torch.tensor(0.2, dtype=torch.float64), 0.4
    rule, pre, post = Retroactive(limit=1e6), activities(steps, 2, 3), activities(steps, 2, 4, seed=1)
    trace = torch.zeros(2, 8, 3, dtype=torch.float64)
    averages = [torch.zeros(2, 4, 3, dtype=torch.float64)]
    for x, v in zip(pre, post, strict=True):
        trace = rule.update(trace, x, v, eta, torch.full_like(v, m))
        averages.append(Hebb().update(averages[-1], x, v, eta))
    torch.testing.assert_close(trace[:, 4:], averages[-1])
    torch.testing.assert_close(trace[:, :4], m * torch.stack(averages[:-1]).sum(0))


def test_a_modulation_stores_what_happened_before_it() -> None:
    """The products of step 0 enter H only when the modulation comes, in step 3, and decayed by then."""
    rule, eta = Retroactive(), torch.tensor(0.5, dtype=torch.float64)
    trace = torch.zeros(1, 4, 2, dtype=torch.float64)
    x, v, nothing = activities(1, 2), activities(1, 2, seed=1), torch.zeros(1, 2, dtype=torch.float64)
    trace = rule.update(trace, x, v, eta, nothing)
    for _ in range(2):
        trace = rule.update(trace, nothing, nothing, eta, nothing)
        assert not trace[:, :2].any()
    trace = rule.update(trace, nothing, nothing, eta, torch.tensor([[1.0, -1.0]], dtype=torch.float64))
    eligible = 0.5 * 0.5**2 * v.mT @ x
    torch.testing.assert_close(trace[0, :2], torch.tensor([[1.0], [-1.0]]) * eligible)


@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("backend", ["reference", "adjoint"])
def test_equal_decays_and_rates_are_hebbs_rule(backend: Any, cell: str, modulation: str) -> None:
    """With decay 1 - eta and rate eta everywhere: the results, and the gradients by the chain rule."""
    hebb = make_case(9, 2, 5, rule=Hebb(), cell=cell, modulation=modulation, eta=0.2, dtype=torch.float64)
    rate = hebb.inputs["eta"].expand(5, 5)
    stp = replace(hebb, rule=ShortTermPlasticity(), inputs={**hebb.inputs, "decay": 1 - rate, "rate": rate})
    expected, gradients = hebb.run(torch.float64, backend)
    results, found = stp.run(torch.float64, backend)
    torch.testing.assert_close(results, expected)
    assert not found.pop("eta").any()
    torch.testing.assert_close(found.pop("rate").sum() - found.pop("decay").sum(), gradients.pop("eta"))
    torch.testing.assert_close(found, gradients)


@pytest.mark.parametrize("backend", ["reference", "adjoint"])
def test_fast_weights_attend_to_past_outputs(backend: Any) -> None:
    """A(t) is the sum of eta decay^(t - s) h(s) h(s)^T, which weighs h(s) by its product with h(t)."""
    case = make_case(15, 2, 4, rule=FastWeights(), eta=0.3, masked=False, dtype=torch.float64)
    case.inputs["trace"].zero_()
    outputs, hidden, trace = case.scan(backend=backend)
    decays = case.inputs["decay"] ** torch.arange(14, -1, -1, dtype=torch.float64)
    torch.testing.assert_close(trace, 0.3 * torch.einsum("t,tbi,tbj->bij", decays, outputs, outputs))
    attention = 0.3 * decays * torch.einsum("tbi,bi->bt", outputs, hidden)
    read = (trace @ hidden.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(read, torch.einsum("bt,tbi->bi", attention, outputs))


# Every rule, cell, modulation and backend; both kinds of alpha with every two of them.
KINDS = [
    (rule, cell, modulation, backend, ("full", "shared")[(i + j + k + m) % 2])
    for i, rule in enumerate(ADJOINT_RULES)
    for j, cell in enumerate(("rnn", "lstm", "gru"))
    for k, modulation in enumerate(MODULATIONS)
    for m, backend in enumerate(("reference", "adjoint"))
]


@pytest.mark.parametrize(
    ("rule", "cell", "modulation", "backend", "kind"), KINDS, ids=lambda one: getattr(one, "name", one)
)
def test_gradients_are_those_of_finite_differences(
    rule: Rule, cell: str, modulation: str, backend: Any, kind: str
) -> None:
    case = make_case(
        3, 2, 2, cell=cell, modulation=modulation, rule=rule, alpha=kind, eta=0.3, dtype=torch.float64
    )
    case.masks["reset"][2, 0] = True
    leaves = case.leaves(torch.float64)

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        return tuple(case.scan(dict(zip(leaves, values, strict=True)), backend=backend))

    assert torch.autograd.gradcheck(run, list(leaves.values()))


@EVERY_RULE
def test_the_reference_is_differentiable_twice_and_the_adjoint_says_so(rule: Rule) -> None:
    case = make_case(3, 1, 2, rule=rule, modulation="tanh", dtype=torch.float64)
    names = ["w", "alpha", *(one.name for one in rule.parameters)]
    leaves = [case.inputs[name].requires_grad_() for name in names]

    def run(*values: Tensor) -> Tensor:
        return case.scan({**case.inputs, **dict(zip(names, values, strict=True))}, backend="reference")[0]

    assert torch.autograd.gradgradcheck(run, leaves)
    (gradient,) = torch.autograd.grad(case.scan()[0].sum(), leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match='backend="reference"'):
        torch.autograd.grad(gradient.sum(), leaves[0])


@EVERY_RULE
def test_a_reset_clears_every_matrix(rule: Rule) -> None:
    case = make_case(1, 2, 4, rule=rule, masked=False)
    case.inputs["trace"].fill_(torch.nan)
    case.masks["reset"] = torch.ones(1, 2, dtype=torch.bool)
    for backend in ("reference", "adjoint"):
        assert case.scan(backend=backend)[-1].isfinite().all()


@EVERY_RULE
def test_the_kernels_refuse_and_auto_takes_the_adjoint(rule: Rule) -> None:
    case = make_case(3, 2, 5, rule=rule)
    with pytest.raises(ValueError, match=rf"not of {type(rule).__name__}\): use 'adjoint', 'reference'$"):
        case.scan(backend="numba")
    v = case.leaves()
    assert "_FusedScan" in str(case.scan(v)[0].grad_fn)


@dataclass(frozen=True)
class Swapped(AdjointRule):
    """A rule of the user's own with its adjoint, a parameter, and two matrices that change places."""

    name: ClassVar[str] = "swapped"
    formula: ClassVar[str] = "H <- s E, E <- H + v x^T"
    citation: ClassVar[str] = "none"
    bound: ClassVar[float] = 2.0
    matrices: ClassVar[int] = 2
    reads_eta: ClassVar[bool] = False

    @property
    def parameters(self) -> tuple[RuleParameter, ...]:
        return (RuleParameter("share", each=False, decays=False, start=lambda eta: 0.7),)

    def advance(self, now: UpdateArguments) -> Tensor:
        h, e = now.trace.chunk(2, -2)
        return torch.cat([now.parameters[0] * e, h + now.post.unsqueeze(-1) * now.pre.unsqueeze(-2)], -2)

    def adjoint(self, d_new: Tensor, now: UpdateArguments) -> UpdateArguments:
        (_, e), (d_h, d_e) = now.trace.chunk(2, -2), d_new.chunk(2, -2)
        return UpdateArguments(
            torch.cat([d_e, now.parameters[0] * d_h], -2),
            (d_e.mT @ now.post.unsqueeze(-1)).squeeze(-1),
            (d_e @ now.pre.unsqueeze(-1)).squeeze(-1),
            torch.zeros_like(now.eta),
            torch.zeros_like(now.modulation),
            ((d_h * e).sum(),),
        )


class Slower(Swapped):
    """It changes the update, so that the adjoint of its base is wrong."""

    def advance(self, now: UpdateArguments) -> Tensor:
        return super().advance(now) / 2


class Noisy(Retroactive):
    """It changes the update around :meth:`advance`."""

    def update(self, *arguments: Any) -> Tensor:  # type: ignore[override]
        return super().update(*arguments) + 0.1


@pytest.mark.parametrize("modulation", ["none", "one tanh"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_rule_of_the_users_own_runs_on_the_adjoint(cell: str, modulation: str) -> None:
    case = make_case(17, 2, 5, cell=cell, rule=Swapped(), modulation=modulation, dtype=torch.float64)
    torch.testing.assert_close(case.run(torch.float64, "adjoint"), case.run(torch.float64, "reference"))
    rnn = PlasticRNN(3, 5, rule=Swapped())
    rnn(torch.randn(4, 2, 3))[0].sum().backward()
    assert rnn.plasticity.share_raw.grad is not None


@pytest.mark.parametrize("rule", [Slower(), Noisy()], ids=lambda rule: type(rule).__name__)
def test_an_update_without_its_adjoint_runs_on_the_reference(rule: Rule) -> None:
    assert not has_adjoint(rule)
    case = make_case(3, 2, 5, rule=rule)
    with pytest.raises(ValueError, match=rf"not of {type(rule).__name__}\): use 'reference'$"):
        case.scan(backend="adjoint")
    torch.testing.assert_close(case.scan(), case.scan(backend="reference"))


def test_parameters_that_do_not_fit_are_named() -> None:
    arguments = (torch.zeros(3, 2, 5), torch.zeros(5, 5), torch.zeros(5, 5), torch.tensor(0.1))
    state, ones = PlasticState(torch.zeros(2, 5), torch.zeros(2, 5, 5)), torch.ones(5, 5)
    for rule, given, says in (
        ("stp", (), r"^rule 'stp' has 2 parameters of its own \(decay, rate\), not 0: give them as"),
        ("hebb", (ones,), r"^rule 'hebb' has 0 parameters of its own, not 1: give them as rule_parameters"),
        ("stp", (ones, ones[0]), r"^rule parameter 'rate' must have shape \(5, 5\)"),
        ("fast_weights", (ones,), r"^rule parameter 'decay' must have shape \(\)"),
        ("stp", (ones, ones.double()), r"^rule parameter 'rate' must be torch\.float32, not torch\.float64"),
        ("retroactive", (), r"^state\.trace must have shape \(2, 10, 5\)"),
    ):
        with pytest.raises(ValueError, match=says):
            plastic_scan(*arguments, state, rule=rule, rule_parameters=given)
    with pytest.raises(TypeError, match=r"^rule parameter 'decay' must be a tensor, not float"):
        plastic_scan(*arguments, state, rule="fast_weights", rule_parameters=(0.9,))  # type: ignore[arg-type]


def test_without_alpha_a_rule_needs_no_parameters() -> None:
    state = PlasticState(torch.zeros(2, 5), torch.zeros(2, 0, 0))
    drive, w = torch.ones(3, 2, 5), torch.zeros(5, 5)
    outputs, _ = plastic_scan(drive, w, None, torch.tensor(0.1), state, rule="stp")
    torch.testing.assert_close(outputs, drive.tanh())
    assert set(dict(PlasticRNN(3, 5, alpha="none", rule="stp").plasticity.named_parameters())) == set()


@pytest.mark.parametrize("build", [PlasticRNN, PlasticRNNCell, PlasticLSTM, PlasticGRU])
@pytest.mark.parametrize("bound_eta", [False, True])
def test_a_layer_registers_and_starts_the_parameters_of_its_rule(build: Any, bound_eta: bool) -> None:
    options = {"eta": 0.2, "bound_eta": bound_eta}
    stp = build(3, 5, rule="stp", **options).plasticity
    assert set(dict(stp.named_parameters())) == {"alpha", "decay_raw", "rate_raw"}
    decay, rate = stp.rule_parameters()
    torch.testing.assert_close(decay, torch.full((5, 5), 0.8))
    torch.testing.assert_close(rate, torch.full((5, 5), 0.2))
    fast = build(3, 5, rule=FastWeights(0.9), **options).plasticity
    assert set(dict(fast.named_parameters())) == {"alpha", "eta_raw", "decay_raw"}
    assert fast.rule_parameters()[0].item() == pytest.approx(0.9)
    assert fast.eta.item() == pytest.approx(0.2)
    assert stp.alpha.dtype == stp.rate_raw.dtype == torch.float32
    retroactive = build(3, 5, rule="retroactive", **options)
    assert set(dict(retroactive.plasticity.named_parameters())) == {"alpha", "eta_raw"}
    assert retroactive.initial_state(4).trace.shape == (4, 10, 5)


def test_bounded_decays_stay_between_0_and_1() -> None:
    for bound_eta in (True, False):
        layer = PlasticRNN(3, 5, rule="stp", eta=0.2, bound_eta=bound_eta).plasticity
        optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
        for _ in range(50):
            optimizer.zero_grad()
            (-layer.rule_parameters()[0].sum() + layer.rule_parameters()[1].sum()).backward()
            optimizer.step()
        decay, rate = layer.rule_parameters()
        assert (decay < 1).all() == bound_eta
        assert (rate < -10).all()  # it may have either sign


@pytest.mark.parametrize(
    ("rule", "options", "says"),
    [
        ("stp", {"eta": 1.0}, "eta must be between 0 and 1 when bound_eta is on"),
        (FastWeights(1.0), {}, "decay must be between 0 and 1 when bound_eta is on, not 1.0"),
        (FastWeights(float("nan")), {"bound_eta": False}, "decay must be a finite number, not nan"),
    ],
)
def test_wrong_starts_are_named(rule: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        PlasticRNN(3, 5, rule=rule, **options)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("inf"), float("nan")])
def test_the_limit_must_be_finite_and_positive(limit: float) -> None:
    with pytest.raises(ValueError, match="limit must be finite and above 0"):
        Retroactive(limit)


def test_fast_weights_need_as_many_neurons_after_as_before() -> None:
    says = "rule 'fast_weights' needs as many neurons after the connections as before, not 5 and 3"
    with pytest.raises(ValueError, match=says):
        PlasticLinear(3, 5, rule="fast_weights")
    outputs, _ = PlasticLinear(5, 5, rule="fast_weights")(torch.ones(4, 2, 5))
    assert outputs.isfinite().all()


@pytest.mark.parametrize(
    ("made", "later", "says"),
    [
        ("hebb", ShortTermPlasticity(), "rule 'stp' has a parameter 'decay', .* made for another rule"),
        ("stp", Oja(), "made for a rule that does not read it has no eta"),
    ],
)
def test_a_rule_given_later_must_find_its_parameters(made: str, later: Rule, says: str) -> None:
    rnn = PlasticRNN(3, 5, rule=made)
    rnn.plasticity.rule = later
    with pytest.raises(RuntimeError, match=says):
        rnn(torch.ones(4, 2, 3))


def test_the_bound_of_the_retroactive_trace_is_its_limit() -> None:
    rule, eta = Retroactive(0.3), torch.tensor(1.0, dtype=torch.float64)
    trace, ones = torch.zeros(1, 4, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    for _ in range(5):
        trace = rule.update(trace, ones, ones, eta)
    assert trace[:, :2].max() == rule.bound == 0.3
    assert trace[:, 2:].max() == 1

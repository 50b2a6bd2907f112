"""Which path serves what, and what the caller is told where none does."""

import copy
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from plasticrl.ops import plastic_scan, plastic_step_, scan
from plasticrl.rules import Hebb, Rule
from plasticrl.state import PlasticState

T, B, N = 3, 2, 5
STATE = PlasticState(torch.zeros(B, N), torch.zeros(B, N, N))


@dataclass(frozen=True)
class Halving(Rule):
    """A rule of the user's own."""

    name: ClassVar[str] = "halving"
    formula: ClassVar[str] = "H <- H / 2 + eta y x^T"
    citation: ClassVar[str] = "none"
    bound: ClassVar[float] = 2.0

    def update(self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor) -> Tensor:
        return trace / 2 + eta * post.unsqueeze(-1) * pre.unsqueeze(-2)


class NoisyHebb(Hebb):
    """A rule derived from one of this package that does something else."""

    def update(self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor) -> Tensor:
        return super().update(trace, pre, post, eta) + 0.1


def call(dtype: torch.dtype = torch.float32, device: str = "cpu", alpha: bool = True, **options: Any) -> Any:
    at = {"dtype": dtype, "device": device}
    w = torch.full((N, N), 0.1, **at).requires_grad_()
    state = PlasticState(torch.zeros(B, N, **at), torch.zeros(B, N, N, **at))
    drive = torch.linspace(-1, 1, T * B * N, **at).view(T, B, N)
    return w, plastic_scan(drive, w, w / 2 if alpha else None, torch.tensor(0.1, **at), state, **options)


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    choose = scan.choose_backend

    def record(*args: Any) -> str:
        names.append(choose(*args))
        return names[-1]

    monkeypatch.setattr(scan, "choose_backend", record)
    return names


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "numba"),
        ({"rule": "oja"}, "numba"),
        ({"rule": "clipped"}, "numba"),
        ({"dtype": torch.float64}, "adjoint"),
        ({"dtype": torch.bfloat16}, "adjoint"),
        ({"device": "meta"}, "adjoint"),
        ({"alpha": False}, "numba"),
        ({"alpha": False, "dtype": torch.float64}, "adjoint"),
        ({"rule": Halving()}, "reference"),
        ({"rule": NoisyHebb()}, "reference"),
        ({"backend": "adjoint"}, "adjoint"),
        ({"backend": "reference"}, "reference"),
    ],
)
def test_choice(chosen, options, expected):
    call(**options)
    assert chosen == [expected]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backend": "numba", "dtype": torch.float64}, ["float32", "float64", "adjoint"]),
        ({"backend": "numba", "device": "meta"}, ["CPU", "meta", "adjoint"]),
        ({"backend": "numba", "rule": Halving()}, ["Halving", "reference"]),
        ({"backend": "adjoint", "rule": Halving()}, ["Halving", "HebbianRule", "reference"]),
        ({"backend": "cuda"}, ["unknown backend", "numba", "adjoint", "reference"]),
        ({"known": (torch.zeros(T, B, N + 1), STATE)}, ["known outputs", f"({T}, {B}, {N})"]),
        ({"known": (torch.zeros(T, B, N), STATE._replace(trace=torch.zeros(1)))}, ["known state.trace"]),
    ],
)
def test_a_backend_that_cannot_serve_says_why_and_which_can(options, words):
    with pytest.raises(ValueError) as error:  # noqa: PT011 (several words, in any order)
        call(**options)
    for word in words:
        assert word in str(error.value)


def good_arguments():
    return {
        "drive": torch.zeros(T, B, N), "w": torch.zeros(N, N), "alpha": torch.zeros(N, N),
        "eta": torch.tensor(0.1), "state": PlasticState(torch.zeros(B, N), torch.zeros(B, N, N)),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "bad", "words"),
    [
        ("w", torch.zeros(N, N + 1), ["w", f"({N}, {N + 1})"]),
        ("alpha", torch.zeros(1), ["alpha", f"({N}, {N}) or ()"]),
        ("eta", torch.zeros(1), ["eta", "()"]),
        ("w", torch.zeros(N, N, dtype=torch.float64), ["w", "float64", "float32"]),
        ("w", torch.zeros(N, N, device="meta"), ["w", "meta", "cpu"]),
        ("reset", torch.zeros(T, B), ["reset", "bool"]),
        ("clamp", torch.zeros(T, B, dtype=torch.bool), ["clamp", f"({T}, {B}, {N})"]),
        ("state", PlasticState(torch.zeros(B, N), torch.zeros(B, 0, 0)), ["state.trace", f"({B}, {N}, {N})"]),
    ],
)
def test_an_argument_that_does_not_fit_is_named(name, bad, words):
    with pytest.raises(ValueError, match=name) as error:
        plastic_scan(**{**good_arguments(), name: bad})
    for word in words:
        assert word in str(error.value)


def of_one_step(arguments):
    drive = arguments["drive"]
    return {**arguments, "drive": drive[0] if isinstance(drive, torch.Tensor) else drive}


CALLS = {
    "scan": lambda arguments: plastic_scan(**arguments),
    "step": lambda arguments: plastic_step_(**of_one_step(arguments)),
}


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("name", ["drive", "w", "alpha", "eta", "reset", "clamp"])
@pytest.mark.parametrize("call", CALLS)
def test_an_argument_that_is_no_tensor_is_named(call, name, autocast):
    arguments = good_arguments()
    for wrong, kind in ((np.zeros((T, B, N)), "ndarray"), ([[True]], "list"), (None, "NoneType")):
        if wrong is None and name in ("alpha", "reset", "clamp"):
            continue  # left out
        with (
            torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast),
            pytest.raises(TypeError, match=f"^{name} must be a tensor, not {kind}"),
        ):
            CALLS[call]({**arguments, name: wrong})


@pytest.mark.parametrize("field", PlasticState._fields)
@pytest.mark.parametrize("call", CALLS)
def test_a_part_of_the_state_that_is_no_tensor_is_named(call, field):
    for wrong in (np.zeros((B, N)), None):
        state = good_arguments()["state"]._replace(**{field: wrong})
        with pytest.raises(TypeError, match=rf"^state\.{field} must be a tensor, not {type(wrong).__name__}"):
            CALLS[call]({**good_arguments(), "state": state})


@pytest.mark.parametrize("alpha", [True, False])
@pytest.mark.parametrize(
    ("known", "says"),
    [
        ((torch.zeros(T, B, N), tuple(STATE)), r"known state must be a PlasticState.*not a tuple"),
        ((np.zeros((T, B, N)), STATE), "known outputs must be a tensor, not ndarray"),
        (
            (torch.zeros(T, B, N), STATE._replace(trace=None)),
            r"known state\.trace must be a tensor, not None",
        ),
        ((torch.zeros(T, B, N), *STATE), r"known must be .* \(outputs, state\), not a tuple of 3"),
        (torch.zeros(T, B, N), r"known must be .* \(outputs, state\), not a Tensor"),
    ],
)
def test_what_is_no_result_of_a_scan_cannot_be_known(known, says, alpha):
    with pytest.raises(TypeError, match=says):
        call(known=known, alpha=alpha)


@pytest.mark.parametrize("backend", ["numba", "adjoint"])
def test_a_second_derivative_names_the_reference(backend):
    w, (y, _) = call(backend=backend)
    (gradient,) = torch.autograd.grad(y.sum(), w, create_graph=True)
    with pytest.raises(RuntimeError, match='backend="reference"'):
        torch.autograd.grad(gradient.sum(), w)


@pytest.mark.parametrize("backend", ["numba", "adjoint"])
def test_a_gradient_asked_for_with_its_graph_is_right(backend):
    gradients = []
    for name in (backend, "reference"):
        w, (y, _) = call(backend=name)
        gradients += torch.autograd.grad(y.sum(), w, create_graph=True)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_results_can_be_deepcopied():
    _, (y, state) = call()
    y, state = y.detach(), PlasticState(*(x.detach() for x in state))
    torch.testing.assert_close(copy.deepcopy((y, state)), (y, state))


def test_numba_is_imported_only_when_used():
    code = "import sys, plasticrl.ops; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rules_of_this_package_may_be_named_or_given():
    named, given = call(rule="hebb")[1][0], call(rule=Hebb())[1][0]
    torch.testing.assert_close(named, given, rtol=0, atol=0)


@pytest.mark.parametrize("backend", ["numba", "adjoint", "reference"])
def test_results_handed_over_are_returned_and_replace_the_forward_pass(backend):
    w, (y, state) = call(backend=backend)
    again, (known, known_state) = call(backend=backend, known=(y, state))
    torch.testing.assert_close((known, known_state), (y, state), rtol=0, atol=0)
    torch.testing.assert_close(torch.autograd.grad(known.sum(), again), torch.autograd.grad(y.sum(), w))

"""Which path serves what, and what the caller is told where none does."""

import copy
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from plasticrl.ops import plastic_scan, scan
from plasticrl.rules import Hebb, Rule
from plasticrl.state import PlasticState

T, B, N = 3, 2, 5


@dataclass(frozen=True)
class Halving(Rule):
    """A rule of the user's own."""

    name: ClassVar[str] = "halving"
    formula: ClassVar[str] = "H <- H / 2 + eta y x^T"
    citation: ClassVar[str] = "none"
    bound: ClassVar[float] = 2.0

    def update(self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor) -> Tensor:
        return trace / 2 + eta * post.unsqueeze(-1) * pre.unsqueeze(-2)


def call(dtype: torch.dtype = torch.float32, device: str = "cpu", alpha: bool = True, **options: Any) -> Any:
    at = {"dtype": dtype, "device": device}
    w = torch.full((N, N), 0.1, **at).requires_grad_()
    state = PlasticState(torch.zeros(B, N, **at), torch.zeros(B, N, N, **at))
    drive = torch.linspace(-1, 1, T * B * N, **at).view(T, B, N)
    return w, plastic_scan(drive, w, w / 2 if alpha else None, torch.tensor(0.1, **at), state, **options)


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    choose = scan._choose

    def record(*args: Any) -> str:
        names.append(choose(*args))
        return names[-1]

    monkeypatch.setattr(scan, "_choose", record)
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
        ({"alpha": False}, "adjoint"),
        ({"rule": Halving()}, "reference"),
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
        ({"backend": "numba", "alpha": False}, ["alpha", "adjoint"]),
        ({"backend": "numba", "rule": Halving()}, ["Halving", "reference"]),
        ({"backend": "adjoint", "rule": Halving()}, ["Halving", "Oja", "reference"]),
        ({"backend": "reference", "outputs": torch.zeros(T, B, N)}, ["outputs", "numba", "adjoint"]),
        ({"rule": Halving(), "outputs": torch.zeros(T, B, N)}, ["Halving", "outputs", "none"]),
        ({"backend": "cuda"}, ["unknown backend", "numba", "adjoint", "reference"]),
        ({"outputs": torch.zeros(T, B, N + 1)}, ["outputs", f"({T}, {B}, {N})"]),
    ],
)
def test_a_backend_that_cannot_serve_says_why_and_which_can(options, words):
    with pytest.raises(ValueError) as error:  # noqa: PT011 (several words, in any order)
        call(**options)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("backend", ["numba", "adjoint"])
def test_a_second_derivative_names_the_reference(backend):
    w, (y, _) = call(backend=backend)
    (gradient,) = torch.autograd.grad(y.sum(), w, create_graph=True)
    expected = torch.autograd.grad(call(backend="reference")[1][0].sum(), call()[0], allow_unused=True)
    assert expected == (None,)  # another call's w
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


def test_outputs_handed_over_are_returned_and_replace_the_forward_pass():
    w, (y, state) = call()
    again, (known, known_state) = call(outputs=y.detach())
    torch.testing.assert_close(known, y, rtol=0, atol=0)
    torch.testing.assert_close(known_state, state)
    torch.testing.assert_close(torch.autograd.grad(known.sum(), again), torch.autograd.grad(y.sum(), w))

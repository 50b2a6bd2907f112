"""A network that torch records gives the same numbers for other inputs, or is refused with a way out."""

import io
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.func import functionalize, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from plasticrl.nn import (
    GRU,
    LSTM,
    FeedForward,
    PlasticGRU,
    PlasticLinear,
    PlasticLSTM,
    PlasticRNN,
    PlasticRNNCell,
)
from plasticrl.nn.core import Core
from plasticrl.ops import plastic_scan, plastic_step_
from plasticrl.rules import Rule
from plasticrl.state import PlasticState

STEPS, BATCH, INPUTS, N = 4, 2, 3, 5
pytestmark = [
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights:UserWarning"),
]


class Halving(Rule):
    """A rule of the user's own."""

    name: ClassVar[str] = "halving"
    formula: ClassVar[str] = "H <- H / 2 + eta y x^T"
    citation: ClassVar[str] = "none"
    bound: ClassVar[float] = 2.0

    def update(self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor) -> Tensor:
        return trace / 2 + eta * post.unsqueeze(-1) * pre.unsqueeze(-2)


CORES: dict[str, Callable[[], Any]] = {
    "rnn": lambda: PlasticRNN(INPUTS, N, init_scale=0.5),
    "oja": lambda: PlasticRNN(INPUTS, N, init_scale=0.5, rule="oja", bound_eta=True, alpha="shared"),
    "clipped": lambda: PlasticRNN(INPUTS, N, init_scale=0.5, rule="clipped", dtype=torch.float64),
    "halving": lambda: PlasticRNN(INPUTS, N, init_scale=0.5, rule=Halving()),
    "reference": lambda: PlasticRNN(INPUTS, N, init_scale=0.5, backend="reference"),
    "none": lambda: PlasticRNN(INPUTS, N, init_scale=0.5, alpha="none"),
    "cell": lambda: PlasticRNNCell(INPUTS, N, init_scale=0.5),
    "plastic_lstm": lambda: PlasticLSTM(INPUTS, N, alpha_scale=0.5),
    "plastic_gru": lambda: PlasticGRU(INPUTS, N, rule="oja", modulation="tanh", modulate="network"),
    "retroactive": lambda: PlasticRNN(INPUTS, N, rule="retroactive", modulation="tanh", eta=0.3),
    "stp": lambda: PlasticLSTM(INPUTS, N, rule="stp"),
    "fast_weights": lambda: PlasticGRU(INPUTS, N, rule="fast_weights"),
    "linear": lambda: PlasticLinear(INPUTS, N, init_scale=0.5),
    "lstm": lambda: LSTM(INPUTS, N),
    "gru": lambda: GRU(INPUTS, N),
    "feedforward": lambda: FeedForward(INPUTS, N),
}
Call = Callable[..., tuple[Tensor, ...]]


def saved_trace(module: nn.Module, example: tuple[Tensor, ...]) -> Any:
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(module, example), file)
    file.seek(0)
    return torch.jit.load(file)


def saved_program(module: nn.Module, example: tuple[Tensor, ...], **options: Any) -> Any:
    file = io.BytesIO()
    torch.export.save(torch.export.export(module, example, **options), file)
    file.seek(0)
    return torch.export.load(file).module()


EXPORTERS: dict[str, Callable[[nn.Module, tuple[Tensor, ...]], Call]] = {
    "jit.trace": saved_trace,
    "export": saved_program,
    "strict export": lambda module, example: saved_program(module, example, strict=True),
    "make_fx": lambda module, example: make_fx(module)(*example),
    "make_fx before dispatch": lambda module, example: make_fx(module, pre_dispatch=True)(*example),
    "make_fx with fake tensors": lambda module, example: make_fx(
        module, tracing_mode="fake", _allow_non_fake_inputs=True
    )(*example),
    "functionalize": lambda module, example: functionalize(module),
    "make_fx of functionalize": lambda module, example: make_fx(functionalize(module))(*example),
}


class Flat(nn.Module):
    """A network whose arguments and results are tensors; ``in_place`` calls its ``step_``."""

    def __init__(self, core: Any, masked: bool, in_place: bool = False) -> None:
        super().__init__()
        self.core, self.masked, self.in_place = core, masked, in_place
        self.kind: Any = type(core.initial_state(1))

    def forward(self, inputs: Tensor, reset: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        mask = reset if self.masked else None
        if self.in_place:
            own = self.kind(*(part.clone() for part in state))
            return self.core.step_(inputs, own, mask), *own
        outputs, after = self.core(inputs, self.kind(*state), mask)
        return outputs, *after


def draw(core: Any, seed: int, batch: int = BATCH, one_step: bool = False) -> tuple[Tensor, ...]:
    """Inputs, resets and a state, which differ with the seed."""
    g = torch.Generator().manual_seed(seed)
    state, dtype = core.initial_state(batch), next(core.parameters()).dtype
    inputs = torch.randn(STEPS, batch, INPUTS, generator=g).to(dtype)
    reset = torch.rand(STEPS, batch, generator=g) < 0.4
    if one_step:
        inputs, reset = inputs[0], reset[0]
    return inputs, reset, *(torch.rand(part.shape, generator=g).to(dtype) for part in state)


def check_same(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def make(name: str) -> Any:
    torch.manual_seed(0)
    return CORES[name]()


# Every core by every exporter; without a mask every core once, and every exporter with two cores.
MASKED = [(name, exporter, True) for name in CORES for exporter in EXPORTERS]
UNMASKED = [(name, exporter, False) for name, exporter in zip(CORES, cycle(EXPORTERS), strict=False)]


@pytest.mark.parametrize(("name", "exporter", "masked"), MASKED + UNMASKED)
def test_what_is_recorded_holds_for_other_inputs_resets_and_states(
    name: str, exporter: str, masked: bool
) -> None:
    core, cell = make(name), name == "cell"
    module = Flat(core, masked)
    recorded = EXPORTERS[exporter](module, draw(core, 1, one_step=cell))
    for seed in (2, 3):
        others = draw(core, seed, one_step=cell)
        check_same(recorded(*others), module(*others))


@pytest.mark.parametrize("exporter", [name for name in EXPORTERS if "functionalize" not in name])
@pytest.mark.parametrize("name", [name for name in CORES if name not in ("cell", "feedforward")])
def test_a_step_in_place_is_recorded(name: str, exporter: str) -> None:
    core = make(name)
    module = Flat(core, masked=True, in_place=True)
    recorded = EXPORTERS[exporter](module, draw(core, 1, one_step=True))
    others = draw(core, 2, one_step=True)
    check_same(recorded(*others), module(*others))


@pytest.mark.parametrize("name", CORES)
def test_the_batch_of_a_program_may_be_of_any_size(name: str) -> None:
    core, cell = make(name), name == "cell"
    module, example = Flat(core, masked=True), draw(core, 1, one_step=cell)
    batch, axis = torch.export.Dim("batch"), 0 if cell else 1
    state = tuple({0: batch} for _ in example[2:])
    shapes = ({axis: batch}, {axis: batch}, *([state] if state else []))
    program = torch.export.export(module, example, dynamic_shapes=shapes).module()
    others = draw(core, 2, batch=7, one_step=cell)
    check_same(program(*others), module(*others))


@pytest.mark.parametrize("recorded_by", ["jit.trace", "export", "make_fx"])
@pytest.mark.parametrize("name", ["rnn", "plastic_lstm", "plastic_gru"])
def test_a_program_can_be_trained(name: str, recorded_by: str) -> None:
    core = make(name)
    module, example = Flat(core, masked=True), draw(core, 1)
    others = [one.requires_grad_(one.is_floating_point()) for one in draw(core, 2)]
    leaves = [one for one in others if one.requires_grad]
    gradients = [
        torch.autograd.grad(function(*others)[0].square().sum(), leaves)
        for function in (EXPORTERS[recorded_by](module, example), module)
    ]
    check_same(*gradients)


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("backend", ["numba", "adjoint"])
def test_a_backend_asked_for_by_name_is_refused_or_right(backend: Any, exporter: str) -> None:
    core = PlasticRNN(INPUTS, N, init_scale=0.5, backend=backend)
    module, others = Flat(core, masked=True), draw(core, 2)
    if backend == "adjoint" and exporter in (
        "make_fx",
        "make_fx before dispatch",
        "make_fx with fake tensors",
    ):
        check_same(EXPORTERS[exporter](module, draw(core, 1))(*others), module(*others))
        return
    # torch's strict export puts the text into one of its own.
    with pytest.raises(Exception, match=f"backend '{backend}' does not support .*: use .*'reference'"):
        EXPORTERS[exporter](module, draw(core, 1))(*others)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("name", CORES)
def test_scripting_says_what_to_use_instead(name: str, inside: bool) -> None:
    core = CORES[name]()
    with pytest.raises(RuntimeError, match=r'torch\.jit\.trace .* backend="reference"'):
        torch.jit.script(nn.Sequential(nn.Linear(2, INPUTS), core) if inside else core)


@pytest.mark.filterwarnings("ignore")  # the exporters use what is deprecated
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", ["rnn", "none", "plastic_lstm", "plastic_gru", "linear", "lstm", "gru"])
def test_onnx(name: str, dynamo: bool, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript" if dynamo else "onnx")
    core = make(name)
    module, file = Flat(core, masked=True).eval(), tmp_path / "core.onnx"
    names = ["inputs", "reset", *type(core.initial_state(1))._fields]
    torch.onnx.export(module, draw(core, 1), file, input_names=names, dynamo=dynamo)
    session = runtime.InferenceSession(file)
    others = draw(core, 2)
    wanted = {given.name for given in session.get_inputs()}
    given = {name: one.numpy() for name, one in zip(names, others, strict=True) if name in wanted}
    check_same(tuple(map(torch.as_tensor, session.run(None, given))), module(*others))


class Counting(TorchDispatchMode):
    """Counts operations, as a counter of FLOPs does."""

    def __init__(self) -> None:
        super().__init__()
        self.products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.products += "mm" in str(func)
        return func(*args, **(kwargs or {}))


def test_a_mode_of_the_users_own_sees_what_is_computed() -> None:
    core = make("rnn")
    inputs, reset, *state = draw(core, 1)
    outputs, _ = core(inputs, PlasticState(*state), reset)
    outputs.square().sum().backward()
    usual = [parameter.grad.clone() for parameter in core.parameters()]
    with Counting() as counting:
        again, _ = core(inputs, PlasticState(*state), reset)
    assert counting.products >= STEPS
    torch.testing.assert_close(again, outputs)
    # Only the way back is seen.
    core.zero_grad()
    outputs, _ = core(inputs, PlasticState(*state), reset)
    with Counting() as counting:
        outputs.square().sum().backward()
    assert counting.products >= STEPS
    torch.testing.assert_close([parameter.grad for parameter in core.parameters()], usual)


@pytest.mark.parametrize("name", ["rnn", "plastic_lstm", "plastic_gru"])
def test_the_gradients_of_a_vector_jacobian_product_are_recorded(name: str) -> None:
    core = make(name)
    inputs, reset, *state = draw(core, 1)
    inputs.requires_grad_()
    outputs, _ = core(inputs, type(core.initial_state(1))(*state), reset)

    def back(cotangent: Tensor) -> Tensor:
        return torch.autograd.grad(outputs, inputs, cotangent, retain_graph=True)[0]

    first, second = torch.randn_like(outputs), torch.randn_like(outputs)
    torch.testing.assert_close(make_fx(back)(first)(second), back(second))


@pytest.mark.parametrize("name", ["linear", "rnn", "plastic_lstm", "plastic_gru"])
def test_vmap_takes_resets(name: str) -> None:
    core: Core = make(name)
    inputs, _, *state = draw(core, 1)
    resets = torch.rand(3, STEPS, BATCH) < 0.4
    kind: Any = type(core.initial_state(1))
    ours = vmap(lambda reset: core(inputs, kind(*state), reset)[0])(resets)
    torch.testing.assert_close(ours, torch.stack([core(inputs, kind(*state), one)[0] for one in resets]))


@pytest.mark.parametrize("name", ["rnn", "plastic_lstm", "plastic_gru"])
def test_vmap_takes_a_step_in_place(name: str) -> None:
    core = make(name)
    inputs, _, *state = draw(core, 1)

    def step(drive: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        own = type(core.initial_state(1))(*(part.clone() for part in state))
        return core.step_(drive, own), *own

    many = [torch.stack([part, part / 2, -part]) for part in (inputs[0], *state)]
    one_by_one = [step(*parts) for parts in zip(*many, strict=True)]
    check_same(vmap(step)(*many), tuple(map(torch.stack, zip(*one_by_one, strict=True))))


@pytest.mark.parametrize("name", [name for name in CORES if name != "cell"])
def test_shapes_are_told_without_memory(name: str) -> None:
    core = make(name)
    inputs, reset, *state = draw(core, 1)
    outputs, _ = core(inputs, type(core.initial_state(1))(*state), reset)
    core.to("meta")
    there = [one.to("meta") for one in state]
    told, _ = core(inputs.to("meta"), type(core.initial_state(1))(*there), reset.to("meta"))
    assert (told.shape, told.dtype) == (outputs.shape, outputs.dtype)


def test_functions_are_recorded_as_modules_are() -> None:
    g = torch.Generator().manual_seed(0)
    w, alpha, eta = torch.randn(N, N, generator=g) / 3, torch.randn(N, N, generator=g) / 3, torch.tensor(0.1)

    def scan(drive: Tensor, hidden: Tensor, trace: Tensor) -> Tensor:
        return plastic_scan(drive, w, alpha, eta, PlasticState(hidden, trace))[0]

    def step(drive: Tensor, hidden: Tensor, trace: Tensor) -> Tensor:
        return plastic_step_(drive[0], w, alpha, eta, PlasticState(hidden.clone(), trace.clone()))

    def some(seed: int) -> tuple[Tensor, ...]:
        g.manual_seed(seed)
        shapes = ((STEPS, BATCH, N), (BATCH, N), (BATCH, N, N))
        return tuple(torch.randn(shape, generator=g) for shape in shapes)

    for function in (scan, step):
        for recorded in (torch.jit.trace(function, some(1)), make_fx(function)(*some(1))):
            torch.testing.assert_close(recorded(*some(2)), function(*some(2)))

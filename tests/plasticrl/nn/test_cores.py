"""The contract of a core, on all of them: a new core is tested by being listed here."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from plasticrl.nn import (
    GRU,
    LSTM,
    Core,
    FeedForward,
    PlasticGRU,
    PlasticLinear,
    PlasticLSTM,
    PlasticRNN,
)
from plasticrl.nn.factory import CORE_NAMES, make_core
from plasticrl.nn.plastic_rnn import PlasticCore
from plasticrl.rules import RULES

T, B, N_IN, N = 7, 3, 4, 5

CORES: dict[str, Callable[[], Core]] = {
    **{
        f"plastic-{alpha}-{rule}": lambda alpha=alpha, rule=rule: PlasticRNN(  # type: ignore[misc]
            N_IN, N, alpha=alpha, rule=rule, eta=0.3, init="normal", init_scale=0.5
        )
        for alpha in ("full", "shared")
        for rule in RULES
    },
    **{
        f"plastic-{modulation}-{modulate}": lambda modulation=modulation, modulate=modulate: PlasticRNN(  # type: ignore[misc]
            N_IN,
            N,
            rule="delta",
            modulation=modulation,
            modulate=modulate,
            eta=0.3,
            init="fan_in",
            init_scale=1,
        )
        for modulation in ("sigmoid", "tanh")
        for modulate in ("neurons", "network")
    },
    "plastic-bounded-eta": lambda: PlasticRNN(N_IN, N, eta=0.3, bound_eta=True, init_scale=0.5),
    "plastic-none": lambda: PlasticRNN(N_IN, N, alpha="none", init_scale=0.5),
    "linear-full": lambda: PlasticLinear(N_IN, N, eta=0.3, init_scale=0.5),
    "linear-shared": lambda: PlasticLinear(N_IN, N, alpha="shared", rule="hebb", eta=0.3, activation="tanh"),
    "linear-retroactive": lambda: PlasticLinear(N_IN, N, rule="retroactive", eta=0.3, init_scale=0.5),
    "linear-stp": lambda: PlasticLinear(N_IN, N, rule="stp", eta=0.3, init_scale=0.5),
    "plastic_lstm-retroactive": lambda: PlasticLSTM(N_IN, N, rule="retroactive", modulation="tanh"),
    "plastic_gru-stp": lambda: PlasticGRU(N_IN, N, rule="stp", bound_eta=False),
    "linear-none": lambda: PlasticLinear(N_IN, N, alpha="none"),
    "plastic_lstm-one": lambda: PlasticLSTM(
        N_IN, N, rule="oja", modulation="tanh", modulate="network", alpha="shared", init="orthogonal"
    ),
    "plastic_gru-one": lambda: PlasticGRU(
        N_IN, N, rule="clipped", modulate="network", eta=0.3, init="normal"
    ),
    "plastic_lstm-plain": lambda: PlasticLSTM(N_IN, N, rule="hebb", modulation="none", bound_eta=False),
    "plastic_gru-none": lambda: PlasticGRU(N_IN, N, alpha="none"),
    **{name: lambda name=name: make_core(name, N_IN, N) for name in CORE_NAMES},  # type: ignore[misc]
}
WITHOUT_MEMORY = {"feedforward", "linear-none"}


@pytest.fixture(params=CORES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def core(name: str) -> Core:
    torch.manual_seed(0)
    return CORES[name]()


@pytest.fixture
def inputs() -> Tensor:
    return torch.randn(T, B, N_IN, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def reset() -> Tensor:
    """Borders at the first step, inside, in two rows at once, at the last step; none in the last row."""
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[0, 0] = reset[3, 0] = reset[3, 1] = reset[T - 1, 1] = True
    return reset


def some_state(core: Core, seed: int = 2) -> Any:
    """A state that is not the start of an episode."""
    generator = torch.Generator().manual_seed(seed)
    zeros = core.initial_state(B)
    return type(zeros)(*(torch.rand(s.shape, generator=generator) - 0.5 for s in zeros))


def assert_same(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    assert type(actual) is type(expected)
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e)


def test_shapes(core: Core, inputs: Tensor) -> None:
    outputs, state = core(inputs)
    zeros = core.initial_state(B)
    assert (core.input_size, core.output_size) == (N_IN, N)
    assert outputs.shape == (T, B, N)
    assert type(state) is type(zeros)
    assert [s.shape for s in state] == [s.shape for s in zeros]
    assert all(s.shape[0] == B for s in state)


def test_an_episode_starts_from_zeros(core: Core, inputs: Tensor) -> None:
    zeros = core.initial_state(B)
    assert all(not s.any() for s in zeros)
    by_default, explicit = core(inputs), core(inputs, zeros)
    torch.testing.assert_close(by_default[0], explicit[0], rtol=0, atol=0)
    assert_same(by_default[1], explicit[1])


def test_the_state_is_remembered_where_there_is_memory(core: Core, inputs: Tensor, name: str) -> None:
    fresh, remembered = core(inputs)[0], core(inputs, some_state(core))[0]
    assert torch.equal(fresh, remembered) is (name in WITHOUT_MEMORY)


def test_two_halves_equal_the_whole(core: Core, inputs: Tensor, reset: Tensor) -> None:
    start = some_state(core)
    whole, end = core(inputs, start, reset)
    for cut in (1, 3, 4):
        first, middle = core(inputs[:cut], start, reset[:cut])
        second, last = core(inputs[cut:], middle, reset[cut:])
        torch.testing.assert_close(torch.cat([first, second]), whole)
        assert_same(last, end)


def test_step_by_step_in_place_equals_the_sequence(core: Core, inputs: Tensor, reset: Tensor) -> None:
    state = some_state(core)
    whole, end = core(inputs, type(state)(*(s.clone() for s in state)), reset)
    storage = [s.data_ptr() for s in state]
    outputs = [core.step_(x, state, first) for x, first in zip(inputs, reset, strict=True)]
    torch.testing.assert_close(torch.stack(outputs), whole)
    assert_same(state, end)
    assert [s.data_ptr() for s in state] == storage
    assert not any(y.requires_grad for y in outputs)


def test_step_without_reset_goes_on(core: Core, inputs: Tensor) -> None:
    state = some_state(core)
    expected = core(inputs[:1], state)[0][0]
    torch.testing.assert_close(core.step_(inputs[0], state), expected)


def test_forward_does_not_change_the_state_given(core: Core, inputs: Tensor, reset: Tensor) -> None:
    state = some_state(core)
    before = [s.clone() for s in state]
    for steps in (T, 1):  # one step without gradient is where a kernel may write in place
        core(inputs[:steps], state, reset[:steps])
        with torch.no_grad():
            core(inputs[:steps], state, reset[:steps])
        assert all(torch.equal(s, b) for s, b in zip(state, before, strict=True))


def test_rows_of_a_batch_are_independent(core: Core, inputs: Tensor, reset: Tensor) -> None:
    start = some_state(core)
    whole, end = core(inputs, start, reset)
    for b in range(B):
        row = slice(b, b + 1)
        alone, state = core(inputs[:, row], type(start)(*(s[row] for s in start)), reset[:, row])
        torch.testing.assert_close(alone, whole[:, row])
        assert_same(state, type(end)(*(s[row] for s in end)))


def test_a_reset_inside_is_a_fresh_start_of_that_row(core: Core, inputs: Tensor, reset: Tensor) -> None:
    whole, end = core(inputs, some_state(core), reset)
    fresh, state = core(inputs[3:, :1])
    torch.testing.assert_close(whole[3:, :1], fresh)
    assert_same(type(end)(*(s[:1] for s in end)), state)
    torch.testing.assert_close(whole[T - 1 :, 1:2], core(inputs[T - 1 :, 1:2])[0])


def test_a_reset_clears_even_what_is_not_finite(core: Core, inputs: Tensor) -> None:
    start = some_state(core)
    broken = type(start)(*(torch.full_like(s, torch.nan) for s in start))
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[0] = True
    torch.testing.assert_close(core(inputs, broken, reset)[0], core(inputs)[0])


def test_no_gradient_crosses_a_reset(core: Core, inputs: Tensor, name: str) -> None:
    inputs.requires_grad_()
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[4, 0] = True
    core(inputs, None, reset)[0][4:].square().sum().backward()
    assert inputs.grad is not None
    assert not inputs.grad[:4, 0].any()
    if name not in WITHOUT_MEMORY:
        assert inputs.grad[:4, 1:].any()
    assert inputs.grad[4:].any()


def test_every_parameter_gets_a_gradient(core: Core, inputs: Tensor) -> None:
    core(inputs)[0].square().sum().backward()
    missing = [name for name, p in core.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_a_copy_is_independent(core: Core, inputs: Tensor) -> None:
    expected = core(inputs)[0]
    twin = copy.deepcopy(core)
    with torch.no_grad():
        for p in core.parameters():
            p.zero_()
    assert not torch.equal(core(inputs)[0], expected)
    torch.testing.assert_close(twin(inputs)[0], expected, rtol=0, atol=0)


def test_parameters_go_through_a_state_dict_and_modules_through_pickle(
    core: Core, name: str, inputs: Tensor
) -> None:
    expected = core(inputs)[0]
    torch.manual_seed(99)
    other = CORES[name]()
    assert not torch.equal(other(inputs)[0], expected)
    other.load_state_dict(core.state_dict())
    torch.testing.assert_close(other(inputs)[0], expected, rtol=0, atol=0)
    torch.testing.assert_close(pickle.loads(pickle.dumps(core))(inputs)[0], expected, rtol=0, atol=0)


def test_parameters_are_drawn_anew_from_the_generator(core: Core, name: str) -> None:
    torch.manual_seed(0)
    core.reset_parameters()  # type: ignore[operator]
    first = [p.clone() for p in core.parameters()]
    core.reset_parameters()  # type: ignore[operator]
    assert not all(torch.equal(a, b) for a, b in zip(first, core.parameters(), strict=True))
    torch.manual_seed(0)
    core.reset_parameters()  # type: ignore[operator]
    assert all(torch.equal(a, b) for a, b in zip(first, core.parameters(), strict=True))


def test_the_state_has_the_dtype_of_the_module(core: Core, inputs: Tensor) -> None:
    core.double()
    assert all(s.dtype == torch.float64 for s in core.initial_state(B))
    assert core(inputs.double())[0].dtype == torch.float64


@pytest.mark.parametrize("shape", [(T, N_IN), (T, B, N_IN + 1), (0, B, N_IN)])
def test_wrong_inputs_are_named(core: Core, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"inputs must be \(T, B, 4\)"):
        core(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bfloat16])
def test_inputs_of_another_dtype_are_named(core: Core, inputs: Tensor, dtype: torch.dtype) -> None:
    says = rf"inputs must be torch\.float32 like the parameters, not {dtype}"
    with pytest.raises(ValueError, match=says):
        core(inputs.to(dtype))
    with pytest.raises(ValueError, match=says):
        core.step_(inputs[0].to(dtype), core.initial_state(B))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        if dtype is torch.bfloat16:
            core(inputs.to(dtype))
        elif dtype is torch.int64:
            with pytest.raises(ValueError, match=says):
                core(inputs.to(dtype))


@pytest.mark.parametrize("shape", [(T,), (T - 1, B), (T + 1, B), (T, B + 1), (B, T)])
def test_a_reset_of_another_shape_is_named(core: Core, inputs: Tensor, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="reset must have shape"):
        core(inputs, None, torch.zeros(shape, dtype=torch.bool))


def test_a_reset_that_is_not_bool_is_named(core: Core, inputs: Tensor) -> None:
    with pytest.raises(ValueError, match=r"reset must be .*bool"):
        core(inputs, None, torch.zeros(T, B))


def test_what_is_no_tensor_is_named(core: Core, inputs: Tensor, reset: Tensor) -> None:
    array: Any = inputs.numpy()
    with pytest.raises(TypeError, match=r"inputs must be a tensor, not ndarray"):
        core(array)
    listed: Any = reset.tolist()
    with pytest.raises(TypeError, match=r"reset must be a tensor, not list"):
        core(inputs, None, listed)
    for wrong, kind in ((array, "ndarray"), (inputs.tolist(), "list")):
        with pytest.raises(TypeError, match=f"inputs must be a tensor, not {kind}"):
            core.step_(wrong[0], core.initial_state(B))
    for row, kind in ((listed[0], "list"), (reset[0].numpy(), "ndarray")):
        with pytest.raises(TypeError, match=f"reset must be a tensor, not {kind}"):
            core.step_(inputs[0], core.initial_state(B), row)


def test_a_state_that_is_none_is_named(core: Core, inputs: Tensor) -> None:
    whole = core.initial_state(B)
    kind = (
        rf"^state must be (a )?{type(whole).__name__}\({', '.join(whole._fields)}\), as initial_state .* not "
    )
    n = len(whole)
    wrong: list[tuple[Any, str]] = [(torch.zeros(B, N), "a Tensor"), ("state", "a str"), ([], "a list")]
    if not isinstance(core, PlasticCore):  # it takes no plain tuple of any length
        wrong += [((*whole, torch.zeros(B)), f"a tuple of {n + 1}")]
    if n and not isinstance(core, PlasticCore):
        wrong += [((), "a tuple of 0")]
    for state, found in wrong:
        for call in (core, lambda _, state: core.step_(inputs[0], state)):
            with pytest.raises(TypeError, match=f"{kind}{found}$"):
                call(inputs, state)


def test_a_part_of_a_state_that_is_no_tensor_is_named(core: Core, inputs: Tensor) -> None:
    whole = core.initial_state(B)
    for field, part in whole._asdict().items():
        with pytest.raises(TypeError, match=rf"^state\.{field} must be a tensor, not ndarray"):
            core(inputs, whole._replace(**{field: part.numpy()}))


def test_a_step_needs_a_state(core: Core, inputs: Tensor) -> None:
    with pytest.raises(
        TypeError, match=r"^state must be (given, since step_ overwrites it|a Plastic\w*State)"
    ):
        core.step_(inputs[0], None)


@pytest.mark.parametrize("name", ["lstm", "gru", "linear-full", "feedforward"])
def test_a_plain_tuple_of_tensors_is_a_state_too(core: Core, inputs: Tensor) -> None:
    state = some_state(core)
    assert_same(core(inputs, tuple(state))[1], core(inputs, state)[1])


@pytest.mark.parametrize("name", sorted(set(CORES) - {"feedforward"}))
def test_a_state_of_another_batch_is_named(core: Core, inputs: Tensor) -> None:
    with pytest.raises(ValueError, match=r"state\.(hidden|cell|trace) must have shape"):
        core(inputs, core.initial_state(B + 1))


def test_a_step_names_what_does_not_fit_before_it_writes_anything(core: Core) -> None:
    """In place, a size that is not checked would be a write past the end of the state."""
    state = some_state(core)
    before = [s.clone() for s in state]
    x = torch.ones(B, N_IN)
    with pytest.raises(ValueError, match="inputs must be"):
        core.step_(torch.ones(B, N_IN + 1), state)
    for reset in (torch.zeros(B - 1, dtype=torch.bool), torch.zeros(B)):
        with pytest.raises(ValueError, match="reset must"):
            core.step_(x, state, reset)
    for field, longer in core.initial_state(B + 2)._asdict().items():
        with pytest.raises(ValueError, match=rf"state\.{field} must have shape"):
            core.step_(x, state._replace(**{field: longer}))
    assert all(torch.equal(s, b) for s, b in zip(state, before, strict=True))


@pytest.mark.parametrize("build", [PlasticRNN, PlasticLSTM, PlasticGRU])
@pytest.mark.parametrize("alpha", ["full", "shared"])
def test_a_step_names_a_state_of_another_dtype(build: Any, alpha: Any) -> None:
    core = build(N_IN, N, alpha=alpha)
    state = build(N_IN, N, alpha=alpha, dtype=torch.float64).initial_state(B)
    with pytest.raises(ValueError, match=r"state.hidden must be torch\.float32, not torch\.float64"):
        core.step_(torch.ones(B, N_IN), state)


@pytest.mark.parametrize("size", [0, -1, 2.0, True, None])
@pytest.mark.parametrize(
    "build", [PlasticRNN, PlasticLSTM, PlasticGRU, PlasticLinear, LSTM, GRU, FeedForward]
)
def test_sizes_must_be_positive_integers(build: Callable[..., Core], size: Any) -> None:
    with pytest.raises(ValueError, match="must be an integer above 0"):
        build(4, size)
    if not (build is PlasticRNN and size is None):  # there None means no projection
        with pytest.raises(ValueError, match="must be an integer above 0"):
            build(size, 4)

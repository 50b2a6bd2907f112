"""What a network says once: the backend that serves its rule, and an eta outside (0, 1)."""

import copy
import logging
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from plasticrl.nn import Core, PlasticGRU, PlasticLinear, PlasticLSTM, PlasticRNN, PlasticRNNCell
from plasticrl.state import PlasticState

T, B, N_IN, N = 4, 2, 3, 5
INPUTS = torch.randn(T, B, N_IN, generator=torch.Generator().manual_seed(0))
SLOWER = "torch, step by step, 10 to 25 times slower than the kernels on a CPU"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Any:
    """The lines of the package's logger at INFO."""
    caplog.set_level(logging.INFO, "plasticrl")
    return lambda: [one.getMessage() for one in caplog.records if one.name == "plasticrl"]


@pytest.mark.parametrize(
    ("options", "start", "reason"),
    [
        ({}, "rule 'hebb' runs on the numba backend (compiled kernels)", ""),
        (
            {"rule": "stp"},
            f"rule 'stp' runs on the adjoint backend ({SLOWER}; ",
            "not of ShortTermPlasticity",
        ),
        ({"dtype": torch.float64}, f"rule 'hebb' runs on the adjoint backend ({SLOWER}; ", "torch.float32"),
        (
            {"backend": "reference"},
            f"rule 'hebb' runs on the reference backend ({SLOWER}; ",
            "asked for by name",
        ),
    ],
)
def test_a_network_names_its_backend_and_the_cost_once(
    options: dict[str, Any], start: str, reason: str, said: Any
) -> None:
    rnn = PlasticRNN(N_IN, N, **options)
    for _ in range(3):
        rnn(INPUTS.to(rnn.weight_hh.dtype))
    (line,) = said()
    assert line.startswith(start)
    assert reason in line
    assert "\n" not in line


@pytest.mark.parametrize("build", [PlasticLSTM, PlasticGRU, PlasticRNN])
def test_each_network_says_it_and_again_for_another_reason(build: Any, said: Any) -> None:
    first, second = build(N_IN, N), build(N_IN, N, rule="retroactive")
    first(INPUTS)
    second(INPUTS)
    first.double()(INPUTS.double())
    first(INPUTS.double())
    assert [line.split(" (")[0].split(" runs on the ")[1] for line in said()] == [
        "numba backend",
        "adjoint backend",
        "adjoint backend",
    ]


def test_under_autocast_it_is_the_dtype_of_the_weights_that_counts(said: Any) -> None:
    rnn = PlasticRNN(N_IN, N)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rnn(INPUTS)
    assert said() == ["rule 'hebb' runs on the numba backend (compiled kernels)"]


def test_a_network_without_plasticity_says_nothing(said: Any) -> None:
    PlasticRNN(N_IN, N, alpha="none")(INPUTS)
    assert said() == []


class Outputs(nn.Module):
    """A network whose arguments are tensors, and its result the outputs."""

    def __init__(self, core: PlasticRNN) -> None:
        super().__init__()
        self.core = core

    def forward(self, inputs: Tensor, hidden: Tensor, trace: Tensor) -> Tensor:
        outputs: Tensor = self.core(inputs, PlasticState(hidden, trace))[0]
        return outputs


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("rule", ["hebb", "stp"])
def test_nothing_is_said_while_torch_records_or_compiles(rule: str, said: Any) -> None:
    rnn = PlasticRNN(N_IN, N, rule=rule, bound_eta=False)
    if rnn.plasticity.eta_raw is not None:
        rnn.plasticity.eta_raw.data.fill_(-0.5)

    module, example = Outputs(rnn), (INPUTS, *rnn.initial_state(B))
    torch.export.export(module, example)
    torch.export.export(module, example, strict=True)
    torch.jit.trace(module, example, check_trace=False)  # the check is an ordinary call
    make_fx(module)(*example)
    torch.compile(module, backend="eager")(*example)
    assert said() == []


def test_nothing_is_said_of_an_ensemble(said: Any) -> None:
    """Each network has an eta of its own there, none of which is a number that can be read."""
    networks = [PlasticRNN(N_IN, N, bound_eta=False) for _ in range(2)]
    parameters, _ = torch.func.stack_module_state(networks)  # type: ignore[arg-type]
    parameters["plasticity.eta_raw"].data.fill_(-0.5)
    torch.func.vmap(lambda own: torch.func.functional_call(networks[0], own, (INPUTS,))[0])(parameters)
    assert said() == []


def free(build: Any, eta: float, **options: Any) -> Core:
    core = build(N_IN, N, eta=0.5, bound_eta=False, **options)
    with torch.no_grad():
        core.plasticity.eta_raw.fill_(eta)
    return core  # type: ignore[no-any-return]


@pytest.mark.parametrize("eta", [-0.01, 1.02])
@pytest.mark.parametrize("build", [PlasticRNN, PlasticLSTM, PlasticGRU, PlasticLinear])
def test_a_free_eta_that_has_left_0_to_1_is_reported_once(build: Any, eta: float) -> None:
    core = free(build, eta)
    with torch.no_grad():
        core(INPUTS)  # not in training
    with pytest.warns(UserWarning, match=rf"^eta is {eta}, outside \(0, 1\), .*bound_eta=True") as caught:
        core(INPUTS)
    assert caught[0].filename == __file__
    core(INPUTS)  # warnings are errors here
    with pytest.warns(UserWarning, match="^eta is"):
        free(build, eta)(INPUTS)


def test_a_cell_and_a_replayed_rollout_report_it_too() -> None:
    with pytest.warns(UserWarning, match="^eta is"):
        free(PlasticRNNCell, -0.1)(INPUTS[0])
    core = free(PlasticRNN, -0.1)
    state, reset = core.initial_state(B), torch.zeros(T, B, dtype=torch.bool)
    with torch.no_grad():
        known = core(INPUTS, state, reset)
    with pytest.warns(UserWarning, match="^eta is"):
        core.replay(INPUTS, state, reset, known)


def test_no_warning_without_reason() -> None:
    for eta in (0.0, 0.01, 1.0):
        free(PlasticRNN, eta)(INPUTS)
    frozen = free(PlasticRNN, -0.1)
    frozen.plasticity.eta_raw.requires_grad_(False)  # type: ignore[union-attr,operator]
    frozen(INPUTS)
    free(PlasticRNN, -0.1).to("meta")(INPUTS.to("meta"))
    PlasticRNN(N_IN, N, rule="stp", bound_eta=False)(INPUTS)


def test_what_was_said_is_not_part_of_the_network(said: Any) -> None:
    rnn = PlasticRNN(N_IN, N)
    before = set(vars(rnn))
    rnn(INPUTS)
    assert set(vars(rnn)) == before
    copy.deepcopy(rnn)(INPUTS)
    pickle.loads(pickle.dumps(rnn))(INPUTS)
    assert len(said()) == 3

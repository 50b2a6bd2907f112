"""Optimisers: every one of torch is saved, loaded and resumed; a state that does not fit changes nothing."""

from collections.abc import Callable
from copy import deepcopy
from io import BytesIO
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from plasticrl.agents import EpisodeLearner, RecurrentA2C, TensorFileError
from plasticrl.agents.checkpoint.tree import OPTIMIZERS
from plasticrl.agents.ppo.contrib import PlainRecurrentPPO
from plasticrl.envs import make_vec_env
from plasticrl.envs.supervised.patterns import PatternsTask

TASK = PatternsTask(n_bits=10, n_patterns=2, n_cycles=1, steps_on=3, steps_off=1, test_steps=3)
HALF = 20


def _is_dense(kind: type[Optimizer]) -> bool:
    """True where it can be made with default arguments and steps on parameters of any shape."""
    parameters = [nn.Parameter(torch.ones(shape)) for shape in ((), (2,), (2, 3))]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    try:
        kind(parameters).step()  # type: ignore[call-arg]
    except (RuntimeError, TypeError, ValueError):
        return False
    return True


DENSE = [
    kind
    for name, kind in sorted(vars(torch.optim).items())
    if isinstance(kind, type) and kind is not Optimizer and _is_dense(kind)
]
each_optimizer = pytest.mark.parametrize("kind", DENSE)


def agent(kind: type[Optimizer] = torch.optim.Adam, **options: Any) -> RecurrentA2C:
    env = make_vec_env("PlasticMaze-v0", 2, seed=5, size=5, episode_length=10)
    kwargs = {"hidden_size": 4, "optimizer_class": kind, **options}
    return RecurrentA2C("PlasticPolicy", env, n_steps=5, policy_kwargs=kwargs, seed=2, device="cpu")


def ppo(kind: type[Optimizer] = torch.optim.Adam) -> PlainRecurrentPPO:
    env = make_vec_env("PlasticMaze-v0", 2, seed=5, size=5, episode_length=10)
    return PlainRecurrentPPO("MlpLstmPolicy", env, **ppo_options(kind), device="cpu")


def ppo_options(kind: type[Optimizer]) -> dict[str, Any]:
    kwargs = {"lstm_hidden_size": 5, "optimizer_class": kind}
    return {"n_steps": 5, "batch_size": 10, "n_epochs": 1, "policy_kwargs": kwargs}


def saved(model: Any) -> BytesIO:
    file = BytesIO()
    model.save(file)
    return file


def loaded(file: BytesIO, kind: type[Optimizer], env: Any) -> RecurrentA2C:
    """The agent; a class that no file names is given."""
    given = {} if kind in OPTIMIZERS else {"policy_kwargs": {"optimizer_class": kind}}
    return RecurrentA2C.load(file, env, "cpu", **given)


def test_the_dense_optimizers_are_all_there() -> None:
    names = {kind.__name__ for kind in DENSE}
    assert names >= {"ASGD", "Adafactor", "Adam", "Rprop", "SGD"}
    assert not names & {"LBFGS", "SparseAdam"}


@each_optimizer
@pytest.mark.parametrize("when", ["as a setting", "replaced"])
def test_an_agent_goes_on_to_the_same_parameters_with_every_optimizer(
    kind: type[Optimizer], when: str
) -> None:
    def made() -> RecurrentA2C:
        if when == "as a setting":
            return agent(kind)
        model = agent()
        model.policy.optimizer = kind(model.policy.parameters())  # type: ignore[call-arg]
        return model

    whole, half = made().learn(2 * HALF), made().learn(HALF)
    file = saved(half)
    again = loaded(file, kind, agent().env)
    assert type(again.policy.optimizer) is kind
    assert saved(again).getvalue() == file.getvalue()
    again.learn(HALF, reset_num_timesteps=False)
    for name, tensor in whole.policy.state_dict().items():
        assert torch.equal(again.policy.state_dict()[name], tensor), name


@each_optimizer
def test_ppo_keeps_what_every_optimizer_remembers(kind: type[Optimizer]) -> None:
    file = saved(ppo(kind).learn(HALF))
    env = make_vec_env("PlasticMaze-v0", 2, seed=5, size=5, episode_length=10)
    again = PlainRecurrentPPO.load(file, env, "cpu", **ppo_options(kind))
    assert saved(again).getvalue() == file.getvalue()
    again.learn(HALF, reset_num_timesteps=False)


class ReadsValues(torch.optim.SGD):
    """Looks at values in a way of its own, which fails on tensors without values."""

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["largest"] = parameter.detach().numpy().max(initial=0.0).item()
        return super().step(closure)


def test_an_optimizer_of_ones_own_may_read_values() -> None:
    file = saved(agent(ReadsValues).learn(HALF))
    assert saved(loaded(file, ReadsValues, None)).getvalue() == file.getvalue()


# ------------------------------------------------------------------------------- set_parameters


def _wrong_shape(state: dict[str, Any]) -> None:
    state["state"][0]["exp_avg"] = torch.ones(7, 7)


def _lacking(state: dict[str, Any]) -> None:
    del state["state"][1]["exp_avg_sq"]


def _unknown(state: dict[str, Any]) -> None:
    state["state"][0]["more"] = torch.ones(())


def _of_none(state: dict[str, Any]) -> None:
    state["state"][10_000] = state["state"][0]


def _no_mapping(state: dict[str, Any]) -> None:
    state["state"][0] = [1]


def _option(state: dict[str, Any]) -> None:
    state["param_groups"][0]["betas"] = "many"


def _fewer(state: dict[str, Any]) -> None:
    state["param_groups"][0]["params"].pop()


def _not_whole(state: dict[str, Any]) -> None:
    del state["param_groups"]


UNFIT = [_wrong_shape, _lacking, _unknown, _of_none, _no_mapping, _option, _fewer, _not_whole]


@pytest.mark.parametrize("make", [agent, ppo])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("change", UNFIT)
def test_an_optimizer_state_that_does_not_fit_changes_nothing(
    change: Callable[[dict[str, Any]], None], exact: bool, make: Callable[[], Any]
) -> None:
    model, teacher = make().learn(HALF), make().learn(2 * HALF)
    before = deepcopy(model.get_parameters())
    given = deepcopy(teacher.get_parameters())
    change(given["policy.optimizer"])
    with pytest.raises(ValueError, match=r"policy\.optimizer"):
        model.set_parameters(given, exact_match=exact)
    torch.testing.assert_close(model.get_parameters(), before, rtol=0, atol=0)
    model.set_parameters(teacher.get_parameters(), exact_match=exact)
    torch.testing.assert_close(model.get_parameters(), teacher.get_parameters(), rtol=0, atol=0)
    model.learn(HALF)


@each_optimizer
def test_every_optimizers_own_state_is_taken_back(kind: type[Optimizer]) -> None:
    model = agent(kind).learn(HALF)
    given = deepcopy(model.get_parameters())
    other = agent(kind)
    other.set_parameters(given)
    torch.testing.assert_close(other.get_parameters(), given, rtol=0, atol=0)


def test_the_state_of_another_optimizer_is_refused() -> None:
    given = agent(torch.optim.Rprop).learn(HALF).get_parameters()
    model = agent()
    with pytest.raises(ValueError, match=r"policy\.optimizer"):
        model.set_parameters(given)
    assert not model.policy.optimizer.state


# --------------------------------------------------------------------------- learner of episodes


@pytest.mark.filterwarnings("ignore:eta is .*, outside")  # the paper's is free
@each_optimizer
def test_a_learner_of_episodes_with_another_optimizer_is_told_a_way_out_that_works(
    kind: type[Optimizer],
) -> None:
    model = EpisodeLearner("plastic", TASK, seed=0, device="cpu").learn(2)
    if kind is torch.optim.Adam:
        return
    model.optimizer = kind(model.network.parameters())  # type: ignore[assignment,call-arg]
    model.learn(2)
    with pytest.raises(ValueError, match=r"set learner\.optimizer to a torch\.optim\.Adam") as refused:
        saved(model)
    assert "as a setting" not in str(refused.value)
    model.optimizer = torch.optim.Adam(model.network.parameters(), lr=model.lr_schedule(1.0))
    again = EpisodeLearner.load(saved(model), TASK, device="cpu")
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor), name


def test_ppo_with_another_optimizer_is_told_a_way_out_that_works() -> None:
    model = ppo()
    model.policy.optimizer = torch.optim.ASGD(model.policy.parameters())
    with pytest.raises(ValueError, match=r"policy_kwargs=dict\(optimizer_class=ASGD\)"):
        saved(model)
    saved(ppo(torch.optim.ASGD).learn(HALF))


def test_a_file_with_options_that_fail_is_refused() -> None:
    file = saved(agent(torch.optim.ASGD).learn(HALF))
    with pytest.raises(TensorFileError):
        RecurrentA2C.load(file, None, "cpu", policy_kwargs={"optimizer_class": torch.optim.Adafactor})

from typing import Any

import pytest
import torch
from torch import Tensor

from plasticrl.agents.supervised.network import EpisodeTensors
from plasticrl.agents.supervised.update import episode_loss, judged_outputs, loss_for

T, B, D = 5, 3, 4


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def episode(target: Tensor, *judged: int) -> EpisodeTensors:
    mask = torch.zeros(T, B, dtype=torch.bool)
    mask[list(judged)] = True
    return EpisodeTensors(torch.zeros(T, B, D), None, None, target, mask, None)


CLASSES = torch.tensor([2, 0, 3])


def test_squared_error_is_summed_over_elements_and_averaged_over_steps_and_episodes() -> None:
    outputs, target = random(T, B, D), random(B, D)
    expected = sum(
        float((outputs[t, b, d] - target[b, d]) ** 2) for t in (2, 4) for b in range(B) for d in range(D)
    )
    assert episode_loss(outputs, episode(target, 2, 4), "squared_error").item() == pytest.approx(
        expected / 2 / B
    )


def test_cross_entropy_is_torchs() -> None:
    logits = random(T, B, D)
    loss = episode_loss(logits.log_softmax(-1), episode(CLASSES, T - 1), "cross_entropy")
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(logits[-1], CLASSES).item())


def test_binary_cross_entropy_is_that_of_each_output() -> None:
    logits = random(T, B, D)
    p = logits[-1].softmax(-1)
    loss = episode_loss(logits.log_softmax(-1), episode(CLASSES, T - 1), "binary_cross_entropy")
    expected = -sum(
        (p[b, n] if n == CLASSES[b] else 1 - p[b, n]).log().item() for b in range(B) for n in range(D)
    )
    assert loss.item() == pytest.approx(expected / B / D)


def gradient_of_binary_cross_entropy(logits: Tensor, target: int) -> Tensor:
    """Of one judged output, by the logits ``(N,)``."""
    logits = logits.clone().requires_grad_()
    mask = torch.ones(1, 1, dtype=torch.bool)
    one = EpisodeTensors(torch.zeros(1, 1, 1), None, None, torch.tensor([target]), mask, None)
    loss = episode_loss(logits.log_softmax(-1)[None, None], one, "binary_cross_entropy")
    (gradient,) = torch.autograd.grad(loss, logits)
    return gradient


@pytest.mark.parametrize("n", [2, 3, 5, 20])
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_binary_cross_entropy_has_the_gradient_of_its_definition(n: int, scale: float) -> None:
    """In single precision, against p and 1 - p written out in double."""
    logits = scale * random(n)
    exact = logits.clone().requires_grad_()
    p = exact.softmax(-1)
    definition = torch.nn.functional.binary_cross_entropy(p, torch.eye(n, dtype=torch.float64)[1])
    (expected,) = torch.autograd.grad(definition, exact)
    torch.testing.assert_close(gradient_of_binary_cross_entropy(logits, 1), expected)
    found = gradient_of_binary_cross_entropy(logits.float(), 1)
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gap", [17.0, 200.0, 1000.0])
@pytest.mark.parametrize("n", [2, 5])
def test_binary_cross_entropy_still_teaches_where_the_softmax_is_sure_and_wrong(n: int, gap: float) -> None:
    """In the limit: (2 at the class believed - 1 at the right one - an even share of the others) / N."""
    logits = torch.zeros(n)
    logits[1] = gap
    believed, right = torch.eye(n)[1], torch.eye(n)[0]
    expected = (2 * believed - right - (1 - believed) / (n - 1)) / n
    torch.testing.assert_close(gradient_of_binary_cross_entropy(logits, 0), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [2, 5])
def test_binary_cross_entropy_leaves_alone_what_is_sure_and_right(n: int) -> None:
    logits = torch.zeros(n)
    logits[1] = 1000.0
    assert not gradient_of_binary_cross_entropy(logits, 1).any()


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
def test_an_infallible_softmax_gives_finite_loss_and_gradient(name: Any) -> None:
    """1000 on a wrong class: the softmax itself is exactly 0 and 1."""
    logits = torch.zeros(T, B, D)
    logits[..., 1] = 1000
    logits.requires_grad_()
    loss = episode_loss(logits.log_softmax(-1), episode(CLASSES, T - 1), name)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.isfinite()
    assert loss > 1
    assert gradient.isfinite().all()


def test_only_judged_steps_count() -> None:
    outputs = random(T, B, D).requires_grad_()
    loss = episode_loss(outputs, episode(random(B, D), 1), "squared_error")
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert [bool(step.any()) for step in gradient] == [t == 1 for t in range(T)]
    unjudged = outputs.detach().clone()
    unjudged[0] = torch.inf
    assert episode_loss(unjudged, episode(random(B, D), 1), "squared_error").item() == loss.item()


def test_an_episodes_output_is_that_of_its_last_judged_step() -> None:
    outputs = random(T, B, D)
    mask = torch.zeros(T, B, dtype=torch.bool)
    mask[1:3, 0], mask[0, 1], mask[4, 2] = True, True, True
    judged = judged_outputs(outputs, episode(random(B, D))._replace(target_mask=mask))
    assert torch.equal(judged, torch.stack([outputs[2, 0], outputs[0, 1], outputs[4, 2]]))


def test_the_usual_loss_is_that_of_the_kind_of_task() -> None:
    assert loss_for(None, None) == "squared_error"
    assert loss_for(None, 5) == "cross_entropy"
    assert loss_for("binary_cross_entropy", 5) == "binary_cross_entropy"


@pytest.mark.parametrize(
    ("name", "n_classes"), [("mse", None), ("cross_entropy", None), ("squared_error", 5)]
)
def test_another_loss_is_refused(name: Any, n_classes: int | None) -> None:
    with pytest.raises(ValueError, match=f"loss must be one of .* not '{name}'"):
        loss_for(name, n_classes)

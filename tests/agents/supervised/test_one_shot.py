"""The one-shot classifier: sizes, closed forms of what it binds, and that it learns."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from plasticrl.agents.supervised.network import EpisodeTensors, to_tensors
from plasticrl.agents.supervised.one_shot import OneShotNetwork
from plasticrl.envs.supervised.one_shot import OneShotTask
from plasticrl.nn.factory import PlasticName


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def episode(n_way: int = 5, batch: int = 2, size: int = 31, k_shot: int = 1) -> EpisodeTensors:
    """Random images; the labels come in another order in each episode."""
    steps = n_way * k_shot + 1
    labels = torch.stack([torch.randperm(n_way * k_shot) % n_way for _ in range(batch)], dim=1)
    labels = torch.cat([labels, torch.full((1, batch), -1)])
    mask = torch.zeros(steps, batch, dtype=torch.bool)
    mask[-1] = True
    target = torch.randint(n_way, (batch,))
    return EpisodeTensors(noise(steps, batch, size, size), None, labels, target, mask, None)


@pytest.mark.parametrize(
    ("core", "count"), [("plastic", 112_065), ("homogeneous", 111_746), ("rnn", 111_744)]
)
def test_parameter_counts_of_the_papers_5_way_network(core: PlasticName, count: int) -> None:
    assert sum(p.numel() for p in OneShotNetwork(5, core).parameters()) == count


def test_the_plastic_layer_starts_as_in_the_paper() -> None:
    core = OneShotNetwork(5).core
    assert (core.in_features, core.out_features) == (64, 5)
    assert core.plasticity.rule.name == "oja"
    assert core.plasticity.eta.item() == pytest.approx(0.01)
    assert core.init_scale == 0.01


def test_alpha_can_start_at_a_scale_of_its_own() -> None:
    core = OneShotNetwork(5, alpha_scale=1.0).core
    assert core.plasticity.alpha is not None
    assert 0.9 < core.plasticity.alpha.max() <= 1
    assert core.weight.abs().max() < 0.1


def test_pixels_are_standardised_as_told() -> None:
    plain, scaled = OneShotNetwork(5), OneShotNetwork(5, input_mean=0.25, input_std=2.0)
    scaled.load_state_dict(plain.state_dict())
    images = noise(2, 3, 31, 31)
    torch.testing.assert_close(scaled.embed(images), plain.embed((images - 0.25) / 2))


def test_equal_pictures_are_embedded_once_and_give_the_same_gradients() -> None:
    network, drawn = (
        OneShotNetwork(3),
        OneShotTask(
            np.random.default_rng(0).integers(0, 256, (6, 5, 31, 31), dtype=np.uint8), n_way=3, pool=4
        ).sample(20, np.random.default_rng(1)),
    )
    sizes: list[int] = []
    network.embedding.register_forward_hook(lambda module, given, result: sizes.append(len(result)))
    gradients = []
    for known in (drawn, drawn.expanded()):
        outputs, _ = network(to_tensors(known))
        loss = F.nll_loss(outputs[-1], to_tensors(known).target)
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    assert sizes == [4 * 2, 20 * 4]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("size", "features"), [(31, 8), (46, 8), (47, 32), (63, 72)])
def test_features_of_larger_images(size: int, features: int) -> None:
    """Each convolution halves the side: 47 leaves 2 x 2 positions."""
    network = OneShotNetwork(5, image_size=size, n_filters=8)
    assert network.core.in_features == features
    assert network.embed(noise(2, 3, size, size)).shape == (2, 3, features)


def test_the_embedding_by_its_definition() -> None:
    """A convolution as a product with every patch."""
    network = OneShotNetwork(5, n_filters=4)
    images = noise(2, 3, 31, 31)
    x = images.view(6, 1, 31, 31)
    for layer in network.embedding:
        if isinstance(layer, torch.nn.Conv2d):
            patches = x.unfold(2, 3, 2).unfold(3, 3, 2)  # (6, channels, side, side, 3, 3)
            assert layer.bias is not None
            x = torch.einsum("nchwij,ocij->nohw", patches, layer.weight) + layer.bias[:, None, None]
            x = x.tanh()
    torch.testing.assert_close(network.embed(images), x.view(2, 3, 4))


@pytest.mark.parametrize("core", ["plastic", "homogeneous"])
def test_one_shot_by_ojas_rule_in_closed_form(core: PlasticName) -> None:
    """A label clamps y to one-hot, so that the row of class c is eta times the features shown with it."""
    torch.manual_seed(0)
    network = OneShotNetwork(5, core, n_filters=16, eta=0.4, init_scale=0.7)
    shown = episode()
    assert shown.labels is not None
    log_probabilities, _ = network(shown)
    features = network.embed(shown.inputs)
    layer = network.core
    assert layer.plasticity.alpha is not None
    for b in range(2):
        rows = torch.empty(5, 16)
        for t in range(5):
            rows[shown.labels[t, b]] = 0.4 * features[t, b]
        logits = (layer.weight + layer.plasticity.alpha * rows) @ features[-1, b]
        torch.testing.assert_close(log_probabilities[-1, b], F.log_softmax(logits, 0))


def test_several_shots_by_hebbs_rule_in_closed_form() -> None:
    torch.manual_seed(0)
    eta = 0.2
    network = OneShotNetwork(3, n_filters=8, eta=eta, init_scale=0.7, rule="hebb")
    shown = episode(n_way=3, k_shot=2)
    assert shown.labels is not None
    log_probabilities, _ = network(shown)
    x = network.embed(shown.inputs)
    told = F.one_hot(shown.labels[:-1], 3).float()
    decay = eta * (1 - eta) ** torch.arange(5.0, -1.0, -1.0)  # (6,): the last image is the freshest
    trace = torch.einsum("t,tbo,tbi->boi", decay, told, x[:-1])
    alpha = network.core.plasticity.alpha
    assert alpha is not None
    logits = torch.einsum("boi,bi->bo", network.core.weight + alpha * trace, x[-1])
    torch.testing.assert_close(log_probabilities[-1], logits.log_softmax(-1))


@pytest.mark.parametrize("k_shot", [1, 3])
def test_ojas_closed_form_is_what_the_layer_does_step_by_step(k_shot: int) -> None:
    torch.manual_seed(0)
    network = OneShotNetwork(4, n_filters=8, eta=0.3, init_scale=0.7).double()
    shown = episode(n_way=4, k_shot=k_shot)
    shown = shown._replace(inputs=shown.inputs.double())
    assert shown.labels is not None
    outputs, state = network(shown)
    features, labels = network.embed(shown.inputs), shown.labels
    told = torch.where(labels < 0, 0, 1)[..., None] * F.one_hot(labels.clamp_min(0), 4)
    sums, _ = network.core.sums(features, drive=1000.0 * told)
    _, before = network.core.sums(features[:-1], drive=1000.0 * told[:-1])
    torch.testing.assert_close(state.trace, before.trace)
    torch.testing.assert_close(outputs[-1], sums[-1].log_softmax(-1))
    parameters = list(network.core.parameters())
    for pair in zip(
        torch.autograd.grad(outputs[-1, :, 0].sum(), parameters, retain_graph=True),
        torch.autograd.grad(sums[-1].log_softmax(-1)[:, 0].sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(*pair)


@pytest.mark.parametrize("rule", ["oja", "hebb"])
def test_under_autocast_the_trace_keeps_the_dtype_of_the_weights(rule: str) -> None:
    torch.manual_seed(0)
    network = OneShotNetwork(5, n_filters=8, rule=rule, eta=0.3)
    shown = episode()
    _, exact = network(shown)
    with torch.autocast("cpu", torch.bfloat16):
        _, state = network(shown)
    assert state.trace.dtype == torch.float32
    torch.testing.assert_close(state.trace, exact.trace, rtol=0.05, atol=0.005)


@pytest.mark.parametrize("rule", ["oja", "hebb", "delta"])
@pytest.mark.parametrize("core", ["plastic", "homogeneous"])
def test_each_of_several_queries_is_answered_as_if_it_were_the_only_one(core: PlasticName, rule: str) -> None:
    torch.manual_seed(0)
    network = OneShotNetwork(3, core, n_filters=8, eta=0.3, alpha_scale=1.0, rule=rule)
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 31, 31), dtype=np.uint8)
    many = OneShotTask(images, n_way=3, queries="all").sample(5, np.random.default_rng(1))
    tensors = to_tensors(many)
    outputs, _ = network(tensors)
    for query in range(3):
        rows = [0, 1, 2, 3 + query]
        assert tensors.labels is not None
        alone = tensors._replace(inputs=tensors.inputs[rows], labels=tensors.labels[rows])
        torch.testing.assert_close(network(alone)[0][-1], outputs[3 + query])


def test_a_class_without_a_label_is_no_answer() -> None:
    network = OneShotNetwork(6, n_filters=8)
    with torch.no_grad():
        network.core.weight[4] = 100.0
    outputs, _ = network(episode(n_way=3))
    assert (outputs[-1, :, 3:] == -math.inf).all()
    torch.testing.assert_close(outputs[-1, :, :3].exp().sum(-1), torch.ones(2))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_normalized_features_have_the_norm_of_ones(batch_norm: bool) -> None:
    torch.manual_seed(0)
    network = OneShotNetwork(5, n_filters=16, normalize_features=True, batch_norm=batch_norm)
    plain = OneShotNetwork(5, n_filters=16, batch_norm=batch_norm)
    plain.load_state_dict(network.state_dict())
    images = noise(4, 3, 31, 31)
    features, raw = network.eval().embed(images), plain.eval().embed(images)
    torch.testing.assert_close(features.norm(dim=-1), torch.full((4, 3), 4.0))
    torch.testing.assert_close(features / 4, F.normalize(raw, dim=-1))


def test_batch_normalization_has_the_moments_of_the_batch_and_later_running_ones() -> None:
    torch.manual_seed(0)
    network = OneShotNetwork(5, n_filters=8, batch_norm=True)
    images = 3 * noise(40, 2, 31, 31) + 1
    trained = network.embed(images).view(80, 8)
    torch.testing.assert_close(trained.mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(trained.var(0, correction=0), torch.ones(8), atol=1e-2, rtol=0)
    network.eval()
    one = network.embed(images[:1])
    torch.testing.assert_close(one, network.embed(images)[:1], atol=1e-5, rtol=1e-4)
    assert not any(isinstance(part, torch.nn.Tanh) for part in network.modules())
    assert all(part.bias is None for part in network.modules() if isinstance(part, torch.nn.Conv2d))


def test_the_outputs_are_log_probabilities_and_a_told_label_is_certain() -> None:
    shown = episode()
    assert shown.labels is not None
    outputs, _ = OneShotNetwork(5, n_filters=8)(shown)
    torch.testing.assert_close(outputs.exp().sum(-1), torch.ones(6, 2))
    assert torch.equal(outputs[:-1].exp(), F.one_hot(shown.labels[:-1], 5).float())
    assert outputs.isfinite().all()


def test_the_loss_keeps_its_gradient_where_the_softmax_rounds_to_0() -> None:
    torch.manual_seed(0)
    network = OneShotNetwork(5, n_filters=8, init_scale=0.0)
    with torch.no_grad():
        network.core.weight[0] = 1e3
    outputs, _ = network(episode())
    wrong = outputs[-1].argmin(-1)
    assert outputs[-1].exp().min() == 0
    F.nll_loss(outputs[-1], wrong).backward()
    gradient = network.core.weight.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert gradient.any()


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    network = OneShotNetwork(5)
    network(episode())[0][-1, :, 0].sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_without_plasticity_the_labels_change_nothing() -> None:
    shown = episode()
    assert shown.labels is not None
    relabelled = shown._replace(labels=torch.where(shown.labels < 0, -1, (shown.labels + 1) % 5))
    for core, same in (("rnn", True), ("plastic", False)):
        network = OneShotNetwork(5, core, n_filters=8, eta=0.5, init_scale=1.0)  # type: ignore[arg-type]
        answers = [network(e)[0][-1] for e in (shown, relabelled)]
        assert torch.equal(*answers) == same


def test_it_learns_to_name_what_it_was_shown_once() -> None:
    """Classes that it was not trained on, from noisy pictures; guessing gives 0.5."""
    rng = np.random.default_rng(0)
    coarse = rng.random((120, 1, 4, 4)).repeat(8, axis=2).repeat(8, axis=3)[..., :31, :31]
    copies = 0.7 * coarse + 0.3 * rng.random((120, 4, 31, 31))
    pictures = (255 * copies).astype(np.uint8)
    train, test = (OneShotTask(p, n_way=2, rotations=False) for p in (pictures[:90], pictures[90:]))
    torch.manual_seed(0)
    network = OneShotNetwork(2, n_filters=8)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(300):
        drawn = to_tensors(train.sample(16, rng))
        optimizer.zero_grad()
        F.nll_loss(network(drawn)[0][-1], drawn.target).backward()
        optimizer.step()
    drawn = to_tensors(test.sample(400, rng))
    with torch.no_grad():
        right = network(drawn)[0][-1].argmax(-1) == drawn.target
    assert right.float().mean() > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"core": "lstm"}, "core must be one of 'plastic', 'homogeneous', 'rnn', not 'lstm'"),
        ({"image_size": 28}, "image_size must be at least 31, not 28"),
        ({"n_classes": 0}, "n_classes must be a whole number of at least 1"),
        ({"n_filters": 0}, "n_filters must be a whole number of at least 1"),
        ({"eta": math.nan}, "eta must be a finite number"),
        ({"batch_norm": "yes"}, "batch_norm must be True or False"),
        ({"normalize_features": 2}, "normalize_features must be True or False"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OneShotNetwork(**{"n_classes": 5, **options})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": torch.zeros(6, 2, 28, 28)}, r"inputs must be \(T, B, 31, 31\).*not \(6, 2, 28, 28\)"),
        ({"labels": None}, "the episode has no labels"),
        ({"labels": torch.zeros(5, 2, dtype=torch.int64)}, r"labels must have shape \(6, 2\)"),
        ({"labels": torch.full((6, 2), 5)}, "labels must be below 5, not 5"),
        (
            {"inputs": torch.zeros(3, 31, 31), "picture": torch.zeros(7, 2, dtype=torch.int64)},
            r"labels must have shape \(7, 2\), not \(6, 2\)",
        ),
        (
            {"picture": torch.zeros(6, 2, dtype=torch.int64)},
            r"inputs must be \(P, 31, 31\), not \(6, 2, 31, 31\)",
        ),
    ],
)
def test_an_episode_of_another_task_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OneShotNetwork(5, n_filters=8)(episode()._replace(**change))

import numpy as np
import pytest

from plasticrl.envs import PATTERNS_PRESETS, PatternsTask

# The counts of the published task: steps = cycles * patterns * (on + off) + test steps.
COUNTS = {
    "text": {"n_bits": 1000, "patterns": 5, "cycles": 3, "on": 10, "off": 3, "test": 10, "steps": 205},
    "program": {"n_bits": 1000, "patterns": 5, "cycles": 2, "on": 6, "off": 4, "test": 6, "steps": 106},
    "small": {"n_bits": 50, "patterns": 2, "cycles": 1, "on": 3, "off": 1, "test": 3, "steps": 11},
}
TINY = {"n_bits": 12, "n_patterns": 3, "n_cycles": 2, "steps_on": 2, "steps_off": 1, "test_steps": 2}


def showings(inputs, count):
    """What each episode shows, told from the inputs alone: (showings, B, D), the query left out.

    A showing begins where zeros end; two in a row without zeros between are one.
    """
    lit = (inputs != 0).any(axis=2)
    begins = lit & ~np.vstack([np.zeros_like(lit[:1]), lit[:-1]])
    assert (begins.sum(axis=0) == count + 1).all()
    return np.stack([inputs[begins[:, row], row][:count] for row in range(inputs.shape[1])], axis=1)


@pytest.mark.parametrize("preset", COUNTS)
def test_presets_have_the_published_counts(preset):
    counts = COUNTS[preset]
    task = PatternsTask(**PATTERNS_PRESETS[preset])
    episode = task.sample(3, np.random.default_rng(0))
    steps, count = counts["steps"], counts["cycles"] * counts["patterns"]
    assert task.steps == steps
    assert task.input_shape == (counts["n_bits"],)
    assert episode.inputs.shape == (steps, 3, counts["n_bits"])
    lit = (episode.inputs != 0).any(axis=2)
    times = ([True] * counts["on"] + [False] * counts["off"]) * count + [True] * counts["test"]
    np.testing.assert_array_equal(lit, np.tile(np.array(times)[:, None], (1, 3)))
    shown = showings(episode.inputs, count)
    for row in range(3):
        assert len(np.unique(shown[:, row], axis=0)) == counts["patterns"]
    assert episode.hidden.sum(axis=1).tolist() == [counts["n_bits"] // 2] * 3
    assert sorted(PATTERNS_PRESETS) == sorted(COUNTS)


def test_the_default_is_the_text():
    default, text = PatternsTask(), PatternsTask(**PATTERNS_PRESETS["text"])
    assert vars(default) == vars(text)
    assert (default.n_bits, default.n_patterns, default.steps) == (1000, 5, 205)


@pytest.mark.parametrize("gain", [None, 20.0])
def test_types_and_shapes_are_those_of_the_protocol(gain):
    episode = PatternsTask(**TINY, input_gain=gain).sample(4, np.random.default_rng(1))
    assert (episode.inputs.dtype, episode.target.dtype) == (np.float32, np.float32)
    assert (episode.target_mask.dtype, episode.hidden.dtype) == (np.bool_, np.bool_)
    assert episode.target.shape == episode.hidden.shape == (4, 12)
    assert episode.target_mask.shape == (20, 4)
    assert episode.labels is None


def test_a_showing_is_held_and_every_pattern_is_plus_or_minus_one():
    episode = PatternsTask(**TINY).sample(5, np.random.default_rng(2))
    blocks = episode.inputs[:18].reshape(6, 3, 5, 12)
    np.testing.assert_array_equal(blocks[:, 0], blocks[:, 1])
    np.testing.assert_array_equal(np.abs(blocks[:, 0]), 1)
    np.testing.assert_array_equal(blocks[:, 2], 0)
    np.testing.assert_array_equal(np.abs(episode.target), 1)


def test_every_cycle_shows_every_pattern_once_in_an_order_of_its_own():
    episode = PatternsTask(**{**TINY, "n_bits": 40, "n_cycles": 3}).sample(600, np.random.default_rng(3))
    shown = showings(episode.inputs, 9).reshape(3, 3, 600, 40)
    orders = np.empty((3, 600), dtype=int)
    for row in range(600):
        names = {pattern.tobytes(): name for name, pattern in enumerate(shown[0, :, row])}
        assert len(names) == 3
        for cycle in range(3):
            order = [names[pattern.tobytes()] for pattern in shown[cycle, :, row]]
            assert sorted(order) == [0, 1, 2]
            orders[cycle, row] = order[0] * 9 + order[1] * 3 + order[2]
    # Relative to the first cycle, the six orders come up about evenly: 100 of 600 each, 5 sigma is 46.
    for cycle in (1, 2):
        _, counts = np.unique(orders[cycle], return_counts=True)
        assert len(counts) == 6
        assert (np.abs(counts - 100) < 46).all()
    assert (orders[1] != orders[2]).any()


def test_the_query_is_one_of_the_shown_and_any_of_them():
    task = PatternsTask(**{**TINY, "n_bits": 40})
    episode = task.sample(600, np.random.default_rng(4))
    shown = showings(episode.inputs, 6)
    matches = (shown == episode.target).all(axis=2)  # (showings, B)
    assert (matches.reshape(2, 3, 600).sum(axis=1) == 1).all()
    # The asked pattern's place in the last cycle is about even: 200 of 600 each, 5 sigma is 58.
    places = np.bincount(matches[3:].argmax(axis=0), minlength=3)
    assert (np.abs(places - 200) < 58).all()


@pytest.mark.parametrize(
    ("bits", "degraded", "hidden"),
    [(12, 0.5, 6), (12, 0.25, 3), (10, 0.33, 3), (1000, 0.501, 501), (2, 0.5, 1)],
)
def test_the_query_hides_exactly_its_share(bits, degraded, hidden):
    task = PatternsTask(**{**TINY, "n_bits": bits, "degraded": degraded})
    episode = task.sample(50, np.random.default_rng(5))
    query = episode.inputs[-2:]
    np.testing.assert_array_equal(query == 0, np.broadcast_to(episode.hidden, query.shape))
    np.testing.assert_array_equal(query, np.where(episode.hidden, 0, episode.target)[None].repeat(2, 0))
    assert (episode.hidden.sum(axis=1) == hidden).all()


def test_hidden_bits_are_drawn_evenly():
    episode = PatternsTask(**TINY).sample(1000, np.random.default_rng(6))
    assert (np.abs(episode.hidden.sum(axis=0) - 500) < 80).all()  # 5 sigma


def test_neurons_are_held_where_the_input_is_not_zero():
    episode = PatternsTask(**TINY).sample(4, np.random.default_rng(7))
    np.testing.assert_array_equal(episode.clamp, episode.inputs != 0)
    assert episode.clamp.any()


def test_the_last_step_is_judged():
    episode = PatternsTask(**TINY).sample(4, np.random.default_rng(8))
    assert episode.target_mask[-1].all()
    assert not episode.target_mask[:-1].any()


def test_a_gain_multiplies_the_inputs_and_holds_nothing():
    held, added = PatternsTask(**TINY), PatternsTask(**TINY, input_gain=20.0)
    one, other = held.sample(3, np.random.default_rng(9)), added.sample(3, np.random.default_rng(9))
    assert other.clamp is None
    np.testing.assert_array_equal(other.inputs, 20 * one.inputs)
    np.testing.assert_array_equal(other.target, one.target)
    assert (held.input_bound, added.input_bound) == (1.0, 20.0)
    assert np.abs(other.inputs).max() == 20


def test_the_generator_is_the_only_source_of_randomness():
    task = PatternsTask(**TINY)
    one, same, other = (task.sample(3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for a, b in zip(one, same, strict=True):
        if a is not None:
            np.testing.assert_array_equal(a, b)
    assert (one.target != other.target).any()
    assert len(np.unique(one.target, axis=0)) == 3  # episodes of a batch are independent


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("n_bits", 1, "n_bits must be a whole number, at least 2, got 1"),
        ("n_bits", 10.0, "n_bits must be a whole number"),
        ("n_patterns", 0, "n_patterns must be a whole number, at least 1, got 0"),
        ("n_cycles", 0, "n_cycles must be"),
        ("steps_on", True, "steps_on must be a whole number, at least 1, got True"),
        ("steps_off", -1, "steps_off must be a whole number, at least 0, got -1"),
        ("test_steps", 0, "test_steps must be"),
        ("degraded", 0.0, r"degraded must be a fraction between 0 and 1 .* 12 bits .*, got 0\.0"),
        ("degraded", 1.0, "degraded must be"),
        ("degraded", 0.01, "hides at least one"),
        ("degraded", 0.99, "leaves one"),
        ("degraded", float("nan"), "degraded must be"),
        ("degraded", "0.5", "degraded must be .* got '0.5'"),
        ("degraded", None, "degraded must be .* got None"),
        ("input_gain", 0.0, "input_gain must be a finite number above 0, or None, got 0"),
        ("input_gain", float("inf"), "input_gain must be"),
        ("input_gain", "20", "input_gain must be .* got '20'"),
    ],
)
def test_bad_arguments_are_named(argument, value, words):
    with pytest.raises(ValueError, match=words):
        PatternsTask(**{**TINY, argument: value})


def test_a_batch_of_none_is_refused():
    with pytest.raises(ValueError, match="batch_size must be a whole number, at least 1, got 0"):
        PatternsTask(**TINY).sample(0, np.random.default_rng(0))


def test_presets_cannot_be_changed():
    with pytest.raises(TypeError):
        PATTERNS_PRESETS["text"] = {}

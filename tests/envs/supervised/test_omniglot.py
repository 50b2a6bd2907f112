import hashlib
import io
import itertools
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from plasticrl.envs.data.download import DATASETS, DataError, find_dataset
from plasticrl.envs.data.omniglot import OFFICIAL, load_omniglot, split_classes
from plasticrl.envs.supervised.one_shot import OmniglotTask

SIZE = 7
BITS = 2 ** np.arange(16)


def coded_drawing(number, drawing):
    """A PNG whose 7 x 7 blocks of 15 x 15 pixels are the bits of the character's number and the drawing's."""
    blocks = np.zeros(SIZE * SIZE, dtype=bool)
    blocks[: len(BITS)] = (32 * number + drawing) & BITS
    ink = np.kron(blocks.reshape(SIZE, SIZE), np.ones((15, 15), dtype=bool))
    file = io.BytesIO()
    Image.fromarray(np.where(ink, 0, 255).astype(np.uint8)).convert("1").save(file, "PNG")
    return file.getvalue()


def decoded(images):
    """Class (number less 1) and drawing of pictures of ``coded_drawing``."""
    flat = images.reshape(*images.shape[:-2], -1)
    code = (flat[..., : len(BITS)] > 0.5) @ BITS
    return code // 32 - 1, code % 32


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """Archives of all 1,623 characters in the official layout, whose drawings tell what they are."""
    folder = tmp_path_factory.mktemp("coded")
    for part in OFFICIAL.parts:
        with zipfile.ZipFile(folder / f"{part.name}.zip", "w") as archive:
            for place, number in enumerate(range(part.first, part.last + 1)):
                character, alphabet = divmod(place, part.alphabets)
                home = f"{part.name}/alphabet{alphabet:02d}/character{character + 1:02d}"
                for drawing in range(1, 21):
                    name = f"{home}/{number:04d}_{drawing:02d}.png"
                    archive.writestr(name, coded_drawing(number, drawing))
    parts = (
        part._replace(sha256=hashlib.sha256((folder / part.archive).read_bytes()).hexdigest())
        for part in DATASETS["omniglot"]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLASTICRL_CACHE", str(folder / "cache"))
        patch.setitem(DATASETS, "omniglot", tuple(parts))
        yield folder


@pytest.mark.parametrize("split_by", ["class", "alphabet"])
@pytest.mark.parametrize(("split", "n_way", "k_shot"), [("train", 5, 1), ("test", 5, 1), ("test", 100, 19)])
def test_episodes_are_of_the_split(coded, split, split_by, n_way, k_shot):
    task = OmniglotTask(split, n_way, k_shot, split_by, rotations=False, size=SIZE, data_dir=coded)
    np.testing.assert_array_equal(task.class_ids, split_classes(split, split_by))
    classes, drawings = decoded(task.images / 255)
    assert (classes == task.class_ids[:, None]).all()
    assert (drawings == np.arange(1, 21)).all()
    episode = task.sample(20, np.random.default_rng(0))
    assert episode.inputs.shape == (n_way * k_shot + 1, 20, SIZE, SIZE)
    shown, _ = decoded(episode.inputs)
    assert np.isin(shown, task.class_ids).all()
    for b in range(20):
        assert len(set(shown[:-1, b])) == n_way
        (of_target,) = set(shown[:-1, b][episode.labels[:-1, b] == episode.target[b]])
        assert shown[-1, b] == of_target


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"split": "test", "n_way": 101}, "n_way must be at most 100"),
        ({"n_way": 1524}, "n_way must be at most 1523"),
        ({"k_shot": 20}, "k_shot must be at most 19"),
        ({"split": "all"}, "split must be 'train' or 'test'"),
        ({"split_by": "drawing"}, "split_by must be 'class' or 'alphabet'"),
        ({"rotations": None}, "rotations must be True or False"),
    ],
)
def test_refuses_what_cannot_be(coded, options, text):
    with pytest.raises(ValueError, match=text):
        OmniglotTask(**{"size": SIZE, "data_dir": coded, **options})


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The real dataset, where PLASTICRL_DATA has it; kept in a cache of the tests' own."""
    if "PLASTICRL_DATA" not in os.environ:
        pytest.skip("PLASTICRL_DATA is not set: no real Omniglot to test with")
    try:
        find_dataset("omniglot", download=False)
    except DataError as problem:
        pytest.skip(f"no real Omniglot to test with: {problem}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLASTICRL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield load_omniglot()


def test_the_real_drawings_are_all_there_and_differ(real):
    assert real.images.shape == (1623, 20, 31, 31)
    assert len(set(real.alphabets)) == 50
    distinct = {image.tobytes() for image in real.images.reshape(-1, 31 * 31)}
    # A few drawings of single dots or bars cannot be told apart, at least when they are small.
    assert len(distinct) > 0.999 * 32460
    inked = real.images.mean(axis=(2, 3)) / 255
    assert 0.03 < inked.mean() < 0.12
    assert inked.min() > 0


def test_the_held_out_alphabets_are_whole_and_chosen_by_the_stated_rule(real):
    names = sorted(
        set(real.alphabets), key=lambda name: hashlib.sha256(f"plasticrl:{name}".encode()).hexdigest()
    )
    count = {name: int((real.alphabets == name).sum()) for name in names}
    chosen = next(four for four in itertools.combinations(names, 4) if sum(map(count.get, four)) == 100)
    np.testing.assert_array_equal(
        split_classes("test", "alphabet"), np.flatnonzero(np.isin(real.alphabets, chosen))
    )


def test_the_real_task_draws_strokes(real):
    episode = OmniglotTask("test").sample(16, np.random.default_rng(0))
    assert episode.inputs.shape == (6, 16, 31, 31)
    assert episode.inputs.min() == 0
    assert episode.inputs.max() == 1
    assert (episode.inputs.max(axis=(2, 3)) > 0.3).all()

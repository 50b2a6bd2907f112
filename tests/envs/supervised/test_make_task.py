from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest

from plasticrl.envs import make_task
from plasticrl.envs.data import cifar
from plasticrl.envs.data import omniglot as omniglot_images
from plasticrl.envs.data.omniglot import split_classes
from plasticrl.envs.supervised.make_task import ImageSet, load_image_set


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One drawing of each character; its first pixels are its number."""
    images = np.zeros((1623, 1, 32, 32), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(1623) % 256
    images[:, 0, 0, 1] = np.arange(1623) // 256
    monkeypatch.setattr(
        omniglot_images, "load_omniglot", lambda size, data_dir=None: SimpleNamespace(images=images)
    )
    return images


@pytest.mark.parametrize(("split", "count"), [("train", 1523), ("test", 100)])
def test_drawings_are_those_of_the_splits_characters(drawings: Any, split: Any, count: int) -> None:
    images = load_image_set("omniglot", split)
    assert images.shape == (count, 1024)
    assert images.dtype == np.float32
    pixels = np.rint((images[:, :2] + 1) * 127.5).astype(int)
    assert (pixels[:, 0] + 256 * pixels[:, 1]).tolist() == split_classes(split, "class").tolist()


def test_paper_is_minus_one_ink_is_one_and_no_pixel_is_zero(drawings: Any) -> None:
    drawings[:, 0, 1, :] = 255
    images = load_image_set("omniglot").reshape(-1, 32, 32)
    assert (images[:, 1] == 1).all()
    assert (images[:, 2:] == -1).all()
    assert (images != 0).all()  # a pixel of 0 would be one that the query hides


def test_the_task_completes_them(drawings: Any) -> None:
    episode = make_task("images", dataset="omniglot").sample(2, np.random.default_rng(0))
    assert episode.inputs.shape[2] == 1024


def test_the_sets_are_those_of_cifar_and_omniglot() -> None:
    assert get_args(ImageSet) == (*cifar.LAYOUTS, "omniglot")
    with pytest.raises(ValueError, match="one of cifar-10, cifar-100, omniglot, got 'mnist'"):
        load_image_set("mnist")  # type: ignore[arg-type]

"""Omniglot, N ways and K shots: experiment 3 of Miconi et al. (2018)."""

from __future__ import annotations

import os

from plasticrl.envs.omniglot_images import load_omniglot
from plasticrl.envs.omniglot_splits import Split, SplitBy, split_classes
from plasticrl.envs.one_shot import OneShotTask


class OmniglotTask(OneShotTask):
    """``OneShotTask`` on the drawings of Omniglot; ink is 1.0 and paper 0.0.

    Miconi et al. (2018), section 4.3, with the difference that the 100 test classes are one fixed,
    published set (``split_classes``), so that no model is tested on classes that it was trained on.

    Args:
        split: "train" (1,523 classes) or "test" (100 others).
        n_way: N, classes of an episode: 2 up to those of the split.
        k_shot: K, labelled drawings of each class: 1 to 19.
        split_by: whether the test classes are single characters ("class") or whole alphabets ("alphabet").
        rotations: whether each class of an episode is turned by a random multiple of 90 degrees.
        size: height and width of the drawings, 1 to 105; resized from 105.
        data_dir: folder of the official files; see ``find_dataset`` for what happens without.
        pool: as in ``OneShotTask``.

    Attributes:
        class_ids: (classes,) the classes' character numbers less 1, ascending, in the order of ``images``.

    Raises:
        ValueError: an argument is not what is said here; the text names it.
        DataError: the dataset's files cannot be used; the text names the file and a way out.
        OSError: the cache cannot be written; ``PLASTICRL_CACHE`` names another folder for it.
    """

    def __init__(
        self,
        split: Split = "train",
        n_way: int = 5,
        k_shot: int = 1,
        split_by: SplitBy = "class",
        rotations: bool = True,
        size: int = 31,
        data_dir: str | os.PathLike[str] | None = None,
        pool: int | None = None,
    ) -> None:
        self.split: Split = split
        self.class_ids = split_classes(split, split_by)
        images = load_omniglot(size, data_dir).images[self.class_ids]
        super().__init__(images, n_way, k_shot, rotations, pool)

"""N-way K-shot classification on Omniglot: experiment 3 of Miconi et al. (2018)."""

from __future__ import annotations

import os

from plasticrl.envs.omniglot_images import load_omniglot
from plasticrl.envs.omniglot_splits import Split, SplitBy, split_classes
from plasticrl.envs.one_shot import OneShotTask


class OmniglotTask(OneShotTask):
    """``OneShotTask`` on the drawings of Omniglot; ink is 1.0 and paper 0.0.

    Follows section 4.3 of Miconi et al. (2018) except that the 100 test classes are one fixed, published
    set (``split_classes``), so that no model is tested on classes that it was trained on.

    Args:
        split: "train" (1,523 classes) or "test" (100 others).
        n_way: N, classes per episode: 2 up to the number of classes in the split.
        k_shot: K, labelled drawings per class: 1 to 19.
        split_by: hold out single characters ("class") or whole alphabets ("alphabet") as test classes.
        rotations: rotate each class of an episode by a random multiple of 90 degrees.
        size: height and width of the drawings, 1 to 105; resized from 105.
        data_dir: folder of the official files; see ``find_dataset`` for the default.
        pool: see ``OneShotTask``.

    Attributes:
        class_ids: (classes,) character number of each class less 1, ascending, in the order of ``images``.

    Raises:
        ValueError: an argument is invalid; the message names it.
        DataError: the dataset's files cannot be used; the message names the file and a way out.
        OSError: the cache is not writable; set ``PLASTICRL_CACHE`` to another folder.
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

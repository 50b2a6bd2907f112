"""One-shot classification (Miconi et al. 2018, experiment 3), on Omniglot or any pictures in classes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from plasticrl.arguments import check_count
from plasticrl.envs.data.omniglot import Split, SplitBy, load_omniglot, split_classes
from plasticrl.envs.supervised.references import nearest_neighbour
from plasticrl.envs.supervised.task import Episode, EpisodeTask, Predictor

Queries: TypeAlias = Literal["one", "all"]


def distinct_draws(rng: np.random.Generator, rows: int, population: int, count: int) -> NDArray[np.int64]:
    """Draw ``count`` different numbers below ``population`` in every row, in random order.

    Runs the first ``count`` steps of a Fisher-Yates shuffle on all rows at once. Every ordered selection is
    equally likely. It neither sorts nor draws random numbers for the unused part of the population.

    Args:
        rng: source of randomness.
        rows: number of independent rows, at least 0.
        population: the numbers are drawn from 0 to ``population - 1``.
        count: numbers to draw, 0 to ``population``.

    Returns:
        (rows, count).

    Raises:
        ValueError: ``count`` is more than ``population`` or below 0.
    """
    if not 0 <= count <= population:
        raise ValueError(f"cannot draw {count} different numbers out of {population}")
    # Transposed, (population, rows), so that each step of the shuffle writes contiguous memory.
    deck = np.repeat(np.arange(population)[:, None], rows, axis=1)
    places = rng.integers(np.arange(count)[:, None], population, size=(count, rows))
    column = np.arange(rows)
    for step, place in enumerate(places):
        drawn = deck[place, column]
        deck[place, column] = deck[step]
        deck[step] = drawn
    return np.ascontiguousarray(deck[:count].T)


class OneShotTask(EpisodeTask):
    """Episodes of N classes x K labelled pictures, then one unlabelled picture of one of the classes.

    Follows section 4.3 of Miconi et al. (2018). Every episode draws its classes without replacement,
    assigns the labels 0 to N - 1 to them at random, and shows their N K pictures in random order. The query
    is another picture of one of the classes, drawn uniformly; the target is its label. Each class is rotated
    by a random multiple of 90 degrees, the same for its labelled pictures and the query.

    Args:
        images: (classes, pictures per class, size, size) uint8; 0 becomes the input 0.0 and 255 becomes 1.0.
            Not copied.
        n_way: N, classes per episode: 2 up to the number of classes.
        k_shot: K, labelled pictures per class: 1 up to the pictures per class less one.
        rotations: rotate the classes.
        pool: with None (default), every episode draws from all classes. With P, the episodes of a batch draw
            from P classes, with K + 1 pictures and one rotation each, chosen anew for every batch. This is
            meant for training: a network that processes each distinct picture once gets many episodes from
            few pictures. It has no benefit for environments, which draw every episode separately. Do not use
            it for evaluation: episodes that share pictures are not independent, so that a confidence
            interval over them is too narrow.
        queries: "one" (default), or "all": a query of every class, in random order, so that a network which
            only reads its trace after the last label learns N times as much from an episode. Meant for
            training, too: the target then has one class for each step, (T, B).

    Attributes:
        steps: N K + 1, or N K + N.
        n_classes: N.
        input_shape: (size, size).

    Raises:
        ValueError: an argument is invalid; the message names it.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        n_way: int = 5,
        k_shot: int = 1,
        rotations: bool = True,
        pool: int | None = None,
        queries: Queries = "one",
    ) -> None:
        wanted = "images must be uint8 of shape (classes, pictures per class, size, size), got"
        if not isinstance(images, np.ndarray):
            raise ValueError(f"{wanted} {type(images).__name__}: give an array")
        if images.ndim != 4 or images.dtype != np.uint8 or images.shape[2] != images.shape[3]:
            raise ValueError(f"{wanted} {images.dtype} of shape {images.shape}")
        classes, pictures, size, _ = images.shape
        if check_count("n_way", n_way, least=2) > classes:
            raise ValueError(f"n_way must be at most {classes}, the number of classes, got {n_way}")
        if check_count("k_shot", k_shot) >= pictures:
            raise ValueError(
                f"k_shot must be at most {pictures - 1}, got {k_shot}: a class has {pictures} pictures, "
                "and one of them is reserved for the query"
            )
        if not isinstance(rotations, bool):
            raise ValueError(f"rotations must be True or False, got {rotations!r}")
        if pool is not None and not n_way <= check_count("pool", pool) <= classes:
            raise ValueError(f"pool must be from n_way ({n_way}) to {classes} classes, or None, got {pool}")
        if queries not in get_args(Queries):
            raise ValueError(f"queries must be 'one' or 'all', got {queries!r}")
        self.images = images
        self._queries: Queries = queries  # the fingerprint has it as the number of steps
        self.pool = pool
        self.n_classes: int = int(n_way)
        self.k_shot = int(k_shot)
        self.rotations = rotations
        self.steps = self.n_classes * self.k_shot + (1 if queries == "one" else self.n_classes)
        self.input_shape = (size, size)

    def sample(self, batch_size: int, rng: np.random.Generator) -> Episode:
        """Draw ``batch_size`` episodes: ``inputs`` (T, B, size, size) in [0, 1], ``labels`` (T, B).

        With a pool, ``inputs`` are its pictures, (P (K + 1), size, size), and ``picture`` says which one is
        shown. ``target`` (B,) is the label of the query, or (T, B) that of each step. At the queries, and
        only there, ``labels`` is -1 and ``target_mask`` is true.

        Raises:
            ValueError: ``batch_size`` is below 1.
        """
        batch = check_count("batch_size", batch_size)
        n_way, k_shot = self.n_classes, self.k_shot
        classes, pictures = self.images.shape[:2] if self.pool is None else (self.pool, k_shot + 1)
        # Labels are positions in the random order of the chosen classes, and thus random themselves.
        chosen = distinct_draws(rng, batch, classes, n_way)
        # The first K pictures of a class are shown, the one after them is its possible query.
        drawn = distinct_draws(rng, batch * n_way, pictures, k_shot + 1).reshape(batch, n_way, k_shot + 1)
        slots = rng.permuted(np.tile(np.arange(n_way * k_shot), (batch, 1)), axis=1)
        if self._queries == "one":
            asked = rng.integers(n_way, size=(1, batch))
        else:
            asked = rng.permuted(np.tile(np.arange(n_way), (batch, 1)), axis=1).T
        label = np.concatenate([slots.T // k_shot, asked])  # (T, B)
        shot = np.concatenate([slots.T % k_shot, np.full(asked.shape, k_shot)])
        column = np.arange(batch)
        which = chosen[column, label], drawn[column, label, shot]
        if self.pool is None:
            turns = rng.integers(4, size=(batch, n_way))[column, label] if self.rotations else None
            inputs, picture = _seen(self.images[which], turns), None
        else:
            inputs, picture = self._draw_pool(rng), which[0] * pictures + which[1]
        labels = label.copy()
        labels[-len(asked) :] = -1
        target_mask = labels < 0
        target = label if self._queries == "all" else label[-1]
        return Episode(inputs, None, labels, target, target_mask, None, picture)

    def references(self) -> Mapping[str, Predictor]:
        """Return the nearest neighbour of the query."""
        return {"nearest neighbour": nearest_neighbour}

    def _draw_pool(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw the pictures of one batch: (pool (K + 1), size, size)."""
        assert self.pool is not None
        classes, pictures = self.images.shape[:2]
        chosen = distinct_draws(rng, 1, classes, self.pool).T  # (pool, 1)
        drawn = distinct_draws(rng, self.pool, pictures, self.k_shot + 1)
        turns = np.broadcast_to(rng.integers(4, size=(self.pool, 1)), drawn.shape) if self.rotations else None
        return _seen(self.images[chosen, drawn], turns).reshape(-1, *self.input_shape)


def _seen(images: NDArray[np.uint8], turns: NDArray[np.int64] | None) -> NDArray[np.float32]:
    """Rotate images (A, B, size, size) in place by quarter turns (A, B) and scale them to [0, 1]."""
    if turns is not None:
        for quarters in (1, 2, 3):
            turned = turns == quarters
            images[turned] = np.rot90(images[turned], quarters, axes=(1, 2))
    seen: NDArray[np.float32] = np.divide(images, np.float32(255), dtype=np.float32)
    return seen


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
        queries: see ``OneShotTask``.

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
        queries: Queries = "one",
    ) -> None:
        self.split: Split = split
        self.class_ids = split_classes(split, split_by)
        images = load_omniglot(size, data_dir).images[self.class_ids]
        super().__init__(images, n_way, k_shot, rotations, pool, queries)

"""Few-shot classification: tell N new classes apart after K examples of each.

Legend: C characters, D drawings of each, M tasks, N ways, K shots, Q queries of a class, P pixels per side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from synrl_ray.errors import UserError
from synrl_ray.meta.losses import CrossEntropy
from synrl_ray.meta.tasks import SPLITS, Split, TaskBatch, TaskDistribution, checked, uniforms


@dataclass(frozen=True)
class Division:
    """Which characters each split draws its classes from.

    Args:
        train: numbers of characters.
        validation: as ``train``; may be empty, and then has no tasks.
        test: as ``validation``.

    Raises:
        UserError: for a character that two splits share, or that a split names twice.
    """

    train: Sequence[int]
    validation: Sequence[int]
    test: Sequence[int]

    def __post_init__(self) -> None:
        owner: dict[int, Split] = {}
        for split in SPLITS:
            for character in self.of(split):
                if character in owner:
                    twice = f"{owner[character]} and {split}"
                    raise UserError(f"character {character} is in {twice}", "name each character once, in one split")
                owner[character] = split

    def of(self, split: Split) -> Sequence[int]:
        """The characters of one split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]


def divide(num_characters: int, seed: int = 0, fractions: Sequence[float] = (0.7, 0.15, 0.15)) -> Division:
    """Shuffle the characters and cut them into train, validation and test, the same way for the same arguments.

    Raises:
        UserError: for fractions that are not three, or negative, or would make splits overlap.
    """
    if len(fractions) != len(SPLITS) or not all(fraction >= 0 for fraction in fractions) or sum(fractions) > 1 + 1e-9:
        remedy = f"give {', '.join(SPLITS)} a fraction each, with a sum of at most 1"
        raise UserError(f"fractions {tuple(fractions)} are no division into disjoint splits", remedy)
    shuffled = np.random.default_rng(seed).permutation(num_characters).tolist()
    first, second, third = np.rint(np.cumsum(fractions) * num_characters).astype(int).tolist()
    return Division(shuffled[:first], shuffled[first:second], shuffled[second:third])


class FewShotClassification(TaskDistribution):
    """N-way K-shot tasks over images of characters.

    A task draws N of its split's classes, numbers them 0 to N - 1 at random, and draws K + Q different drawings of
    each: the first K are the support set, so that the drawers of a class's queries are others than those of its
    support. With ``rotations``, each character turned by 0, 90, 180 and 270 degrees is four classes, of which one task
    may have several; they all stay in the character's split.

    Args:
        images: ``[C, D, P, P]`` uint8, such as those of :func:`synrl_ray.data.omniglot.load_omniglot`.
        ways: N, classes of a task.
        shots: K, support images of each class.
        queries: Q, query images of each class.
        rotations: whether turned characters are classes of their own.
        division: of the characters among the splits; 70 / 15 / 15 % at random (``divide(C)``) where not given.

    Raises:
        UserError: for more ways, or shots and queries, than there are; and for a division of other characters.
        ValueError: for images of another type or shape.

    Shape:
        support ``[M, N * K, 1, P, P]``, query ``[M, N * Q, 1, P, P]``, float32 in 0 … 1, class after class; labels
        int64.

    References:
        Lake, Salakhutdinov & Tenenbaum (2015), doi:10.1126/science.aab3050: the data.
        Vinyals, Blundell, Lillicrap, Kavukcuoglu & Wierstra (2016), arXiv:1606.04080: N-way K-shot tasks, images of
        28 x 28, rotations by multiples of 90 degrees, 1,200 of 1,623 characters for training.

    Example:
        >>> tasks = FewShotClassification(np.zeros((40, 20, 28, 28), np.uint8), ways=5, shots=1, queries=15)
        >>> batch = tasks.sample("train", seeds=range(8))
        >>> tuple(batch.support_x.shape), tuple(batch.query_y.shape)
        ((8, 5, 1, 28, 28), (8, 75))
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        ways: int,
        shots: int,
        queries: int,
        rotations: bool = True,
        division: Division | None = None,
    ) -> None:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[2] != images.shape[3]:
            raise ValueError(f"images cannot be {images.dtype} {images.shape}: uint8 [C, D, P, P] is needed")
        num_characters, num_drawings = images.shape[:2]
        if ways < 2 or shots < 1 or queries < 1:
            problem = f"ways={ways}, shots={shots}, queries={queries} make no task"
            raise UserError(problem, "choose at least 2 ways, 1 shot and 1 query")
        if shots + queries > num_drawings:
            problem = f"{shots} shots and {queries} queries need {shots + queries} drawings of a class"
            raise UserError(f"{problem}, there are {num_drawings}", "choose fewer shots or queries")
        self.images = images
        self.ways, self.shots, self.queries = ways, shots, queries
        self.num_turns = 4 if rotations else 1
        self.division = division or divide(num_characters)
        for split in SPLITS:
            characters = self.division.of(split)
            if characters and not 0 <= min(characters) <= max(characters) < num_characters:
                wrong = min(characters) if min(characters) < 0 else max(characters)
                raise UserError(f"{split} has character {wrong}", f"there are 0 to {num_characters - 1}")
            if characters or split == "train":
                self._require_classes(split)

    def sample(self, split: Split, seeds: Sequence[int]) -> TaskBatch:
        """Draw tasks; :class:`TaskDistribution` has the arguments.

        Raises:
            UserError: also for a split without characters.
        """
        checked(split, seeds)
        self._require_classes(split)
        per_class = self.shots + self.queries
        drawn = uniforms(split, seeds, self.ways * (1 + per_class))
        characters = np.asarray(self.division.of(split))
        classes = _choose(drawn[:, : self.ways], self.num_turns * len(characters))
        drawings = _choose(drawn[:, self.ways :].reshape(-1, per_class), self.images.shape[1])
        images = self.images[
            characters[classes // self.num_turns][..., None], drawings.reshape(-1, self.ways, per_class)
        ]
        for turns in range(1, self.num_turns):
            turned = classes % self.num_turns == turns
            images[turned] = np.rot90(images[turned], turns, axes=(-2, -1))
        return TaskBatch(
            *self._labelled(images[:, :, : self.shots]),
            *self._labelled(images[:, :, self.shots :]),
            CrossEntropy(),
            tuple(map(int, seeds)),
        )

    def _labelled(self, images: NDArray[np.uint8]) -> tuple[torch.Tensor, torch.Tensor]:
        """Of ``[M, N, K, P, P]``, the x and y of a task batch."""
        num_tasks, ways, per_class, *size = images.shape
        x = torch.from_numpy(np.ascontiguousarray(images)).float().div_(255)
        y = torch.arange(ways).repeat_interleave(per_class).repeat(num_tasks, 1)
        return x.reshape(num_tasks, ways * per_class, 1, *size), y

    def _require_classes(self, split: Split) -> None:
        characters = len(self.division.of(split))
        if self.ways > characters * self.num_turns:
            found = f"{characters} characters" + (f" in {self.num_turns} rotations" if self.num_turns > 1 else "")
            raise UserError(f"{self.ways} ways are more classes than {split} has: {found}", "choose fewer ways")


def _choose(drawn: NDArray[np.float64], num_choices: int) -> NDArray[np.int64]:
    """Different numbers below ``num_choices`` in each row, from ``drawn [rows, count]`` in [0, 1): Fisher & Yates."""
    rows, count = drawn.shape
    pool, row = np.tile(np.arange(num_choices), (rows, 1)), np.arange(rows)
    for place in range(count):
        chosen = place + (drawn[:, place] * (num_choices - place)).astype(np.int64)
        pool[row, place], pool[row, chosen] = pool[row, chosen], pool[row, place]
    return pool[:, :count]

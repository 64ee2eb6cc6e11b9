"""Few-shot tasks over images that say what they are: the character, its drawing, and which way is up."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synrl_ray.errors import UserError
from synrl_ray.meta.classification import Division, FewShotClassification, _choose, divide
from synrl_ray.meta.losses import CrossEntropy
from synrl_ray.meta.tasks import SPLITS

NUM_CHARACTERS, NUM_DRAWINGS = 40, 12
CORNERS = [(0, 0), (3, 0), (3, 3), (0, 3)]  # where the upper left goes when an image turns by 0, 90, 180, 270 degrees


def coded_images(num_characters=NUM_CHARACTERS, num_drawings=NUM_DRAWINGS):
    """4 x 4: the inner four pixels are the character's number, the border the drawing's, one corner is 255."""
    images = np.empty((num_characters, num_drawings, 4, 4), np.uint8)
    images[:] = np.arange(num_drawings)[:, None, None]
    images[:, :, 1:3, 1:3] = np.arange(num_characters)[:, None, None, None]
    images[:, :, 0, 0] = 255
    return images


def decoded(x):
    """Characters, drawings and turns, each ``[M, K]``, of images ``[M, K, 1, 4, 4]``."""
    pixels = (x * 255).round().long()[:, :, 0]
    corners = torch.stack([pixels[:, :, row, column] for row, column in CORNERS], dim=-1)
    assert ((corners == 255).sum(-1) == 1).all()
    return pixels[:, :, 1, 1], pixels[:, :, 0, 1], corners.argmax(-1)


def classes_of(x):
    characters, _, turns = decoded(x)
    return 4 * characters + turns


def distribution(ways=5, shots=2, queries=3, **options):
    return FewShotClassification(coded_images(), ways, shots, queries, **options)


def error_line(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_shapes_types_loss_and_seeds():
    batch = distribution().sample("train", range(3, 10))
    assert (batch.support_x.shape, batch.query_x.shape) == ((7, 10, 1, 4, 4), (7, 15, 1, 4, 4))
    assert (batch.support_y.shape, batch.query_y.shape) == ((7, 10), (7, 15))
    assert (batch.support_x.dtype, batch.query_y.dtype) == (torch.float32, torch.int64)
    assert batch.seeds == tuple(range(3, 10))
    assert isinstance(batch.loss, CrossEntropy)


@pytest.mark.parametrize(("shots", "queries"), [(1, 1), (1, 3), (3, 1)])
def test_tensors_lie_in_memory_of_their_own_without_gaps(shots, queries):
    batch = distribution(shots=shots, queries=queries).sample("train", range(4))
    for x in (batch.support_x, batch.query_x):
        assert x.is_contiguous()
        assert x.untyped_storage().nbytes() == 4 * x.numel()


def test_pixels_lie_between_0_and_1_and_the_images_stay_as_they_are():
    images = coded_images()
    batch = FewShotClassification(images, 5, 2, 3).sample("train", range(50))
    assert (images == coded_images()).all()
    assert (batch.support_x.min(), batch.support_x.max()) == (0, 1)
    assert set((batch.query_x * 255).unique().round().long().tolist()) <= {*range(NUM_CHARACTERS), 255}


@pytest.mark.parametrize("rotations", [True, False])
def test_every_label_has_its_shots_and_queries_of_one_class(rotations):
    batch = distribution(rotations=rotations).sample("train", range(30))
    support, query = classes_of(batch.support_x), classes_of(batch.query_x)
    for task in range(30):
        assert torch.bincount(batch.support_y[task]).tolist() == [2] * 5
        assert torch.bincount(batch.query_y[task]).tolist() == [3] * 5
        classes = dict(zip(batch.support_y[task].tolist(), support[task].tolist(), strict=True))
        assert len(set(classes.values())) == 5
        assert support[task].tolist() == [classes[label] for label in batch.support_y[task].tolist()]
        assert query[task].tolist() == [classes[label] for label in batch.query_y[task].tolist()]


def test_drawers_of_a_class_are_all_different():
    batch = distribution(shots=5, queries=7).sample("train", range(30))
    drawings = torch.cat([decoded(x)[1].reshape(30, 5, -1) for x in (batch.support_x, batch.query_x)], dim=2)
    assert (drawings.sort(dim=2).values == torch.arange(NUM_DRAWINGS)).all()


@settings(deadline=None, max_examples=25)
@given(
    num_characters=st.integers(8, 60),
    seed=st.integers(0, 2**32),
    rotations=st.booleans(),
    seeds=st.lists(st.integers(0, 2**62 - 1), min_size=20, max_size=60),
)
def test_no_character_is_drawn_in_two_splits(num_characters, seed, rotations, seeds):
    division = divide(num_characters, seed, (0.5, 0.25, 0.25))
    images = coded_images(num_characters)
    tasks = FewShotClassification(images, 2, 2, 2, rotations=rotations, division=division)
    drawn = {}
    for split in SPLITS:
        batch = tasks.sample(split, seeds)
        drawn[split] = set(torch.cat([decoded(x)[0] for x in (batch.support_x, batch.query_x)]).flatten().tolist())
        assert drawn[split] <= set(division.of(split))
    assert not drawn["train"] & drawn["validation"]
    assert not drawn["train"] & drawn["test"]
    assert not drawn["validation"] & drawn["test"]


@given(num_characters=st.integers(0, 2000), seed=st.integers(0, 2**32), cuts=st.lists(st.floats(0, 1), max_size=2))
def test_division_is_disjoint_and_as_large_as_its_fractions(num_characters, seed, cuts):
    bounds = [0, *sorted(cuts), *[1] * (3 - len(cuts))]
    fractions = np.diff(bounds).tolist()
    division = divide(num_characters, seed, fractions)
    parts = [division.of(split) for split in SPLITS]
    assert sorted(character for part in parts for character in part) == list(range(num_characters))
    for part, fraction in zip(parts, fractions, strict=True):
        assert abs(len(part) - fraction * num_characters) <= 1 + 1e-6


def test_division_of_the_small_sets_is_70_15_15_percent():
    division = divide(242)
    assert [len(division.of(split)) for split in SPLITS] == [169, 37, 36]


def test_division_depends_on_its_seed_alone():
    assert divide(100) == divide(100, seed=0)
    assert divide(100).train != divide(100, seed=1).train
    assert sorted(divide(100).train) != list(range(70))


def test_fractions_may_leave_characters_out():
    division = divide(10, fractions=(0.5, 0.2, 0.1))
    assert [len(division.of(split)) for split in SPLITS] == [5, 2, 1]


@pytest.mark.parametrize("fractions", [(0.7, 0.2, 0.2), (0.7, 0.3), (1.2, -0.1, -0.1), (float("nan"), 0.1, 0.1)])
def test_fractions_that_overlap_are_refused(fractions):
    assert error_line(divide, 100, 0, fractions) == (
        f"fractions {fractions} are no division into disjoint splits — "
        "give train, validation, test a fraction each, with a sum of at most 1"
    )


@pytest.mark.parametrize(
    ("splits", "where"),
    [
        (([1, 2], [3], [2]), "train and test"),
        (([1], [3, 2], [2]), "validation and test"),
        (([2, 2], [], []), "train and"),
    ],
)
def test_overlap_of_splits_is_refused(splits, where):
    line = error_line(Division, *splits)
    assert line.startswith(f"character 2 is in {where}")
    assert line.endswith(" — name each character once, in one split")


def test_division_of_other_characters_is_refused():
    line = error_line(distribution, division=Division(range(10), range(10, 20), range(20, NUM_CHARACTERS + 1)))
    assert line == "test has character 40 — there are 0 to 39"
    assert error_line(distribution, division=Division(range(-1, 10), [], [])).startswith("train has character -1 — ")


def test_all_classes_of_a_split_are_drawn_equally_often_and_under_all_labels():
    """40 expected draws of each of 112 classes under each of 5 labels: chi-square of 559 degrees, six deviations."""
    tasks = distribution()
    num_classes = 4 * len(tasks.division.train)
    batch = tasks.sample("train", range(40 * num_classes))
    place = {character: number for number, character in enumerate(tasks.division.train)}
    characters, _, turns = decoded(batch.support_x[:, ::2])
    counts = np.zeros((num_classes, 5))
    for label in range(5):
        numbers = [
            place[c] * 4 + t for c, t in zip(characters[:, label].tolist(), turns[:, label].tolist(), strict=True)
        ]
        counts[:, label] = np.bincount(numbers, minlength=num_classes)
    freedom = 5 * (num_classes - 1)
    assert abs(((counts - 40) ** 2 / 40).sum() - freedom) < 6 * (2 * freedom) ** 0.5


def test_drawings_are_drawn_equally_often():
    """Of 12 drawings, each is the only support image of 1 class in 12."""
    batch = distribution(shots=1, queries=1).sample("train", range(1200))
    counts = np.bincount(decoded(batch.support_x)[1].flatten().numpy(), minlength=NUM_DRAWINGS)
    assert counts.sum() == 6000
    assert abs(((counts - 500) ** 2 / 500).sum() - 11) < 6 * 22**0.5


def test_turned_characters_are_classes_of_their_own():
    """A character and its turned self meet in one task: two characters have eight classes."""
    tasks = FewShotClassification(coded_images(2), 8, 1, 1, division=Division([0, 1], [], []))
    batch = tasks.sample("train", range(20))
    assert (classes_of(batch.support_x).sort().values == torch.arange(8)).all()
    assert len({tuple(row) for row in classes_of(batch.support_x).tolist()}) == 20


def test_images_turn_by_quarters_like_rot90():
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 5), dtype=np.uint8)
    tasks = FewShotClassification(images, 12, 2, 2, division=Division([0, 1, 2], [], []))
    known = {
        np.rot90(images[c, d], turns).tobytes(): (c, turns, d) for c in range(3) for d in range(4) for turns in range(4)
    }
    batch = tasks.sample("train", [0])
    x = torch.cat([batch.support_x, batch.query_x], dim=1)
    found = [known[image.tobytes()] for image in (x * 255).round().byte()[0, :, 0].numpy()]
    assert len(set(found)) == 48
    for part in (found[:24], found[24:]):
        assert all(first[:2] == second[:2] for first, second in zip(part[::2], part[1::2], strict=True))


def test_without_rotations_nothing_turns():
    batch = distribution(rotations=False).sample("train", range(50))
    assert (decoded(batch.support_x)[2] == 0).all()


def same(one, other):
    return all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("support_x", "support_y", "query_x", "query_y")
    )


def test_a_task_is_the_same_whatever_it_is_drawn_together_with():
    tasks = distribution()
    batch = tasks.sample("train", [5, 7, 5, 2**62 - 1])
    for place, seed in enumerate(batch.seeds):
        alone = distribution().sample("train", [seed])
        for name in ("support_x", "support_y", "query_x", "query_y"):
            assert torch.equal(getattr(alone, name)[0], getattr(batch, name)[place])
    assert not torch.equal(batch.support_x[0], batch.support_x[1])
    assert not same(tasks.sample("train", [5]), tasks.sample("test", [5]))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((1, 1, 1), "ways=1, shots=1, queries=1 make no task — choose at least 2 ways, 1 shot and 1 query"),
        ((5, 0, 1), "ways=5, shots=0, queries=1 make no task"),
        ((5, 1, 0), "ways=5, shots=1, queries=0 make no task"),
        ((5, 5, 8), "5 shots and 8 queries need 13 drawings of a class, there are 12 — choose fewer shots or queries"),
        ((113, 1, 1), "113 ways are more classes than train has: 28 characters in 4 rotations — choose fewer ways"),
        ((25, 1, 1), "25 ways are more classes than validation has: 6 characters in 4 rotations"),
    ],
)
def test_more_than_there_is_is_refused_with_its_numbers(counts, message):
    assert error_line(distribution, *counts).startswith(message)


def test_more_ways_than_unturned_characters_are_refused():
    line = error_line(distribution, 7, 1, 1, rotations=False)
    assert line == "7 ways are more classes than validation has: 6 characters — choose fewer ways"


def test_as_many_ways_shots_and_queries_as_there_are_are_taken():
    tasks = distribution(6, 5, 7, rotations=False)
    batch = tasks.sample("test", [0])
    assert set(decoded(batch.support_x)[0].flatten().tolist()) == set(tasks.division.test)


@pytest.mark.parametrize("images", [coded_images() / 255, coded_images()[0], coded_images()[..., :3]])
def test_images_of_another_type_or_shape_are_refused(images):
    with pytest.raises(ValueError, match="is needed"):
        FewShotClassification(images, 5, 1, 1)


def test_empty_split_has_no_tasks():
    tasks = distribution(division=Division(range(30), [], range(30, 40)))
    assert len(tasks.sample("test", [0])) == 1
    assert error_line(tasks.sample, "validation", [0]).startswith("5 ways are more classes than validation has: 0 char")
    assert error_line(distribution, division=Division([], [], range(40))).startswith(
        "5 ways are more classes than train"
    )


@pytest.mark.parametrize(("split", "seeds"), [("training", [0]), ("train", []), ("train", [-1]), ("train", [2**62])])
def test_splits_and_seeds_that_do_not_exist_are_refused(split, seeds):
    error_line(distribution().sample, split, seeds)


def test_choice_takes_the_ends_of_the_unit_interval():
    """0 leaves the pool as it is; the largest number below 1 takes the pool's last place each time."""
    drawn = np.array([[0.0] * 4, [np.nextafter(1, 0)] * 4])
    assert _choose(drawn, 4).tolist() == [[0, 1, 2, 3], [3, 0, 1, 2]]

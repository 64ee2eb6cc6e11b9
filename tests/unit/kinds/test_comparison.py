"""The comparison's files: a table, what it says, and a picture."""

import copy

import cv2
import pytest
import torch

from synrl_ray.experiment import AnnLearner, GridworldTasks, MamlRl, QComparison
from synrl_ray.kinds.meta.comparison import combine_comparisons, finish_comparison
from synrl_ray.meta.families import family_of

TASKS = GridworldTasks(rows=4, columns=5, horizon=12, num_obstacles=2)
LEARNER = AnnLearner(hidden_sizes=(8,))
SETTINGS = QComparison(
    env_steps=600,
    interval_steps=30,
    epsilons=(0.1,),
    inner_lrs=(3.0,),
    pool_tasks=3,
    pool_steps=500,
    validation_tasks=4,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    family = family_of(TASKS)
    maml, counts = family.meta_learner(LEARNER, MamlRl(episodes=5)), {"meta_tasks": 100, "num_tasks": 8}
    kept = finish_comparison(maml, LEARNER, family, SETTINGS, folder, **counts, title="four learners")
    return folder, kept


def test_result_keeps_curves_and_choices(finished):
    _, kept = finished
    assert set(kept) == {"env_steps", "learners", "test_tasks", "text"}
    for figures in kept["learners"].values():
        assert len(figures["share_of_optimum"]) == 21
        assert list(figures["looks"]) == list(figures["share_by_task"]) == ["0", "60", "180", "600"]
        for look, at in figures["looks"].items():
            assert at["share"] == pytest.approx(figures["share_of_optimum"][int(look) // 30], abs=1e-4)
            assert at["low"] <= at["share"] <= at["high"]
            assert len(figures["share_by_task"][look]) == 8
    meta = kept["learners"]["policy, meta-learned start"]
    assert meta["env_steps_before"] == 100 * 6 * 5 * 12


def test_table_and_reading_say_the_same_figures(finished):
    folder, kept = finished
    text = (folder / "comparison.md").read_text()
    head, _, *rows = text.split("\n\n")[0].splitlines()
    assert head.startswith("| learner | after 0 | after 60 | after 180 | after 600 |")
    assert len(rows) == 4
    for name, figures in kept["learners"].items():
        (row,) = (row for row in rows if row.startswith(f"| {name} |"))
        assert f"{figures['share_of_optimum'][-1]:.1%} (" in row
    reading = text.split("\n\n")[1]
    assert f"{kept['learners']['policy, meta-learned start']['share_of_optimum'][-1]:.1%}" in reading
    assert "8 tasks" in reading


def test_equal_tasks_are_one_for_the_intervals(finished):
    _, kept = finished
    copies = [0, 0, 0, 0, 1, 1, 1, 1]
    halves = copy.deepcopy(kept)
    for figures in halves["learners"].values():
        figures["share_by_task"] = dict.fromkeys(figures["share_by_task"], copies)
    (narrow, wide) = (
        combine_comparisons([part] * 2)["learners"]["Q-learning"]["looks"]["600"]
        for part in (halves, {**halves, "copies": copies})
    )
    assert (narrow["share"], wide["share"]) == (0.5, 0.5)
    assert (wide["low"], wide["high"]) == (0.0, 1.0)
    assert narrow["low"] > 0.1
    assert narrow["high"] < 0.9


def test_nothing_is_combined_of_no_learners(finished):
    _, kept = finished
    assert combine_comparisons([{**kept, "learners": {}}] * 2) is None


def test_picture_is_drawn(finished):
    folder, _ = finished
    picture = cv2.imread(str(folder / "comparison.png"))
    assert picture.shape[1] == 1560
    assert len({tuple(pixel) for pixel in picture[::7, ::7].reshape(-1, 3)}) > 50


def _moved(kept, by):
    """As of another seed, whose learners did so much better."""
    other = copy.deepcopy(kept)
    for figures in other["learners"].values():
        figures["share_of_optimum"] = [share + by for share in figures["share_of_optimum"]]
        for look, shares in figures["share_by_task"].items():
            figures["share_by_task"][look] = [share + by for share in shares]
    return other


def test_seeds_are_combined_by_their_means_over_the_same_tasks(finished):
    _, kept = finished
    both = combine_comparisons([kept, _moved(kept, 2.0)])
    for name, figures in both["learners"].items():
        one = kept["learners"][name]
        assert figures["share_of_optimum"] == pytest.approx([share + 1.0 for share in one["share_of_optimum"]])
        assert len(figures["env_steps_to_95_per_seed"]) == 2
        for look, at in figures["looks"].items():
            assert at["share"] == pytest.approx(one["looks"][look]["share"] + 1.0, abs=1e-4)
            width = one["looks"][look]["high"] - one["looks"][look]["low"]
            assert at["high"] - at["low"] > width  # seeds differ too
    assert both["text"].startswith("| learner | after 0 |")
    assert f"{both['learners']['Q-learning']['looks']['600']['share']:.1%}" in both["text"]


def test_seeds_are_not_combined_where_one_does_not_say_how_each_task_went(finished):
    _, kept = finished
    old, other_tasks = copy.deepcopy(kept), dict(kept, test_tasks=9)
    del old["learners"]["Q-learning"]["share_by_task"]
    assert combine_comparisons([kept, old]) is None
    assert combine_comparisons([kept, other_tasks]) is None
    assert combine_comparisons([kept, None]) is None
    assert combine_comparisons([None]) is None

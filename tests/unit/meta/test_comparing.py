"""Four learners on the same test tasks."""

import numpy as np
import pytest
import torch

from synrl_ray.meta.comparing import compare, on_marks
from synrl_ray.meta.families import family_of
from synrl_ray.settings.maml import MamlRl
from synrl_ray.settings.meta import AnnLearner, GridworldTasks, QComparison

TASKS = GridworldTasks(rows=4, columns=4, horizon=10)
LEARNER = AnnLearner(hidden_sizes=(8,))
SETTINGS = QComparison(
    env_steps=400,
    interval_steps=20,
    epsilons=(0.1, 0.9),
    initial_values=(0.0,),
    inner_lrs=(0.001, 5.0),
    pool_tasks=4,
    pool_steps=1_000,
    validation_tasks=6,
)


@pytest.fixture(scope="module")
def found():
    torch.manual_seed(3)
    maml = family_of(TASKS).meta_learner(LEARNER, MamlRl(episodes=5))
    return compare(maml, 123, LEARNER, family_of(TASKS), SETTINGS, num_tasks=6)


def test_what_was_known_last_counts():
    values = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    at = np.array([[0.0, 0.0], [5.0, 9.0], [10.0, 30.0]])
    marks = np.array([0, 4, 5, 10, 20])
    assert on_marks(values, at, marks).T.tolist() == [[1, 1, 2, 3, 3], [10, 10, 10, 20, 20]]


def test_all_meet_the_same_tasks_at_the_same_steps(found):
    assert found.env_steps.tolist() == list(range(0, 401, 20))
    assert [contender.name for contender in found.contenders] == [
        "Q-learning",
        "Q-learning, pooled start",
        "policy, untrained start",
        "policy, meta-learned start",
    ]
    for contender in found.contenders:
        assert contender.actions.shape == (21, 6, 16)
        assert contender.share.shape == (6, 21)
        assert (contender.share <= 1 + 1e-9).all()


def test_what_is_told_of_each(found):
    table, pooled, untrained, meta = found.contenders
    assert [c.steps_before for c in found.contenders] == [0, 4_000, 0, 123]
    assert table.chosen["epsilon_start"] in SETTINGS.epsilons
    assert set(pooled.chosen) == {"epsilon_start", "epsilon_end"}
    assert untrained.chosen == {"inner_lr": 5.0}, "with the other rate nothing is learned"
    assert meta.chosen == {}


def test_the_specialist_learns_every_task(found):
    assert found.contenders[0].share[:, -1].mean() > 0.9
    assert found.contenders[0].share[:, 0].mean() < 0.5


def test_it_is_the_same_again(found):
    torch.manual_seed(3)
    maml = family_of(TASKS).meta_learner(LEARNER, MamlRl(episodes=5))
    again = compare(maml, 123, LEARNER, family_of(TASKS), SETTINGS, num_tasks=6)
    for one, other in zip(found.contenders, again.contenders, strict=True):
        assert (one.share == other.share).all()
        assert one.chosen == other.chosen

"""How meta-learners are judged on test tasks."""

import pytest
import torch

from synrl_ray.errors import NonFiniteError
from synrl_ray.kinds.meta.judging import judge_of
from synrl_ray.kinds.meta.scores import TaskScores
from synrl_ray.meta.families import family_of
from synrl_ray.registry import get_experiment

EXPERIMENT = get_experiment("gridworld-maml")


def judge(monkeypatch, finite_steps):
    """A judge whose learners are not finite after more steps than that."""
    family = family_of(EXPERIMENT.tasks)
    learner = EXPERIMENT.learner("ann")
    made = judge_of(family.meta_learner(learner, EXPERIMENT.algorithm.maml), learner, EXPERIMENT.tasks)

    def scores(maml, split, num_tasks, inner_steps):
        if inner_steps > finite_steps:
            raise NonFiniteError("a policy", "task 7")
        return TaskScores({"regret": torch.rand(num_tasks, inner_steps + 1)})

    monkeypatch.setattr(made, "scores", scores)
    return made


def test_steps_that_do_not_count_may_lead_nowhere(monkeypatch):
    assert judge(monkeypatch, 9).on_test_tasks(None, 3, 2).adaptation.by_step["regret"][3:] != ()
    found = judge(monkeypatch, 2).on_test_tasks(None, 3, 2)
    assert len(found.adaptation.by_step["regret"]) == len(found.adaptation.untrained["regret"]) == 3
    with pytest.raises(NonFiniteError):
        judge(monkeypatch, 1).on_test_tasks(None, 3, 2)

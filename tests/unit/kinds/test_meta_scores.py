"""What a result says of scores on tasks, by hand.

Two tasks, after 0, 1 and 2 inner steps; the protocol's number of them is 1.
"""

import pytest
import torch

from synrl_ray.kinds.meta.scores import TaskScores, result_of

REGRET = torch.tensor([[1.0, 0.5, 0.2], [0.6, 0.1, 0.4]])
LOSS = torch.tensor([[4.0, 3.0, 2.0], [2.0, 1.0, 0.0]])


def made(**options):
    scores = TaskScores({"loss": LOSS, "regret": REGRET}, torch.tensor([[0, 10, 20], [0, 30, 40]]))
    return result_of(scores, "ann", "gridworld-maml", {"inner_steps": 1}, **options)


def test_figures_are_means_over_tasks_after_the_protocols_steps():
    result = made()
    assert result.figures == {"loss": 2.0, "regret": pytest.approx(0.3)}
    assert result.score == "regret", "the first that is known of regret, accuracy and loss counts"
    assert result.adaptation.by_step["regret"] == pytest.approx((0.8, 0.3, 0.3))
    assert result.adaptation.tasks == {"loss": (3.0, 1.0), "regret": pytest.approx((0.5, 0.1))}
    assert result.adaptation.env_steps == (0.0, 20.0, 30.0)


def test_intervals_are_standard_errors_of_the_mean():
    """The deviation of 3 and 1 is sqrt(2) with n - 1, its standard error over two tasks is 1."""
    loss, regret = made(over="official runs").intervals
    assert (loss.of, loss.low, loss.high) == ("loss", pytest.approx(2 - 1.96), pytest.approx(2 + 1.96))
    assert (regret.of, regret.low, regret.high) == ("regret", pytest.approx(0.3 - 1.96 * 0.2), pytest.approx(0.692))
    assert {interval.over for interval in (loss, regret)} == {"official runs"}
    assert made().adaptation.errors["loss"] == pytest.approx((1.96, 1.96, 1.96))


def test_the_untrained_control_is_beside_it():
    assert made().adaptation.untrained == {}
    control = TaskScores({"regret": REGRET + 1})
    assert made(untrained=control).adaptation.untrained["regret"] == pytest.approx((1.8, 1.3, 1.3))


def test_copies_of_a_task_make_its_mean_no_surer():
    """Of three, the first two are equal: residuals -1, 1 and 0 sum to 0 and 0 in the two groups, 1, 1, -2 to 2, -2."""
    scores = TaskScores({"loss": torch.tensor([[0.0], [2.0], [1.0]])})
    result = result_of(scores, "ann", None, {"inner_steps": 0}, copies=[0, 0, 2])
    assert result.adaptation.errors["loss"] == (0.0,)
    scores = TaskScores({"loss": torch.tensor([[2.0], [2.0], [-1.0]])})
    result = result_of(scores, "ann", None, {"inner_steps": 0}, copies=[0, 0, 2])
    assert result.adaptation.errors["loss"][0] == pytest.approx(1.96 * (2 / 1 * (2**2 + 2**2)) ** 0.5 / 3)
    assert result.interval("loss").over == "distinct test tasks"
    assert result.adaptation.copies == (0, 0, 2)
    assert made(copies=[0, 1]).intervals == made().intervals
    assert made(copies=[0, 1]).adaptation.copies is None

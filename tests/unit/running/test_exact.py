from types import SimpleNamespace

import numpy as np
import pytest

from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_values import best_greedy_policy
from synrl_ray.experiment import Environment
from synrl_ray.running.exact import ExactJudge, exact_judge


def agent_of(policy):
    return SimpleNamespace(greedy=lambda observations: policy[observations])


@pytest.mark.parametrize(("env_id", "optimum"), [("Taxi-v3", 7.93), ("CliffWalking-v1", -13.0)])
def test_the_best_policy_has_no_regret(env_id, optimum):
    table = TransitionTable.from_id(env_id)
    judge = ExactJudge(table)
    score = judge.score(agent_of(best_greedy_policy(table)[0]))
    assert score.regret == 0.0
    assert score.value == pytest.approx(optimum)
    assert judge.upper_bound == pytest.approx(judge.optimum)


def test_policies_on_the_lake_are_judged_by_the_best_that_sees_the_state_only():
    judge = ExactJudge(TransitionTable.from_id("FrozenLake-v1"))
    assert judge.optimum == pytest.approx(0.7402, abs=1e-4)
    assert judge.upper_bound == pytest.approx(0.7442, abs=1e-4)
    score = judge.score(agent_of(np.zeros(16, np.int64)))
    assert score.regret == pytest.approx(judge.optimum - score.value)
    assert score.regret > 0.5


def test_environments_without_a_table_have_no_judge():
    assert exact_judge(Environment(id="CartPole-v1")) is None
    assert exact_judge(Environment(id="Taxi-v3")) is not None

from types import SimpleNamespace

import numpy as np
import pytest

from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_values import best_greedy_policy
from synrl_ray.experiment import Environment
from synrl_ray.kinds.local.exact import ExactJudge, exact_judge


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


@pytest.mark.parametrize("costs", [{"step_cost": 0.0, "bump_cost": 0.0}, {}])
def test_a_maze_has_success_rate_and_path_ratio(costs):
    kwargs = {"size": 6, "maze_seed": 1, "braid": 0.3, "observation": "cell", **costs}
    judge = exact_judge(Environment(id="synrl_ray/Maze-v0", kwargs=kwargs))
    best = judge.maze.optimal_actions().clip(0)

    class Fixed:
        def __init__(self, actions):
            self.actions = actions

        def greedy(self, observations):
            return self.actions[observations]

    score = judge.score(Fixed(best))
    assert (score.regret, score.success_rate, score.path_ratio) == (0.0, 1.0, 1.0)
    cut = best.copy()
    cut[judge.maze.goal - 6] = 0  # the cell north of the goal turns away from it, or into a wall
    figures = judge.describe(Fixed(cut))
    assert figures["success_rate"] < 1.0 or figures["path_ratio"] > 1.0 or best[judge.maze.goal - 6] == 0
    nowhere = judge.score(Fixed(np.where(judge.maze.distances() == 1, (best + 2) % 4, best)))
    assert (nowhere.success_rate, nowhere.path_ratio) == (0.0, None)

"""Exact values against published optima, recursions, closed forms and played episodes."""

from dataclasses import replace
from functools import cache

import gymnasium as gym
import numpy as np
import pytest

from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_endless import limit_of_values, reaching
from synrl_ray.envs.tabular_values import (
    best_greedy_policy,
    exact_value,
    optimal_state_values,
    optimal_value,
    state_values,
)
from synrl_ray.envs.tabular_vector import TabularVectorEnv
from synrl_ray.errors import UserError

OPTIMA = {
    "Taxi-v3": (7.930, 7.930),
    "FrozenLake-v1": (0.7442, 0.7402),
    "FrozenLake8x8-v1": (0.9132, 0.8936),
    "CliffWalking-v1": (-13, -13),
}
"""Best expected return: of policies that see the steps that are left, and of those greedy ones that do not."""
UP, RIGHT, DOWN = 0, 1, 2


def chain(rows, initial, time_limit=None):
    """A table with one action from rows of (probability, next state, reward, terminated)."""
    size = max(map(len, rows))
    rows = [row + [(0.0, 0, 0.0, True)] * (size - len(row)) for row in rows]
    probability, next_state, reward, terminated = np.moveaxis(np.array(rows, float)[:, None], -1, 0)
    return TransitionTable(
        probability, next_state.astype(int), reward, terminated > 0, np.array(initial, float), time_limit, "chain"
    )


def policy_of(table):
    return np.zeros(table.num_states, int)


@pytest.mark.parametrize("env_id", OPTIMA)
def test_best_returns_are_the_known_ones(env_id):
    table = TransitionTable.from_id(env_id)
    timed, stationary = OPTIMA[env_id]
    assert optimal_value(table) == pytest.approx(timed, abs=5e-5)
    policy, value = best_greedy_policy(table)
    assert value == pytest.approx(stationary, abs=5e-5)
    assert exact_value(table, policy) == value <= optimal_value(table) + 1e-9


def test_best_return_of_taxi_is_20_less_the_moves_of_the_best_route_from_300_starts():
    table = TransitionTable.from_id("Taxi-v3")
    assert np.count_nonzero(table.initial) == 300
    best = optimal_state_values(table)[table.initial > 0]
    assert best.mean() == pytest.approx(7.93, abs=1e-9)
    # At best a pick-up at R or Y, four moves to the other and the drop-off for 20; at worst 17 actions before it.
    assert (best.max(), best.min()) == (pytest.approx(20 - 5), pytest.approx(20 - 17))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("env_id", ["FrozenLake-v1", "FrozenLake8x8-v1"])
def test_values_equal_a_recursion_over_the_original_transitions(env_id, seed):
    env = gym.make(env_id).unwrapped
    transitions, num_states = env.P, env.observation_space.n
    policy = np.random.default_rng(seed).dirichlet(np.ones(4), num_states)

    @cache
    def expected(left, state):
        if left == 0:
            return 0.0, 0.0
        ours, best = [], []
        for action in range(4):
            outcomes = transitions[state][action]
            after = [(p, r, (0, 0) if end else expected(left - 1, s)) for p, s, r, end in outcomes]
            ours.append(sum(p * (r + value[0]) for p, r, value in after))
            best.append(sum(p * (r + value[1]) for p, r, value in after))
        return float(policy[state] @ ours), max(best)

    table = TransitionTable.from_id(env_id, {"max_episode_steps": 30})
    recursion = np.array([expected(30, state) for state in range(num_states)])
    np.testing.assert_allclose(state_values(table, policy), recursion[:, 0], atol=1e-12)
    np.testing.assert_allclose(optimal_state_values(table), recursion[:, 1], atol=1e-12)


def test_a_deterministic_policy_is_a_distribution_of_ones():
    table = TransitionTable.from_id("FrozenLake-v1")
    policy = np.random.default_rng(0).integers(0, 4, 16)
    assert exact_value(table, policy) == pytest.approx(exact_value(table, np.eye(4)[policy]), abs=1e-14)


def test_the_value_is_linear_in_the_first_states_and_follows_the_time_limit():
    table = TransitionTable.from_id("FrozenLake-v1", {"is_slippery": False})
    straight = np.array([1, 2, 1, 0] + [1] * 4 + [2, 1, 1, 0] + [2] * 4)  # down, down, right, down, right, right
    assert [exact_value(table, straight, limit) for limit in (5, 6)] == [0, 1]
    assert exact_value(replace(table, time_limit=5), straight) == 0
    start = np.zeros(16)
    start[[0, 1]] = 0.25, 0.75  # from state 1 the policy goes right, down, down, down, right
    values = state_values(table, straight)
    assert exact_value(replace(table, initial=start), straight) == 0.25 * values[0] + 0.75 * values[1]


def test_rewards_for_termination_give_the_probability_of_an_end():
    table = TransitionTable.from_id("FrozenLake-v1")
    policy = np.full((16, 4), 0.25)
    ending = exact_value(replace(table, reward=table.terminated * 1.0), policy)
    holes = exact_value(replace(table, reward=(table.terminated & (table.reward == 0)) * 1.0), policy)
    assert ending == pytest.approx(holes + exact_value(table, policy), abs=1e-12)
    assert 0.999 < ending < 1


@pytest.mark.parametrize("env_id", ["FrozenLake-v1", "Taxi-v3"])
def test_played_episodes_earn_the_exact_value(env_id):
    table = TransitionTable.from_id(env_id, {"max_episode_steps": 30})
    rng = np.random.default_rng(10)
    policy = 0.8 * np.eye(table.num_actions)[best_greedy_policy(table)[0]] + 0.2 / table.num_actions
    envs = TabularVectorEnv(table, 4000)
    states, _ = envs.reset(seed=11)
    returns, going = np.zeros(4000), np.ones(4000, bool)
    for _ in range(30):
        actions = (policy[states].cumsum(axis=1) <= rng.random((4000, 1))).sum(axis=1).clip(max=table.num_actions - 1)
        states, rewards, terminated, truncated, _ = envs.step(actions)
        returns += going * rewards
        going &= ~(terminated | truncated)
    assert not going.any()
    error = returns.std(ddof=1) / np.sqrt(4000)
    assert abs(returns.mean() - exact_value(table, policy)) < 3.5 * error


def test_without_a_time_limit_the_walk_between_two_ends_has_its_closed_form():
    # From k of n, each step left or right with p = 1/2: n - k out of n to fall off on the left, k (n - k) steps.
    n = 6
    rows = [[(0.5, max(k - 1, 0), -1, k == 1), (0.5, min(k + 1, n), -1, k == n - 1)] for k in range(n + 1)]
    table = chain(rows, np.eye(n + 1)[2])
    np.testing.assert_allclose(state_values(table, policy_of(table))[1:n], [-k * (n - k) for k in range(1, n)])
    assert optimal_value(table) == pytest.approx(exact_value(table, policy_of(table)), abs=1e-9)
    assert exact_value(table, policy_of(table), 2000) == pytest.approx(-2 * (n - 2), abs=1e-9)


def test_without_a_time_limit_endless_pay_is_infinite_and_endless_idling_is_free():
    rows = [
        [(0.5, 1, 3, False), (0.5, 0, 3, True)],  # pays, then half of the times idles for ever
        [(1.0, 1, 0, False)],
        [(0.1, 3, 5, False), (0.9, 0, 5, True)],  # may come to a place that costs for ever
        [(1.0, 4, 0, False)],
        [(1.0, 3, -1, False)],
        [(1.0, 5, 1, False)],  # pays for ever
        [(0.5, 5, 0, False), (0.5, 3, 0, False)],
        [(1.0, 8, 1, False)],
        [(1.0, 7, -1, False)],  # pays and costs in turn
    ]
    table = chain(rows, np.eye(9)[0])
    policy = policy_of(table)
    inf, nan = np.inf, np.nan
    np.testing.assert_array_equal(state_values(table, policy), [3, 0, -inf, -inf, -inf, inf, nan, nan, nan])
    assert exact_value(table, policy) == 3
    assert exact_value(replace(table, initial=np.eye(9)[2]), policy) == -inf
    with pytest.raises(UserError, match="the return of this policy on 'chain' has no limit — give a time limit"):
        exact_value(replace(table, initial=np.eye(9)[7]), policy)
    assert exact_value(replace(table, initial=np.eye(9)[7]), policy, 3) == 1


def test_a_policy_that_never_arrives_costs_without_end():
    table = TransitionTable.from_id("CliffWalking-v1")
    assert exact_value(table, np.full(48, UP)) == -np.inf
    safe = np.full(48, RIGHT)
    safe[36], safe[11::12] = UP, DOWN
    assert exact_value(table, safe) == -13
    assert exact_value(replace(table, time_limit=12), safe) == -12


def test_best_returns_that_do_not_converge_are_refused(monkeypatch):
    monkeypatch.setattr("synrl_ray.envs.tabular_values._MAX_SWEEPS", 50)
    table = chain([[(1.0, 0, 1, False)]], [1.0])
    with pytest.raises(UserError, match="the best return on 'chain' does not converge — give a time limit"):
        optimal_value(table)
    assert optimal_value(replace(table, time_limit=70)) == 70


def test_states_that_no_start_leads_to_neither_hold_up_convergence_nor_have_a_value():
    table = chain([[(1.0, 0, 2, True)], [(1.0, 1, -1, False)]], [1.0, 0.0])
    np.testing.assert_array_equal(optimal_state_values(table), [2, np.nan])
    assert (optimal_value(table), best_greedy_policy(table)[1]) == (2, 2)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (np.zeros(15, int), r"is \[16\] of integers, or \[16, 4\]; got int64\[15\]"),
        (np.zeros(16), r"is \[16\] of integers, or \[16, 4\]; got float64\[16\]"),
        (np.full(16, 4), "has actions within 0 and 3"),
        (np.full(16, -1), "has actions within 0 and 3"),
        (np.full((16, 4), 0.3), "needs distributions of actions in its rows"),
        (np.tile([1.5, -0.5, 0, 0], (16, 1)), "needs distributions of actions in its rows"),
        (np.full((16, 4), np.nan), "needs distributions of actions in its rows"),
    ],
)
def test_a_wrong_policy_is_named(policy, message):
    with pytest.raises(ValueError, match=f"a policy for 'FrozenLake-v1' {message}"):
        exact_value(TransitionTable.from_id("FrozenLake-v1"), policy)


def test_limits_of_a_random_chain_equal_its_long_sums():
    rng = np.random.default_rng(0)
    matrix = rng.dirichlet(np.ones(12), 12) * (rng.random((12, 1)) < 0.5) * 0.9
    reward, total = rng.normal(size=12), np.zeros(12)
    for _ in range(2000):
        total = reward + matrix @ total
    np.testing.assert_allclose(limit_of_values(matrix, reward), total, atol=1e-10)


def test_reaching_follows_arrows_backwards():
    matrix = np.array([[0, 1, 0, 0], [0, 0, 0.5, 0], [0, 0, 1, 0], [1, 0, 0, 0]])
    assert reaching(matrix, np.array([False, True, False, False])).tolist() == [True, True, False, True]

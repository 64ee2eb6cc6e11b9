"""Tables against the environments that they are read from, and what is refused."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.errors import UserError

ENVIRONMENTS = [
    ("Taxi-v3", {}, 200),
    ("Taxi-v3", {"is_rainy": True}, 200),
    ("FrozenLake-v1", {}, 100),
    ("FrozenLake-v1", {"is_slippery": False, "max_episode_steps": 7}, 7),
    ("FrozenLake-v1", {"success_rate": 0.8, "reward_schedule": (2, -1, -0.5)}, 100),
    ("FrozenLake8x8-v1", {}, 200),
    ("CliffWalking-v1", {}, None),
    ("CliffWalkingSlippery-v1", {}, None),
]
COIN = {0: {0: [(0.5, 1, 0, False), (0.5, 0, 1, True)]}, 1: {0: [(1.0, 1, 0, True)]}}


class Coin(gym.Env):
    """Two states, one action."""

    observation_space, action_space = spaces.Discrete(2), spaces.Discrete(1)

    def __init__(self, P=COIN, initial=(1.0, 0.0)):
        self.P, self.initial_state_distrib = P, initial


def table_of(P=COIN, initial=(1.0, 0.0)):
    return TransitionTable.from_env(Coin(P, initial))


def outcomes(transitions):
    """Probability of each next state, reward and end, from a list that may hold one of them twice."""
    merged = {}
    for probability, *outcome in transitions:
        if probability > 0:
            key = tuple(map(float, outcome))
            merged[key] = merged.get(key, 0) + probability
    return merged


@pytest.mark.parametrize(("env_id", "kwargs", "time_limit"), ENVIRONMENTS)
def test_every_state_and_action_has_the_outcomes_of_the_original(env_id, kwargs, time_limit):
    env, table = gym.make(env_id, **kwargs), TransitionTable.from_id(env_id, kwargs)
    assert (table.num_states, table.num_actions) == (env.observation_space.n, env.action_space.n)
    assert (table.time_limit, table.name) == (time_limit, env_id)
    np.testing.assert_array_equal(table.initial, env.unwrapped.initial_state_distrib)
    for state in range(table.num_states):
        for action in range(table.num_actions):
            entry = (table.probability, table.next_state, table.reward, table.terminated)
            read = zip(*(array[state, action] for array in entry), strict=True)
            assert outcomes(read) == pytest.approx(outcomes(env.unwrapped.P[state][action]))


def test_cumulative_probabilities_end_in_one_and_leave_no_room_for_padding():
    table = table_of()
    np.testing.assert_array_equal(table.probability, [[[0.5, 0.5]], [[1, 0]]])
    np.testing.assert_array_equal(table.cumulative, [[[0.5, 1]], [[1, 1]]])
    np.testing.assert_array_equal(table_of(initial=(0.0, 1.0)).initial_cumulative, [0, 1])
    taxi = TransitionTable.from_id("Taxi-v3")
    assert taxi.initial_cumulative[-1] == 1.0  # 300 times 1/300 is not 1 in floating point
    assert (taxi.initial_cumulative[np.flatnonzero(taxi.initial)[-1] :] == 1.0).all()


def test_the_shortest_of_several_time_limits_counts():
    env = gym.wrappers.TimeLimit(gym.make("FrozenLake-v1"), 12)
    assert TransitionTable.from_env(env).time_limit == 12
    assert TransitionTable.from_env(gym.wrappers.TimeLimit(Coin(), 3)).time_limit == 3
    assert table_of().time_limit is None


def test_a_user_environment_is_read_from_its_id():
    gym.register("Coin-v0", Coin, max_episode_steps=4)
    try:
        table = TransitionTable.from_id("Coin-v0", {"initial": (0.25, 0.75)})
    finally:
        del gym.registry["Coin-v0"]
    assert (table.name, table.time_limit, table.initial.tolist()) == ("Coin-v0", 4, [0.25, 0.75])


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("CartPole-v1", r"environment 'CartPole-v1' has no transition table P — tables are read from P"),
        ("Blackjack-v1", r"environment 'Blackjack-v1' has no transition table P — tables are read from P"),
        ("Txi-v3", r"unknown environment 'Txi-v3' — did you mean Taxi-v3"),
    ],
)
def test_environments_without_a_table_are_refused_by_name(env_id, message):
    with pytest.raises(UserError, match=message):
        TransitionTable.from_id(env_id)


@pytest.mark.parametrize("space", [spaces.Box(0, 1, (2,)), spaces.Discrete(2, start=1), spaces.MultiDiscrete([2])])
@pytest.mark.parametrize("kind", ["observation", "action"])
def test_spaces_that_are_not_discrete_are_refused(monkeypatch, space, kind):
    monkeypatch.setattr(Coin, f"{kind}_space", space)
    with pytest.raises(UserError, match=f"'Coin' has the {kind} space .* — a table needs Discrete"):
        table_of()


def test_an_environment_without_first_states_is_refused():
    with pytest.raises(UserError, match="'Coin' has no distribution of first states, initial_state_distrib"):
        table_of(initial=None)


def test_dynamics_beyond_the_table_are_refused():
    with pytest.raises(UserError, match="'Taxi-v3' does more than its transition table"):
        TransitionTable.from_id("Taxi-v3", {"fickle_passenger": True})


def test_wrappers_that_the_table_cannot_see_are_refused():
    env = gym.wrappers.TransformReward(gym.make("FrozenLake-v1"), lambda reward: 2 * reward)
    with pytest.raises(UserError, match="'FrozenLake-v1' is wrapped in TransformReward"):
        TransitionTable.from_env(env)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([(0.5, 0, 0, False)], "probabilities that are no distribution in state 1, action 0"),
        ([(1.5, 0, 0, False), (-0.5, 0, 0, False)], "probabilities that are no distribution in state 1, action 0"),
        ([], "probabilities that are no distribution in state 1, action 0"),
        ([(1.0, 2, 0, False)], "an unknown next state in state 1, action 0"),
        ([(1.0, -1, 0, False)], "an unknown next state in state 1, action 0"),
        ([(1.0, 0, float("nan"), False)], "a reward that is not finite in state 1, action 0"),
        ([(1.0, 0.5, 0, False)], r"cannot be read \(ValueError: a next state is no whole number\)"),
        ([(1.0, None, 0, False)], r"cannot be read \(TypeError"),
        ([(1.0, 0, 0)], r"cannot be read \(ValueError"),
    ],
)
def test_a_wrong_transition_is_named(row, message):
    with pytest.raises(UserError, match=f"transition table of 'Coin' .*{message}") as caught:
        table_of(P={**COIN, 1: {0: row}})
    assert "\n" not in str(caught.value)


def test_a_missing_action_and_wrong_first_states_are_named():
    with pytest.raises(UserError, match=r"table of 'Coin' cannot be read \(KeyError: 0\)"):
        table_of(P={**COIN, 1: {}})
    with pytest.raises(UserError, match="table of 'Coin' has probabilities of first states that are no distribution"):
        table_of(initial=(0.5, 0.4))
    with pytest.raises(UserError, match=r"has probabilities of shape \(2, 1, 2\) and 3 first states"):
        table_of(initial=(1.0, 0.0, 0.0))


def test_arrays_that_do_not_fit_are_refused():
    good = table_of()
    arrays = (good.probability, good.next_state, good.reward)
    with pytest.raises(UserError, match="has arrays of several shapes"):
        TransitionTable(*arrays, good.terminated[:1], good.initial)
    with pytest.raises(UserError, match="has the time limit 0"):
        TransitionTable(*arrays, good.terminated, good.initial, time_limit=0)
    with pytest.raises(UserError, match="needs one observation for each state, and their space"):
        TransitionTable(*arrays, good.terminated, good.initial, observations=np.zeros((2, 3)))

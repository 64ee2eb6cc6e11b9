"""The compiled loop against the agent's own steps, with the same random numbers."""

import numpy as np
import pytest

from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_kernels import draw, step
from synrl_ray.envs.tabular_values import exact_value
from synrl_ray.policies.local.agent import Clock
from synrl_ray.policies.local.q_learning.agent import QTable
from synrl_ray.policies.local.q_learning.fragment import Schedule, dynamics_of, learn_fragment
from synrl_ray.settings.q_learning import QLearning

NUM_ENVS, NUM_STEPS = 3, 400


def compiled(table, settings, q, states, random, *, num_steps=NUM_STEPS, first=0):
    num_envs = len(states)
    episodes = np.zeros((2, num_steps * num_envs))
    number, sum_errors = learn_fragment(
        q,
        dynamics_of(table),
        Clock(num_steps, first, num_envs),
        Schedule(settings.epsilon_start, settings.epsilon_end, settings.epsilon_steps),
        Schedule(settings.lr, settings.final_lr, settings.lr_steps),
        settings.gamma,
        states,
        np.zeros(num_envs, np.int64),
        np.zeros(num_envs),
        *episodes,
        random,
    )
    return episodes[:, :number], sum_errors


def step_by_step(table, agent, states, random):
    """What the compiled loop does, through the agent's own methods."""
    elapsed, returns, episodes = np.zeros(NUM_ENVS, int), np.zeros(NUM_ENVS), []
    has_chance = table.probability.shape[2] > 1
    arrays = (table.cumulative, table.next_state, table.reward, table.terminated)
    for t in range(NUM_STEPS):
        uniforms = np.array([random.random() for _ in range(NUM_ENVS)])
        actions = agent.choose(states, t * NUM_ENVS, uniforms)
        following, rewards, terminated, truncated = states.copy(), np.zeros(NUM_ENVS), *np.zeros((2, NUM_ENVS), bool)
        after = states.copy()
        for n in range(NUM_ENVS):
            chance = random.random() if has_chance else 0.0
            following[n], rewards[n], terminated[n] = step(*arrays, states[n], actions[n], chance)
            elapsed[n] += 1
            returns[n] += rewards[n]
            truncated[n] = elapsed[n] >= (table.time_limit or np.inf)
            after[n] = following[n]
            if terminated[n] or truncated[n]:
                episodes.append((returns[n], elapsed[n]))
                after[n] = draw(table.initial_cumulative, random.random())
                elapsed[n] = returns[n] = 0
        agent.learn(rewards, terminated, truncated, np.ones(NUM_ENVS, bool), following)
        states = after
    return np.array(episodes).T


@pytest.mark.parametrize("env_id", ["Taxi-v3", "FrozenLake-v1", "CliffWalking-v1"])
def test_compiled_loop_and_single_steps_learn_the_same(env_id):
    kwargs = {"max_episode_steps": 40}  # so that many episodes are truncated
    table = TransitionTable.from_id(env_id, kwargs)
    settings = QLearning(lr=0.9, lr_end=0.3, lr_steps=700, epsilon_end=0.2, epsilon_steps=900)
    q = np.zeros((table.num_states, table.num_actions))
    first = np.full(NUM_ENVS, np.flatnonzero(table.initial)[0])
    episodes, sum_errors = compiled(table, settings, q, first.copy(), np.random.default_rng(5))

    from gymnasium import spaces

    agent = QTable(spaces.Discrete(table.num_states), spaces.Discrete(table.num_actions), settings)
    expected = step_by_step(table, agent, first.copy(), np.random.default_rng(5))
    np.testing.assert_array_equal(q, agent.q.numpy())
    np.testing.assert_array_equal(episodes, expected)
    assert len(episodes.T) > 20
    assert sum_errors == pytest.approx(agent.diagnostics()["td_error"] * NUM_ENVS * NUM_STEPS)


@pytest.mark.parametrize(
    ("env_id", "settings", "num_steps", "least"),
    [
        ("CliffWalking-v1", QLearning(), 20_000, -13.0),
        ("FrozenLake-v1", QLearning(lr=0.5, lr_end=0.01, lr_steps=800_000, epsilon_end=0.3), 80_000, 0.70),
    ],
)
def test_it_learns(env_id, settings, num_steps, least):
    """Random policies have the value 0.0139 on the lake, and far below -13 on the cliff."""
    table = TransitionTable.from_id(env_id)
    q = np.zeros((table.num_states, table.num_actions))
    states = np.full(10, np.flatnonzero(table.initial)[0])
    compiled(table, settings, q, states, np.random.default_rng(0), num_steps=num_steps)
    assert exact_value(table, q.argmax(axis=1)) >= least

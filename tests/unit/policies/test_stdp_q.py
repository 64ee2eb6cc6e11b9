"""The spiking Q-table: equal to Q-learning without STDP, to a plain Python loop with it."""

import logging
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.errors import UserError
from synrl_ray.policies.local.stdp_q.agent import StdpQAgent
from synrl_ray.policies.local.stdp_q.layer import EXPLORATION_CURRENT
from synrl_ray.settings.plasticity import PairSTDP
from synrl_ray.settings.stdp_q import StdpQ

S, A = 6, 3
OFF = {"stdp_weight": 0.0, "stdp_weight_end": 0.0}
ON = {"stdp_weight": 0.3, "stdp_weight_end": 0.3, "lr": 0.5, "gain": 0.3, "epsilon_start": 0.3, "epsilon_end": 0.3}
NO, YES = np.zeros(1, np.bool_), np.ones(1, np.bool_)


@dataclass
class Step:
    states: np.ndarray
    starts: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    valid: np.ndarray
    next_states: np.ndarray


def script(num_envs, num_steps=150, seed=0):
    """Random walks of several environments with ends, resets in the next step, and starts after them."""
    rng = np.random.default_rng(seed)
    states, starts, ended = rng.integers(S, size=num_envs), np.ones(num_envs, np.bool_), np.zeros(num_envs, np.bool_)
    steps = []
    for _ in range(num_steps):
        next_states, valid = rng.integers(S, size=num_envs), ~ended
        terminated, truncated = ((rng.random(num_envs) < 0.08) & valid for _ in range(2))
        rewards = rng.normal(size=num_envs)
        steps.append(Step(states, starts, rewards, terminated, truncated, valid, next_states))
        states, starts, ended = next_states, ended, terminated | truncated
    return steps


def make(**settings):
    agent = StdpQAgent(spaces.Discrete(S), spaces.Discrete(A), StdpQ(**settings))
    agent.weight.copy_(torch.from_numpy(np.random.default_rng(5).normal(size=(S, A))))
    return agent


def play(agent, steps):
    """Weights after each step, and the actions."""
    generator, weights, actions = torch.Generator().manual_seed(1), [], []
    for t, step in enumerate(steps):
        actions.append(agent.act(step.states, step.starts, t, generator))
        agent.learn(step.rewards, step.terminated, step.truncated, step.valid, step.next_states)
        weights.append(agent.weight.numpy().copy())
    return weights, actions


def tag_of(row, action, config):
    """Pair STDP of one decision, by a loop over simulation steps."""
    currents = [config.base_current + config.gain * (w - sum(row) / len(row)) for w in row]
    current = currents[action]
    if action != int(np.argmax(row)):
        current = max(currents) + EXPLORATION_CURRENT
    membrane = 0.0
    for k in range(1, config.steps_per_observation):
        membrane = config.beta * membrane + current
        if membrane > 1:
            return config.stdp.a_plus * math.exp(-k * config.dt / config.stdp.tau_plus)
    raise AssertionError("no spike")


def pool(entries):
    """Changes times weights of one synapse, over environments."""
    return sum(m * e for m, e in entries) / max(1.0, sum(abs(e) for _, e in entries))


def reference(weights, steps, actions, config):
    weights, history = weights.copy(), []
    traces = [{} for _ in steps[0].states]
    for step, chosen in zip(steps, actions, strict=True):
        td, stdp = {}, {}
        for n, (s, a) in enumerate(zip(step.states, chosen, strict=True)):
            explored = a != int(np.argmax(weights[s]))
            if step.starts[n] or (explored and config.cut_at_exploration):
                traces[n].clear()
            decay = math.exp(-config.decision_time / config.tau_e) if config.tau_e else 0.0
            traces[n] = {pair: decay * e for pair, e in traces[n].items()}
            tag = tag_of(weights[s], a, config)
            before = 0.0 if config.trace == "replacing" else traces[n].get((s, a), 0.0)
            traces[n][(s, a)] = before + tag
            if not (step.valid[n] and math.isfinite(step.rewards[n])):
                continue
            bootstrap = 0.0 if step.terminated[n] else config.gamma * weights[step.next_states[n]].max()
            error = step.rewards[n] + bootstrap - weights[s, a]
            td.setdefault((s, a), []).append((error, 1.0))
            modulator = error if config.modulator == "td_error" else step.rewards[n]
            for pair, e in traces[n].items():
                stdp.setdefault(pair, []).append((modulator, e))
        new = weights.copy()
        for pair, entries in td.items():
            new[pair] += config.lr * pool(entries)
        for pair, entries in stdp.items():
            new[pair] += config.stdp_weight * pool(entries)
        weights = new
        history.append(weights)
    return history


def test_without_stdp_it_is_q_learning_exactly():
    agent = make(lr=0.3, gamma=0.9, epsilon_start=0.5, epsilon_end=0.5, **OFF)
    expected, steps = agent.weight.numpy().copy(), script(1)
    weights, actions = play(agent, steps)
    for step, action, after in zip(steps, actions, weights, strict=True):
        s, a = step.states[0], action[0]
        if step.valid[0]:
            target = step.rewards[0] + (0.0 if step.terminated[0] else 0.9 * expected[step.next_states[0]].max())
            expected[s, a] += 0.3 * (target - expected[s, a])
        assert np.array_equal(after, expected)


def test_environments_that_share_a_pair_change_it_by_their_mean():
    agent = make(lr=1.0, gamma=0.0, epsilon_start=0.0, epsilon_end=0.0, **OFF)
    states = np.array([2, 2, 4])
    actions = agent.act(states, np.ones(3, np.bool_), 0, torch.Generator())
    no = np.zeros(3, np.bool_)
    agent.learn(np.array([1.0, 4.0, 7.0]), no, no, ~no, states)
    assert agent.weight[states, actions].tolist() == pytest.approx([2.5, 2.5, 7.0])


@pytest.mark.parametrize("trace", ["accumulating", "replacing"])
@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("modulator", ["td_error", "reward"])
@pytest.mark.parametrize("tau_e", [0.0, 60.0])
def test_eligibility_and_gating_equal_a_plain_loop(trace, cut, modulator, tau_e):
    rule = PairSTDP(a_plus=0.8, a_minus=0.5, tau_plus=7.0)
    agent = make(
        gamma=0.9, trace=trace, cut_at_exploration=cut, modulator=modulator, tau_e=tau_e, dt=0.5, stdp=rule, **ON
    )
    before, steps = agent.weight.numpy().copy(), script(4)
    weights, actions = play(agent, steps)
    np.testing.assert_allclose(weights, reference(before, steps, actions, agent.config), rtol=1e-9, atol=1e-12)


def test_episode_starts_with_an_empty_trace():
    agent, generator = make(tau_e=1000.0, **(ON | {"epsilon_start": 0.0, "epsilon_end": 0.0})), torch.Generator()
    for state, starts, changed in [(0, YES, {0}), (1, NO, {0, 1}), (2, YES, {2}), (3, NO, {2, 3})]:
        before = agent.weight.clone()
        agent.act(np.array([state]), starts, 0, generator)
        agent.learn(np.ones(1) * 5, NO, NO, YES, np.array([5]))
        rows = (agent.weight != before).any(dim=1).nonzero().flatten()
        assert set(rows.tolist()) == changed


@pytest.mark.parametrize(("terminated", "truncated", "target"), [(NO, NO, 11.0), (NO, YES, 11.0), (YES, NO, 1.0)])
def test_truncated_episodes_bootstrap_and_terminated_ones_do_not(terminated, truncated, target):
    agent = make(gamma=0.5, epsilon_start=0.0, epsilon_end=0.0, **OFF)
    agent.weight[1] = torch.tensor([3.0, 20.0, 0.0])
    action = agent.act(np.array([0]), YES, 0, torch.Generator())
    agent.learn(np.ones(1), terminated, truncated, YES, np.array([1]))
    assert agent.weight[0, action].item() == pytest.approx(target)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_reward_that_is_not_finite_changes_nothing_and_is_counted(bad, caplog):
    agent, pair = make(tau_e=0.0, **ON), np.array([0, 3])
    before, no = agent.weight.clone(), np.zeros(2, np.bool_)
    agent.act(pair, ~no, 0, torch.Generator())
    with caplog.at_level(logging.WARNING):
        agent.learn(np.array([bad, 2.0]), no, no, ~no, pair)
    changed = (agent.weight != before).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [3]
    assert "not finite in 1 environment" in caplog.text
    assert agent.diagnostics()["skipped_rewards"] == 1
    assert agent.diagnostics()["skipped_rewards"] == 0


def test_steps_that_are_no_transitions_change_nothing():
    agent = make(**ON)
    before = agent.weight.clone()
    agent.act(np.array([0]), YES, 0, torch.Generator())
    agent.learn(np.array([math.nan]), NO, NO, NO, np.array([1]))
    assert torch.equal(agent.weight, before)
    assert agent.diagnostics()["skipped_rewards"] == 0


def test_exploration_is_uniform_and_comes_from_the_generator():
    agent = make(epsilon_start=1.0, epsilon_end=0.0, epsilon_steps=10)
    states, starts = np.zeros(3000, np.int64), np.ones(3000, np.bool_)
    actions = agent.act(states, starts, 0, torch.Generator().manual_seed(3))
    assert np.bincount(actions, minlength=A) / 3000 == pytest.approx(np.full(A, 1 / 3), abs=0.05)
    assert np.array_equal(actions, agent.act(states, starts, 0, torch.Generator().manual_seed(3)))
    assert np.array_equal(agent.act(states, starts, 10, torch.Generator()), agent.greedy(states))


def test_weights_are_a_buffer_and_nothing_else_is_kept():
    agent = make(**ON)
    play(agent, script(2, num_steps=5))
    assert list(agent.parameters()) == []
    assert list(agent.state_dict()) == ["weight"] == list(agent.plastic_names)


def test_diagnostics_tell_what_happened_since_the_last_call():
    agent = make(epsilon_start=0.0, epsilon_end=0.0, lr=0.5, tau_e=0.0, stdp_weight=0.5, stdp_weight_end=0.5)
    agent.weight.zero_()
    agent.act(np.array([0]), YES, 0, torch.Generator())
    agent.learn(np.array([2.0]), YES, NO, YES, np.array([1]))
    tag, values = math.exp(-7 / 20), agent.diagnostics()
    assert values["stdp_share"] == pytest.approx(tag / (1 + tag))
    assert values["td_error"] == 2
    assert values["trace_norm"] == pytest.approx(tag)
    assert values["spike_rate"] == pytest.approx(1000 / (10 * A))  # one spike in 10 ms, A neurons
    assert values["spike_latency"] == 7
    assert values["silent_neurons"] == A - 1
    assert (values["weight_min"], values["weight_max"]) == pytest.approx((0, 1 + tag))
    assert agent.diagnostics()["spike_rate"] == 0


@pytest.mark.parametrize("space", [spaces.Box(0, 1, (2,)), spaces.Discrete(3, start=1)])
def test_spaces_that_are_no_table_are_refused(space):
    with pytest.raises(UserError, match="no room for the observations"):
        StdpQAgent(space, spaces.Discrete(2), StdpQ())
    with pytest.raises(UserError, match="no room for the actions"):
        StdpQAgent(spaces.Discrete(2), space, StdpQ())


@pytest.mark.parametrize("observation", [-1, S])
def test_observation_that_is_no_state_is_refused(observation):
    with pytest.raises(ValueError, match="states from 0 to 5"):
        make().greedy(np.array([observation]))

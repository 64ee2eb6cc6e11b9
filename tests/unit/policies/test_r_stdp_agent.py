"""Learning by reward-modulated STDP: against plain loops, at its limits, on a corridor, from given spikes."""

import math
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch

from synrl_ray.errors import UserError
from synrl_ray.policies.local.r_stdp.agent import RStdpAgent
from synrl_ray.settings.plasticity import PairSTDP, RewardModulatedSTDP, TeacherSignal, WeightBounds
from synrl_ray.settings.r_stdp import RStdp

NUM_CELLS, NUM_ACTIONS = 4, 2
CELLS = np.eye(NUM_CELLS, dtype=np.float32)
BOX, DISCRETE = gym.spaces.Box(0.0, 1.0, (NUM_CELLS,), np.float32), gym.spaces.Discrete(NUM_ACTIONS)
RULE = RewardModulatedSTDP(stdp=PairSTDP(a_plus=1.0, a_minus=0.3), tau_e=15.0, lr=0.05)


def make(config=None, **kwargs):
    return RStdpAgent(BOX, DISCRETE, config or RStdp(), **kwargs)


def step(agent, cells, rewards, starts=None, terminated=None, valid=None, steps=0, seed=0):
    """One environment step in which nobody moves."""
    n, g = len(cells), torch.Generator().manual_seed(seed)
    no = np.zeros(n, np.bool_)
    actions = agent.act(CELLS[cells], no if starts is None else np.array(starts), steps, g)
    valid = ~no if valid is None else np.array(valid)
    agent.learn(np.array(rewards), no if terminated is None else np.array(terminated), no, valid, CELLS[cells])
    return actions


def slow_change(history, rule, dt, keep=True):
    """Weight change in plain loops: history has, of each environment step, spikes [K][I], [K][O], reward, start."""
    change = [[0.0] * NUM_ACTIONS for _ in range(NUM_CELLS)]
    decay = [math.exp(-dt / tau) for tau in (rule.stdp.tau_plus, rule.stdp.tau_minus, rule.tau_e)]
    x = y = e = None
    for pre, post, reward, start in history:
        if x is None or start or not keep:
            x, y, e = [0.0] * NUM_CELLS, [0.0] * NUM_ACTIONS, [[0.0] * NUM_ACTIONS for _ in range(NUM_CELLS)]
        for s, p in zip(pre, post, strict=True):
            x = [decay[0] * trace + spike for trace, spike in zip(x, s, strict=True)]
            y = [decay[1] * trace + spike for trace, spike in zip(y, p, strict=True)]
            for i in range(NUM_CELLS):
                for o in range(NUM_ACTIONS):
                    pairs = rule.stdp.a_plus * x[i] * p[o] - rule.stdp.a_minus * s[i] * y[o]
                    e[i][o] = decay[2] * e[i][o] + pairs
        for i in range(NUM_CELLS):
            for o in range(NUM_ACTIONS):
                change[i][o] += rule.lr * reward * e[i][o]
    return torch.tensor(change)


def test_what_nothing_changes_is_forgotten():
    agent = make(RStdp(rule=replace(RULE, lr=0.0), forgetting_steps=100.0, initial_weight=0.5))
    agent.action_weights.copy_(torch.tensor([[0.9, 0.1]] * NUM_CELLS))
    for _ in range(25):
        step(agent, [0, 1, 2, 3], [0.0] * 4)  # 100 environment steps
    kept = 0.4 * math.exp(-1)
    expected = torch.tensor([[0.5 + kept, 0.5 - kept]] * NUM_CELLS)
    torch.testing.assert_close(agent.action_weights, expected, rtol=1e-6, atol=1e-5)
    step(agent, [0, 1], [0.0, 0.0], valid=[False, False])
    torch.testing.assert_close(agent.action_weights, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("eligibility", [True, False])
def test_the_change_is_that_of_plain_loops_and_traces_end_with_the_episode(eligibility):
    wide = WeightBounds(w_min=-100.0, w_max=100.0)
    settings = RStdp(rule=RULE, modulator="reward", bounds=wide, eligibility=eligibility, forgetting_steps=None)
    agent = make(settings)
    before, history = agent.action_weights.clone(), []
    plan = [(0, 0.0, True), (1, 0.7, False), (2, -0.4, False), (0, 1.0, True), (3, 0.5, False)]
    for n, (cell, reward, start) in enumerate(plan):
        step(agent, [cell], [reward], starts=[start], seed=n)
        history.append((agent._pre[:, 0].tolist(), agent._post[:, 0].tolist(), reward, start))
    expected = slow_change(history, RULE, agent.config.dt, keep=eligibility)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(agent.action_weights - before, expected, rtol=1e-6, atol=1e-5)


def test_the_td_error_is_the_modulator():
    agent = make(RStdp(gamma=0.5, critic_lr=0.2))
    agent.critic_weights.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    first, second = (float(v) for v in agent.values(CELLS[[0, 1]]))
    g, no = torch.Generator().manual_seed(0), np.zeros(2, np.bool_)
    agent.act(CELLS[[0, 0]], ~no, 0, g)
    agent.learn(np.array([1.0, 1.0]), np.array([False, True]), no, ~no, CELLS[[1, 1]])
    errors = [1 + 0.5 * second - first, 1 - first]
    assert agent.diagnostics()["modulator_mean"] == pytest.approx(np.mean(errors))
    change = float(agent.values(CELLS[[0]])[0]) - first
    assert change == pytest.approx(0.2 * sum(errors), abs=1e-5)  # a share of each error, added


@pytest.mark.parametrize("modulator", ["td_error", "reward_prediction", "reward"])
def test_what_is_not_finite_or_no_transition_changes_nothing(modulator):
    agent = make(RStdp(forgetting_steps=None, modulator=modulator))
    agent.critic_weights.fill_(0.5)
    before = {name: buffer.clone() for name, buffer in agent.named_buffers()}
    step(agent, [0, 1, 2], [math.nan, math.inf, 5.0], valid=[True, True, False])
    assert agent.diagnostics()["skipped_rewards"] == 2
    assert all(torch.equal(buffer, before[name]) for name, buffer in agent.named_buffers())
    step(agent, [0, 1, 2], [5.0, 5.0, 5.0])
    assert not torch.equal(agent.action_weights, before["action_weights"])
    assert agent.diagnostics()["skipped_rewards"] == 0


def test_weights_stay_in_their_bounds():
    bounds = WeightBounds(w_min=0.2, w_max=0.7)
    agent = make(RStdp(rule=replace(RULE, lr=50.0), modulator="reward", bounds=bounds, forgetting_steps=None))
    for n in range(30):
        step(agent, [n % 4, (n + 1) % 4], [(-1.0) ** n, 1.0], seed=n)
        assert agent.action_weights.min() >= 0.2
        assert agent.action_weights.max() <= 0.7
    assert agent.action_weights.max() == pytest.approx(0.7)
    assert agent.bounded("action_weights", torch.tensor([[9.0, -9.0]])).flatten().tolist() == pytest.approx([0.7, 0.2])


@pytest.mark.parametrize(("step_count", "agrees"), [(0, True), (60, True), (100, False)])
def test_the_teacher_fades_to_nothing(step_count, agrees):
    config = RStdp(teach=True, teacher=TeacherSignal(current=20.0, fade_steps=100))
    right = np.array([0, 1, 0, 1])
    agent = make(config, teacher_actions=right)
    agent.action_weights.copy_(torch.tensor([[0.1, 0.9], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1]]))  # all wrong
    actions = step(agent, [0, 1, 2, 3] * 5, [0.0] * 20, steps=step_count)
    assert (actions == np.tile(right, 5)).mean() == (1.0 if agrees else pytest.approx(0.0, abs=0.2))
    assert (agent.diagnostics()["teacher_current"] > 0) == agrees
    assert agent.greedy(CELLS).tolist() == (1 - right).tolist()  # never in evaluation


@pytest.mark.parametrize("encoding", ["lif", "poisson"])
def test_greedy_is_deterministic_and_changes_nothing(encoding):
    agent = make(RStdp(encoding=encoding, neurons_per_action=3))
    before = agent.action_weights.clone()
    assert (agent.greedy(CELLS) == agent.greedy(CELLS)).all()
    assert torch.equal(agent.action_weights, before)
    agent.action_weights[:, 3:] = 0.9  # the neurons of action 1
    assert agent.greedy(CELLS).tolist() == [1] * NUM_CELLS


@pytest.mark.parametrize("encoding", ["lif", "poisson"])
def test_equal_seeds_act_and_learn_alike(encoding):
    def weights():
        agent = make(RStdp(encoding=encoding, shuffle_spikes=True), seed=3)
        for n in range(5):
            step(agent, [0, 1, 2], [1.0, 0.5, -0.5], seed=n)
        return agent.action_weights

    assert torch.equal(weights(), weights())


def test_only_plastic_buffers_and_no_parameters():
    agent = make()
    assert not list(agent.parameters())
    assert set(agent.state_dict()) == set(agent.plastic_names) == {"action_weights", "critic_weights"}


def test_a_corridor_is_learned_and_not_without_stdp():
    """Four cells in a row, west and east; the goal lies behind the last one."""

    def greedy_after(rule):
        agent = make(RStdp(rule=rule, noise_start=0.3, noise_end=0.2))
        agent.action_weights[:, 0] += 0.1  # west at first
        g, rng, where, starts = torch.Generator().manual_seed(0), np.random.default_rng(0), np.zeros(8, int), np.ones(8)
        ended = np.zeros(8, np.bool_)
        for n in range(400):
            actions = agent.act(CELLS[where], starts.astype(np.bool_), 8 * n, g)
            moved = np.clip(where + 2 * actions - 1, 0, 4)
            terminated = (moved == 4) & ~ended
            where, valid = np.where(ended, rng.integers(0, 4, 8), np.minimum(moved, 3)), ~ended
            agent.learn(terminated * 1.0, terminated, np.zeros(8, np.bool_), valid, CELLS[where])
            starts, ended = ended, terminated
        return agent.greedy(CELLS).tolist()

    assert greedy_after(RStdp().rule) == [1, 1, 1, 1]
    assert greedy_after(replace(RStdp().rule, lr=0.0)) == [0, 0, 0, 0]


SPIKES = RStdp(encoding="spikes", steps_per_observation=5, tau_mem=1e9, threshold=0.9, initial_spread=0.0)


def test_spikes_of_an_observation_are_those_of_the_input_neurons():
    agent = RStdpAgent(gym.spaces.Box(0, 1, (5, 3), np.float32), DISCRETE, SPIKES)
    agent.action_weights.copy_(torch.tensor([[0.1, 0.5], [0.2, 0.5], [0.8, 0.1]]))
    first, second = np.zeros((2, 5, 3), np.float32)
    first[0, 2], first[1, 1], first[2, 0] = 1, 1, 1  # action 0: 0.8, then 1.0; action 1: 0.1, 0.6, then 1.1
    second[:3] = first[2::-1]  # the other way round: action 1 has 0.5, then 1.0
    assert agent.greedy(np.stack([first, second])).tolist() == [0, 1]
    pre, post, _ = agent._greedy(torch.from_numpy(np.stack([first, second])))
    np.testing.assert_array_equal(pre.numpy(), np.stack([first, second], axis=1))
    assert post.nonzero().tolist() == [[1, 0, 0], [1, 1, 1]]
    counts = agent.spike_counts(np.stack([first, second]))
    assert {name: each.tolist() for name, each in counts.items()} == {
        "input neurons": [2, 2, 2],
        "action neurons": [1, 1],
    }


def test_given_spikes_before_the_action_are_tagged_and_those_after_it_are_not():
    settings = replace(SPIKES, modulator="reward", forgetting_steps=None, noise_start=0.0, noise_end=0.0)
    rule = RewardModulatedSTDP(stdp=PairSTDP(a_plus=1.0, a_minus=0.0, tau_plus=2.0), tau_e=4.0, lr=0.1)
    agent = RStdpAgent(gym.spaces.Box(0, 1, (5, 3), np.float32), DISCRETE, replace(settings, rule=rule))
    agent.action_weights.copy_(torch.tensor([[0.5, 0.0], [0.5, 0.0], [0.5, 0.0]]))
    observations, no = np.zeros((1, 5, 3), np.float32), np.zeros(1, np.bool_)
    observations[0, 0, 0] = observations[0, 2, 1] = observations[0, 3, 2] = 1  # the second one fires action 0
    assert agent.act(observations, ~no, 0, torch.Generator()).tolist() == [0]
    agent.learn(np.ones(1), no, no, ~no, observations)
    late = 0.1 * math.exp(-2 / 4)  # the reward comes two steps after the action's spike
    expected = [[0.5 + late * math.exp(-2 / 2), 0.0], [0.5 + late, 0.0], [0.5, 0.0]]
    np.testing.assert_allclose(agent.action_weights.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("spaces", "config", "kwargs", "message"),
    [
        ((gym.spaces.Discrete(4), DISCRETE), RStdp(), {}, "place cells cannot see Discrete"),
        ((BOX, gym.spaces.Box(0, 1)), RStdp(), {}, "action neurons cannot choose in Box"),
        ((gym.spaces.Box(-1, 1, (4,)), DISCRETE), RStdp(), {}, "activities of place cells are not negative"),
        ((BOX, DISCRETE), RStdp(teach=True), {}, "a teacher needs the right actions"),
        ((BOX, DISCRETE), RStdp(), {"teacher_actions": np.zeros(3, int)}, "one integer for each of 4 place cells"),
        ((BOX, DISCRETE), RStdp(), {"teacher_actions": np.full(4, 2)}, "teacher_actions has 2"),
        ((BOX, DISCRETE), SPIKES, {}, r"cannot take spikes from Box.* — a Box \[K, I\] is needed"),
        (
            (gym.spaces.Box(0, 1, (7, 3)), DISCRETE),
            SPIKES,
            {},
            "spikes of 7 simulation steps, not of 5 — set steps_per_observation=7",
        ),
        ((BOX, DISCRETE), RStdp(initial_weight=1.0), {}, "initial weights within 0.99 and 1.01 cross their bounds"),
    ],
)
def test_bad_input_is_named(spaces, config, kwargs, message):
    with pytest.raises(UserError, match=message):
        RStdpAgent(*spaces, config, **kwargs)


def test_a_teacher_needs_place_cells():
    with pytest.raises(ValueError, match="teach = true needs place cells"):
        RStdp(teach=True, encoding="spikes")

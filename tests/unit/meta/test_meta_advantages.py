"""Advantages against their definition, one episode and one step at a time."""

import numpy as np
import pytest
import torch

from synrl_ray.envs.gridworld_tables import GridworldRewards
from synrl_ray.meta.advantages import advantage_table, advantages, state_values
from synrl_ray.meta.episodes import numbers_needed, play
from synrl_ray.meta.gridworld_batch import PlayedGridworlds
from synrl_ray.meta.gridworlds import GridworldDistribution

DISCOUNT, LAMBDA, STATES = 0.9, 0.8, 12


@pytest.fixture(scope="module")
def episodes():
    """Some of which reach the goal."""
    rewards = GridworldRewards(shaping_scale=3.0, shaping_discount=DISCOUNT)
    tasks = PlayedGridworlds(GridworldDistribution(rows=3, columns=4, horizon=9, rewards=rewards))
    batch = tasks.sample("train", range(3))
    numbers = batch.uniforms(numbers_needed(batch.grids, 7), 1)
    found = play(batch.grids, np.full((3, STATES, 4), 0.25), numbers, 7)
    assert 0 < found.truncated.sum() < found.truncated.size
    return found


def one_by_one(episodes):
    """``(task, states, actions, rewards, last state or None)`` of each episode."""
    for m in range(3):
        for e in range(7):
            count = episodes.valid[:, m, e].sum()
            last = episodes.last_states[m, e] if episodes.truncated[m, e] else None
            yield m, *(x[:count, m, e] for x in (episodes.states, episodes.actions, episodes.rewards)), last


def slow_values(episodes):
    returns = [[[] for _ in range(STATES)] for _ in range(3)]
    for m, states, _, rewards, _ in one_by_one(episodes):
        for t, s in enumerate(states):
            returns[m][s].append(sum(DISCOUNT**k * r for k, r in enumerate(rewards[t:])))
    return np.array([[sum(found) / (len(found) + 1) for found in task] for task in returns])


def slow_advantages(episodes):
    """Of each task, pairs of (state, action) with their advantages."""
    values = slow_values(episodes)
    found = [[], [], []]
    for m, states, actions, rewards, last in one_by_one(episodes):
        ahead = [*values[m][states[1:]], 0.0 if last is None else values[m][last]]
        surprises = rewards + DISCOUNT * np.array(ahead) - values[m][states]
        for t in range(len(states)):
            total = sum((DISCOUNT * LAMBDA) ** k * x for k, x in enumerate(surprises[t:]))
            found[m].append((states[t], actions[t], total))
    return found


def test_values_and_advantages_are_those_of_their_definition(episodes):
    values = state_values(episodes, STATES, DISCOUNT)
    assert values == pytest.approx(slow_values(episodes))
    found = advantages(episodes, values, DISCOUNT, LAMBDA)
    expected = slow_advantages(episodes)
    for m in range(3):
        flat = found[:, m].T[episodes.valid[:, m].T]
        assert flat == pytest.approx(np.array([a for _, _, a in expected[m]]))
    assert (found[~episodes.valid] == 0).all()


def test_tables_sum_normalised_advantages(episodes):
    table = advantage_table(episodes, STATES, DISCOUNT, LAMBDA)
    for m, triples in enumerate(slow_advantages(episodes)):
        raw = np.array([a for _, _, a in triples])
        scaled = (raw - raw.mean()) / (raw.std() + 0.1) / len(raw)
        gains, losses, visits = np.zeros((STATES, 4)), np.zeros((STATES, 4)), np.zeros(STATES)
        for (s, a, _), x in zip(triples, scaled, strict=True):
            (gains if x > 0 else losses)[s, a] += x
            visits[s] += 1 / len(raw)
        assert table.gains[m] == pytest.approx(gains)
        assert table.losses[m] == pytest.approx(losses)
        assert table.visits[m] == pytest.approx(visits)


def test_the_loss_on_a_table_is_that_over_all_steps(episodes):
    from synrl_ray.meta.policy_losses import PolicyGradientLoss

    logits = torch.randn(3, STATES, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    table = advantage_table(episodes, STATES, DISCOUNT, LAMBDA)
    found = PolicyGradientLoss()(logits, torch.from_numpy(table.gains + table.losses))
    for m, triples in enumerate(slow_advantages(episodes)):
        raw = np.array([a for _, _, a in triples])
        scaled = (raw - raw.mean()) / (raw.std() + 0.1)
        log_probs = logits[m].log_softmax(-1)
        expected = -np.mean([x * log_probs[s, a].item() for (s, a, _), x in zip(triples, scaled, strict=True)])
        assert found[m].item() == pytest.approx(expected)

"""One decision of the action neurons: who fires, when, and what STDP makes of it."""

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.policies.local.stdp_q.agent import StdpQAgent
from synrl_ray.policies.local.stdp_q.layer import action_currents, decide, decision_stdp, shuffled
from synrl_ray.settings.stdp_q import StdpQ

A = 3


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1.0, 100.0])
def test_greedy_action_spikes_first_and_has_the_largest_weight(scale):
    config = StdpQ()
    generator = torch.Generator().manual_seed(2)
    weights = scale * torch.randint(-3, 4, (200, A), generator=generator, dtype=torch.float64)  # many are equal
    agent = StdpQAgent(spaces.Discrete(200), spaces.Discrete(A), config)
    agent.weight.copy_(weights)
    decision = decide(action_currents(weights, config), config)
    assert agent.greedy(np.arange(200)).tolist() == np.argmax(weights.numpy(), axis=1).tolist()
    assert torch.equal(decision.post_spikes.sum(dim=(0, 2)), torch.ones(200, dtype=torch.float64))
    assert torch.equal(decision.post_spikes.sum(dim=0).argmax(dim=1), decision.winner)
    assert decision.post_spikes[0].sum() == 0  # the state's spike is on its way
    for row, current in enumerate(action_currents(weights, config).tolist()):
        membrane, when = 0.0, int(decision.post_spikes[:, row].sum(dim=1).argmax())
        crossings = []
        for k in range(1, config.steps_per_observation):
            membrane = config.beta * membrane + max(current)
            crossings += [k] if membrane > 1 else []
        assert when == crossings[0]


def test_clearer_decisions_are_faster_and_tagged_more():
    config = StdpQ(gain=0.1)
    decision = decide(action_currents(torch.tensor([[0.0, 0.0], [0.0, 4.0], [0.0, 40.0]]).double(), config), config)
    tags = decision_stdp(decision, config.stdp, config.dt)
    latency = decision.post_spikes.sum(dim=2).argmax(dim=0)
    assert latency.tolist() == [7, 3, 1]  # 0.2, 0.4 and 2.2 of the threshold in each step
    assert tags.tolist() == pytest.approx([math.exp(-k / 20) for k in (7, 3, 1)])


def test_shuffled_spikes_keep_their_number_and_lose_their_order():
    config = StdpQ()
    decision = decide(action_currents(torch.zeros(4000, A).double(), config), config)
    moved = shuffled(decision, torch.Generator().manual_seed(0))
    assert torch.equal(moved.post_spikes.sum(dim=0), decision.post_spikes.sum(dim=0))
    assert torch.equal(moved.pre_spikes.sum(dim=0), decision.pre_spikes.sum(dim=0))
    assert abs(decision_stdp(moved, config.stdp, 1.0).mean()) < 0.05  # as many pairs in one order as in the other
    assert decision_stdp(decision, config.stdp, 1.0).mean() > 0.6

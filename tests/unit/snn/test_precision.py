"""Passes in bfloat16: membranes, outputs' gradients and parameters keep float32, and numbers stay near."""

import gymnasium as gym
import pytest
import torch

from synrl_ray.errors import UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy
from synrl_ray.snn import LIF, AdaptiveLIF, Synaptic
from synrl_ray.snn.device import learning_device, network_pass, widened

CPU = torch.device("cpu")


@pytest.mark.parametrize("layer", [LIF(0.9), AdaptiveLIF(0.9), Synaptic(0.8, 0.9)])
def test_narrow_currents_leave_membranes_as_precise_as_their_decay(layer):
    """0.9^20 is far from what eight bits make of it, step by step."""
    current = torch.zeros(20, 1, 1, dtype=torch.bfloat16)
    current[0] = 0.75
    spikes, state = layer(current)
    expected = layer(current.float())[1]
    assert state.dtype is spikes.dtype is torch.float32
    assert torch.equal(state, expected)


@pytest.mark.parametrize("config", [
    SpikingPolicy(), SpikingPolicy(carry_state=True, steps_per_observation=1),
    SpikingPolicy(carry_state=True, recurrent="all_to_all"), SpikingPolicy(neuron="adaptive"),
    SpikingPolicy(norm="layer", readout="max"), AnnPolicy(),
])  # fmt: skip
def test_gradients_point_the_same_way(config):
    torch.manual_seed(0)
    net = ActorCritic(gym.spaces.Box(-1, 1, (6,)), gym.spaces.Discrete(3), config)
    observations, gradients = torch.rand(5, 7, 6) * 2 - 1, []
    for precision in ("float32", "bfloat16"):
        net.zero_grad()
        with network_pass(precision, CPU):
            inputs, values, state = net(observations, torch.zeros(7, net.state_size) if net.state_size else None, None)
        outputs = widened({"inputs": inputs, "values": values})
        assert state.dtype is torch.float32 or not state.numel()
        sum(value.square().sum() for value in outputs.values()).backward()
        assert {p.grad.dtype for p in net.parameters()} == {torch.float32}
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    assert not torch.equal(*gradients)
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.99


def test_a_process_without_a_gpu_says_so(monkeypatch):
    assert learning_device(0.0) == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="was given a GPU, and torch finds none"):
        learning_device(0.5)

"""The penalty on firing rates in losses from rollouts, without Ray."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.errors import UserError
from synrl_ray.experiment import A2C, PPO, AnnPolicy, Environment, Experiment, Reinforce, SpikingPolicy, Stopping
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.snn.rates import excess

OBS, ACTIONS = gym.spaces.Box(-1, 1, (3,), np.float32), gym.spaces.Discrete(2)
IMAGES = gym.spaces.Box(0, 255, (1, 36, 36), np.uint8)
REST = SpikingPolicy(hidden_sizes=(6, 5), input_gain=3.0, hidden_gain=3.0)
POLICIES = {
    "from rest": (REST, OBS, 4),
    "carried": (replace(REST, carry_state=True), OBS, 4),
    "stacked": (replace(REST, frame_stack=3), OBS, 4),
    "stacked and carried": (replace(REST, frame_stack=3, carry_state=True), OBS, 4),
    "critic=ann": (replace(REST, critic="ann"), OBS, 2),
    "shared": (replace(REST, share_layers=True), OBS, 2),
    "population": (replace(REST, readout="population", readout_neurons=2), OBS, 6),
    "images": (SpikingPolicy(conv_layers="small", hidden_sizes=(5,), carry_state=True, input_gain=9.0), IMAGES, 6),
    "ann": (AnnPolicy(hidden_sizes=(6,)), OBS, 0),
}


def experiment_of(algorithm: Any, spiking: SpikingPolicy = REST) -> Experiment:
    return Experiment(
        id="test",
        summary="test",
        environment=Environment(id="CartPole-v1", num_envs=4),
        spiking=spiking,
        ann=AnnPolicy(hidden_sizes=(6,)),
        algorithm=algorithm,
        stopping=Stopping(env_steps=100),
    )


def learner_of(algorithm: Any, spiking: SpikingPolicy = REST, kind: Any = "spiking") -> Any:
    config = algorithm_config(experiment_of(algorithm, spiking), kind, seed=0, num_workers=0)
    learner = config.build_learner(spaces={DEFAULT_MODULE_ID: (OBS, ACTIONS)})
    learner.build()
    return learner


def batch_of(learner: Any) -> dict[str, Any]:
    """Rows, or sequences of two steps of which one is not valid."""
    size = learner.module[DEFAULT_MODULE_ID].unwrapped().network.state_size
    torch.manual_seed(0)
    shape = (4, 2) if size else (8,)
    batch = {
        "obs": torch.rand(*shape, 3),
        "actions": torch.zeros(shape, dtype=torch.int64),
        "action_logp": torch.full(shape, -0.7),
        "action_dist_inputs": torch.zeros(*shape, 2),
        "advantages": torch.randn(shape),
        "value_targets": torch.randn(shape),
    }
    if size:
        valid = torch.ones(shape, dtype=torch.bool)
        valid[1, 1] = False
        batch |= {"state_in": {"membranes": torch.zeros(4, size)}, "loss_mask": valid}
    return batch


def loss_of(learner: Any, batch: dict[str, Any], **wanted: bool) -> torch.Tensor:
    outputs = learner.module[DEFAULT_MODULE_ID].forward_train(batch, **wanted)
    return learner.compute_loss_for_module(
        module_id=DEFAULT_MODULE_ID, config=learner.config, batch=batch, fwd_out=outputs
    )


@pytest.mark.parametrize(("config", "space", "num_layers"), POLICIES.values(), ids=POLICIES)
def test_a_pass_with_rates_is_the_pass_and_its_rates_are_those_of_the_layers(config, space, num_layers):
    torch.manual_seed(0)
    network = ActorCritic(space, ACTIONS, config)
    observations = torch.rand(4, 3, *space.shape) * (255 if space is IMAGES else 1)
    observations = observations.to(torch.uint8) if space is IMAGES else observations
    state = torch.zeros(3, network.state_size) if network.state_size else None
    starts = torch.zeros(4, 3, dtype=torch.bool) if network.state_size else None
    if starts is not None:
        starts[2, 1] = True
    *expected, rates = network.with_rates(observations, state, starts)
    for found, plain in zip(expected, network(observations, state, starts), strict=True):
        torch.testing.assert_close(found, plain)
    assert rates.shape == (4, 3, num_layers)
    first = network.firing_rates(observations[0], torch.zeros(3, network.state_size))
    np.testing.assert_allclose(rates[0].mean(0)[: len(first)].tolist(), first, rtol=1e-6)
    if num_layers:
        assert 0 < rates[..., 0].mean() < 1
        (2 * rates).sum().backward()
        touched = [name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
        assert any(name.startswith("bodies.0.") for name in touched)
        assert any(name.startswith("bodies.1.") for name in touched) == (num_layers > 2)


@pytest.mark.parametrize("algorithm", [PPO, A2C, Reinforce])
@pytest.mark.parametrize("carry_state", [False, True])
def test_the_loss_has_the_penalty_of_valid_steps(algorithm, carry_state):
    spiking = replace(REST, carry_state=carry_state, max_seq_len=2)
    learner = learner_of(algorithm(rate_penalty=3.0, rate_target=0.1), spiking)
    batch = batch_of(learner)
    plain = loss_of(learner, batch)
    found = loss_of(learner, batch, rates=True)
    network = learner.module[DEFAULT_MODULE_ID].unwrapped().network
    if carry_state:
        *_, rates = network.with_rates(batch["obs"].transpose(0, 1), batch["state_in"]["membranes"])
        rates = rates.transpose(0, 1)[batch["loss_mask"]]
    else:
        *_, rates = network.with_rates(batch["obs"].unsqueeze(0))
    penalty = 3.0 * excess(rates, 0.1).mean()
    assert penalty > 0.01
    torch.testing.assert_close(found - plain, penalty)


def passes_of(learner: Any) -> list[dict[str, bool]]:
    """What each pass of an update is asked for."""
    from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

    module, asked = learner.module[DEFAULT_MODULE_ID], []
    original = module.forward_train
    module.forward_train = lambda batch, **wanted: asked.append(wanted) or original(batch, **wanted)
    learner.update(
        batch=MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(batch_of(learner))}, env_steps=8),
        timesteps={"num_env_steps_sampled_lifetime": 0},
        num_epochs=2,
    )
    return asked


def test_updates_ask_for_rates_only_where_they_cost_something():
    assert passes_of(learner_of(PPO())) == [{}, {}]
    assert passes_of(learner_of(PPO(rate_penalty=1.0))) == [{"rates": True}] * 2


def test_updates_with_a_penalty_lower_the_rates_and_the_twin_pays_nothing():
    def rates_after(penalty: float) -> float:
        learner = learner_of(PPO(rate_penalty=penalty, rate_target=0.0, lr=0.02))
        for _ in range(10):
            passes_of(learner)
        network = learner.module[DEFAULT_MODULE_ID].unwrapped().network
        return network.with_rates(torch.rand(1, 50, 3, generator=torch.Generator().manual_seed(1)))[3].mean().item()

    assert rates_after(100.0) < 0.5 * rates_after(0.0)
    twin = learner_of(PPO(rate_penalty=100.0), kind="ann")
    torch.testing.assert_close(loss_of(twin, batch_of(twin), rates=True), loss_of(twin, batch_of(twin)))


def test_a_network_of_ones_own_whose_spikes_have_no_gradient_is_refused():
    experiment = experiment_of(PPO(rate_penalty=1.0), SpikingPolicy(network="nets:Mine"))
    with pytest.raises(UserError, match=r"network=nets:Mine has its own — set rate_penalty=0"):
        algorithm_config(experiment, "spiking", seed=0, num_workers=0)

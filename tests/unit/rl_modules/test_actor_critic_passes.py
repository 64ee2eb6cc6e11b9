"""RLlib's passes through the actor-critic: its sequences are batch-major, the network's are time-major."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import update_target_network
from ray.rllib.core.rl_module.apis import TARGET_NETWORK_ACTION_DIST_INPUTS
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from synrl_ray.errors import NonFiniteError
from synrl_ray.rl_modules import ActorCriticModule
from synrl_ray.rl_modules.plastic_actor_critic import PlasticActorCritic
from synrl_ray.settings.plasticity import PlasticLayers
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy

OBSERVATIONS, ACTIONS = spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(2)
CARRIED = SpikingPolicy(hidden_sizes=(4,), carry_state=True, steps_per_observation=1, input_gain=3.0)


def build(config):
    torch.manual_seed(0)
    return RLModuleSpec(
        module_class=ActorCriticModule,
        observation_space=OBSERVATIONS,
        action_space=ACTIONS,
        model_config=asdict(config),
    ).build()


def sequences(module, **columns):
    """Two sequences of three steps."""
    generator = torch.Generator().manual_seed(1)
    state = torch.randn(2, module.network.state_size, generator=generator)
    observations = torch.randn(2, 3, 3, generator=generator)
    return {Columns.OBS: observations, Columns.STATE_IN: {"membranes": state}, **columns}


def test_a_carried_state_starts_at_rest_and_one_that_is_not_carried_is_not_there():
    module = build(CARRIED)
    state = module.get_initial_state()["membranes"]
    assert (state.shape, state.dtype, state.any()) == ((module.network.state_size,), np.float32, False)
    assert build(AnnPolicy(hidden_sizes=(4,))).get_initial_state() == {}


def test_sequences_are_the_networks_row_by_row():
    module = build(CARRIED)
    batch = sequences(module)
    inputs, values, state = module.network(
        batch[Columns.OBS].transpose(0, 1), batch[Columns.STATE_IN]["membranes"], None
    )
    acting = module._forward(batch)
    torch.testing.assert_close(acting[Columns.ACTION_DIST_INPUTS], inputs.transpose(0, 1))
    torch.testing.assert_close(acting[Columns.STATE_OUT]["membranes"], state)
    learning = module._forward_train(batch)
    torch.testing.assert_close(learning[Columns.ACTION_DIST_INPUTS], inputs.transpose(0, 1))
    torch.testing.assert_close(learning[Columns.EMBEDDINGS], values.transpose(0, 1))
    found = module.compute_values(batch)
    torch.testing.assert_close(found, values.transpose(0, 1))
    assert not found.requires_grad, "targets keep no graph"
    given = torch.ones(2)
    assert module.compute_values(batch, embeddings=given) is given
    assert learning[Columns.EMBEDDINGS].requires_grad


def test_the_state_is_zeroed_where_an_episode_starts_within_a_sequence():
    module = build(CARRIED)
    starts = torch.tensor([[False, True, False], [False, False, False]])
    batch = sequences(module, episode_starts=starts)
    found = module._forward_train(batch)[Columns.ACTION_DIST_INPUTS]
    anew, _, _ = module.network(batch[Columns.OBS][:1, 1:].transpose(0, 1))
    torch.testing.assert_close(found[0, 1:], anew[:, 0])
    plain = module._forward_train(sequences(module))[Columns.ACTION_DIST_INPUTS]
    torch.testing.assert_close(found[1], plain[1])
    assert not torch.allclose(found[0, 1:], plain[0, 1:])


def test_without_a_state_rows_are_observations():
    module = build(AnnPolicy(hidden_sizes=(4,)))
    observations = torch.randn(5, 3)
    outputs = module._forward({Columns.OBS: observations})
    inputs, values, _ = module.network(observations[None])
    torch.testing.assert_close(outputs[Columns.ACTION_DIST_INPUTS], inputs[0])
    assert Columns.STATE_OUT not in outputs
    torch.testing.assert_close(module.compute_values({Columns.OBS: observations}), values[0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_observations_that_are_not_finite_are_refused(bad):
    module = build(AnnPolicy(hidden_sizes=(4,)))
    observations = torch.zeros(5, 3)
    observations[4, 2] = bad
    with pytest.raises(NonFiniteError, match=r"the observation .*batch\['obs'\]"):
        module._forward({Columns.OBS: observations})


def test_the_mode_is_set_where_it_differs():
    module = build(AnnPolicy(hidden_sizes=(4,)))
    assert module.train(False) is module
    assert not module.network.training
    assert module.train(False) is module
    assert module.train() is module
    assert module.network.training


@pytest.mark.parametrize("config", [CARRIED, AnnPolicy(hidden_sizes=(4,))], ids=["carried", "from-rest"])
def test_the_target_is_the_network_as_it_was_and_follows_it(config):
    module = build(config)
    assert module.get_target_network_pairs() == []
    batch = sequences(module) if module.is_stateful() else {Columns.OBS: torch.randn(5, 3)}
    before = module._forward(batch)[Columns.ACTION_DIST_INPUTS].detach()
    module.make_target_networks()
    ((network, target),) = module.get_target_network_pairs()
    assert network is module.network
    assert not any(parameter.requires_grad for parameter in target.parameters())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1)
    found = module.forward_target(batch)[TARGET_NETWORK_ACTION_DIST_INPUTS]
    torch.testing.assert_close(found, before)
    update_target_network(main_net=network, target_net=target, tau=1.0)
    now = module._forward(batch)[Columns.ACTION_DIST_INPUTS].detach()
    torch.testing.assert_close(module.forward_target(batch)[TARGET_NETWORK_ACTION_DIST_INPUTS], now)
    assert not torch.allclose(now, before)


@pytest.mark.parametrize("module_class", [ActorCriticModule, PlasticActorCritic])
def test_env_runners_are_sent_no_target(module_class):
    config = SpikingPolicy(hidden_sizes=(4,), plastic=PlasticLayers() if module_class is PlasticActorCritic else None)
    kwargs = {"observation_space": OBSERVATIONS, "action_space": ACTIONS, "model_config": asdict(config)}
    learner, runner = module_class(**kwargs, inference_only=False), module_class(**kwargs, inference_only=True)
    learner.make_target_networks()
    sent = learner.get_state(inference_only=True)
    assert set(sent) == set(runner.get_state()) < set(learner.get_state())
    runner.set_state(sent)
    runner.set_state(learner.get_state())  # which APPO sends, and of which a runner takes what it has
    torch.testing.assert_close(dict(runner.network.state_dict()), dict(learner.network.state_dict()))

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.errors import UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.policy import Policy, load_network_policy
from synrl_ray.policies.q_network import check_q_network, q_values
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy

BOX, ACTIONS = spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(4)
SPIKING, ANN = SpikingPolicy(hidden_sizes=(8,)), AnnPolicy(hidden_sizes=(8,))
every_policy = pytest.mark.parametrize(
    "config",
    [SPIKING, ANN, *(replace(c, share_layers=True) for c in (SPIKING, ANN)), replace(SPIKING, critic="ann")],
    ids=str,
)


def network_of(config):
    torch.manual_seed(0)
    return ActorCritic(BOX, ACTIONS, config)


@every_policy
def test_values_are_the_networks_outputs_without_dueling(config):
    network, observations = network_of(config), torch.rand(5, 3)
    outputs, _, _ = network(observations[None])
    values = q_values(network, observations, dueling=False)
    assert values.shape == (5, 4)
    torch.testing.assert_close(values, outputs[0])


@every_policy
def test_dueling_values_have_the_critics_as_mean_and_the_actors_argmax(config):
    network, observations = network_of(config), torch.rand(5, 3)
    outputs, critic, _ = network(observations[None])
    values = q_values(network, observations, dueling=True)
    assert values.shape == (5, 4)
    torch.testing.assert_close(values.mean(-1), critic[0])
    torch.testing.assert_close(values - values[:, :1], outputs[0] - outputs[0, :, :1])


@every_policy
@pytest.mark.parametrize("dueling", [False, True])
def test_saved_policy_acts_greedily_on_the_values(config, dueling, tmp_path):
    network, observations = network_of(config), torch.rand(40, 3)
    Policy(network, BOX, ACTIONS).save(tmp_path)
    actions, _ = load_network_policy(tmp_path).act(observations.numpy())
    assert np.array_equal(actions, q_values(network, observations, dueling=dueling).argmax(-1).numpy())


def test_only_the_used_bodies_get_a_gradient():
    for dueling, used in [(False, [True, False]), (True, [True, True])]:
        network = network_of(SPIKING)
        q_values(network, torch.rand(5, 3), dueling=dueling).square().sum().backward()
        assert [any(p.grad is not None for p in body.parameters()) for body in network.bodies] == used


@pytest.mark.parametrize(
    ("config", "remedy"),
    [
        (replace(SPIKING, carry_state=True), "set spiking.carry_state=false"),
        (replace(SPIKING, frame_stack=2), "set spiking.frame_stack=1"),
        (replace(ANN, frame_stack=2), "set ann.frame_stack=1"),
    ],
)
def test_policies_with_state_are_refused_with_a_remedy(config, remedy):
    with pytest.raises(UserError, match="carries a state") as caught:
        check_q_network(BOX, ACTIONS, config)
    assert caught.value.remedy == remedy
    assert "\n" not in str(caught.value)


def test_continuous_actions_are_refused_by_name():
    with pytest.raises(UserError, match=r"Pendulum has the action space Box.*Discrete"):
        check_q_network(BOX, spaces.Box(-1, 1, (2,), np.float32), ANN, "Pendulum")


MASKED = spaces.Dict({"observations": BOX, "action_mask": spaces.MultiBinary(4)})


@pytest.mark.parametrize("dueling", [False, True])
def test_values_of_masked_actions_are_the_least_and_the_mean_is_of_the_others(dueling):
    torch.manual_seed(0)
    network = ActorCritic(MASKED, ACTIONS, ANN)
    flat = torch.cat((torch.randint(2, (30, 4)).float(), torch.rand(30, 3)), dim=-1)
    flat[0, :4] = 0  # as an episode's last observation may be: finite, whatever is multiplied by it
    allowed = flat[:, :4] > 0
    values = q_values(network, flat, dueling=dueling)
    least = torch.finfo(torch.float32).min
    assert (values[~allowed] == least).all()
    assert allowed[torch.arange(30), values.argmax(-1)][allowed.any(-1)].all()
    assert torch.isfinite(values * 0).all()
    if dueling:
        _, critic, _ = network(flat[None])
        means = torch.where(allowed, values, 0.0).sum(-1) / allowed.sum(-1)
        torch.testing.assert_close(means[allowed.any(-1)], critic[0, allowed.any(-1)])
    values[allowed].sum().backward()
    assert torch.isfinite(network.bodies[0].linears[0].weight.grad).all()


def test_exploration_is_among_the_allowed_actions():
    from ray.rllib.core.columns import Columns
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    from synrl_ray.rl_modules import QModule

    settings = {"hidden_sizes": (8,), "kind": "ann", "double_q": True, "dueling": True, "epsilon": 1.0}
    spec = RLModuleSpec(module_class=QModule, observation_space=MASKED, action_space=ACTIONS, model_config=settings)
    masks = torch.tensor([[0, 1, 0, 1]]).expand(400, 4)
    batch = {Columns.OBS: {"action_mask": masks, "observations": torch.zeros(400, 3)}}  # as RLlib's env runners have it
    actions = spec.build().forward_exploration(batch)[Columns.ACTIONS]
    assert torch.bincount(actions, minlength=4).tolist()[::2] == [0, 0]
    assert 150 < int((actions == 1).sum()) < 250

"""Legend: E environment step, B batch, S state."""

from itertools import pairwise

import pytest
import torch
from gymnasium import spaces

from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy
from synrl_ray.snn import Surrogate

OBS = spaces.Box(-1, 1, (3,))
DISCRETE, BOX = spaces.Discrete(4), spaces.Box(-1, 1, (2,))
CONFIGS = {
    "ann": AnnPolicy(hidden_sizes=(8, 6)),
    "ann shared": AnnPolicy(hidden_sizes=(8, 6), share_layers=True),
    "spiking": SpikingPolicy(hidden_sizes=(8, 6), input_gain=3.0),
    "spiking shared": SpikingPolicy(hidden_sizes=(8, 6), share_layers=True, input_gain=3.0),
    "carried": SpikingPolicy(hidden_sizes=(8, 6), carry_state=True, input_gain=3.0, steps_per_observation=3),
    "carried shared": SpikingPolicy(hidden_sizes=(8, 6), carry_state=True, share_layers=True, input_gain=3.0),
}
CARRIED = [name for name in CONFIGS if name.startswith("carried")]
STATELESS = [name for name in CONFIGS if name not in CARRIED]


def network(name, action_space=DISCRETE, seed=0):
    torch.manual_seed(seed)
    return ActorCritic(OBS, action_space, CONFIGS[name])


def observations(*shape, seed=1):
    return torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed))


# Layers of 8 and 6 neurons and a readout of its outputs: the actor has 4 or 2 of them, the critic 1.
@pytest.mark.parametrize(
    ("name", "action_space", "state_size"),
    [
        *((name, space, 0) for name in STATELESS for space in (DISCRETE, BOX)),
        ("carried", DISCRETE, (8 + 6 + 4) + (8 + 6 + 1)),
        ("carried", BOX, (8 + 6 + 2) + (8 + 6 + 1)),
        ("carried shared", DISCRETE, 8 + 6 + 5),
        ("carried shared", BOX, 8 + 6 + 3),
    ],
)
def test_shapes_of_inputs_values_and_state(name, action_space, state_size):
    net = network(name, action_space)
    inputs, values, state = net(observations(5, 7))
    assert net.state_size == state_size
    assert inputs.shape == (5, 7, 4)  # four logits, or two means and two log standard deviations
    assert values.shape == (5, 7)
    assert state.shape == (7, state_size)


@pytest.mark.parametrize("name", CONFIGS)
def test_box_log_std_starts_at_zero_and_does_not_depend_on_the_observation(name):
    net = network(name, BOX)
    inputs, _, _ = net(observations(2, 3))
    assert torch.equal(inputs[..., 2:], torch.zeros(2, 3, 2))
    net.log_std.data = torch.tensor([-1.0, 0.5])
    inputs, _, _ = net(observations(2, 3))
    assert torch.equal(inputs[..., 2:], torch.tensor([-1.0, 0.5]).expand(2, 3, 2))


@pytest.mark.parametrize("name", CONFIGS)
def test_discrete_policy_has_no_log_std(name):
    assert network(name).log_std is None


@pytest.mark.parametrize("name", STATELESS)
def test_stateless_rows_equal_observations_one_by_one(name):
    net, obs = network(name), observations(3, 4)
    inputs, values, _ = net(obs)
    for e in range(3):
        for b in range(4):
            one_inputs, one_value, _ = net(obs[e : e + 1, b : b + 1])
            torch.testing.assert_close(one_inputs[0, 0], inputs[e, b], rtol=0, atol=1e-6)
            torch.testing.assert_close(one_value[0, 0], values[e, b], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CARRIED)
def test_carried_sequence_at_once_equals_step_by_step(name):
    net, obs = network(name), observations(6, 4)
    inputs, values, final = net(obs)
    state = None
    for e in range(6):
        step_inputs, step_values, state = net(obs[e : e + 1], state)
        torch.testing.assert_close(step_inputs[0], inputs[e], rtol=0, atol=1e-6)
        torch.testing.assert_close(step_values[0], values[e], rtol=0, atol=1e-6)
    torch.testing.assert_close(state, final, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CARRIED)
def test_no_state_means_membranes_at_rest(name):
    net, obs = network(name), observations(2, 3)
    for given, default in zip(net(obs, torch.zeros(3, net.state_size)), net(obs), strict=True):
        assert torch.equal(given, default)


@pytest.mark.parametrize("name", CARRIED)
def test_carried_state_changes_what_follows(name):
    net, obs = network(name), observations(1, 3)
    state = net(observations(5, 3, seed=2))[2]
    assert not torch.allclose(net(obs, state)[1], net(obs)[1])


@pytest.mark.parametrize("name", CARRIED)
def test_reset_mask_equals_separately_run_episodes(name):
    net, obs = network(name), observations(7, 2)
    mask = torch.zeros(7, 2, dtype=torch.bool)
    mask[3, 0] = mask[5, 0] = mask[2, 1] = True
    inputs, values, final = net(obs, net(observations(4, 2, seed=3))[2], mask)
    start = net(observations(4, 2, seed=3))[2]
    for row, bounds in ((0, (0, 3, 5, 7)), (1, (0, 2, 7))):
        state = start[row : row + 1]
        for begin, end in pairwise(bounds):
            episode_inputs, episode_values, state = net(obs[begin:end, row : row + 1], state if begin == 0 else None)
            torch.testing.assert_close(episode_inputs[:, 0], inputs[begin:end, row], rtol=0, atol=1e-6)
            torch.testing.assert_close(episode_values[:, 0], values[begin:end, row], rtol=0, atol=1e-6)
        torch.testing.assert_close(state[0], final[row], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CARRIED)
def test_rows_of_a_batch_do_not_influence_each_other(name):
    net, obs = network(name), observations(4, 3)
    changed = obs.clone()
    changed[:, 1] += 5.0
    for before, after in zip(net(obs)[:2], net(changed)[:2], strict=True):
        torch.testing.assert_close(after[:, [0, 2]], before[:, [0, 2]], rtol=0, atol=1e-6)
        assert not torch.allclose(after[:, 1], before[:, 1])


@pytest.mark.parametrize("name", CONFIGS)
def test_loss_on_actor_and_critic_reaches_every_parameter(name):
    net = network(name, BOX)
    inputs, values, _ = net(observations(4, 16))
    (inputs.square().sum() + inputs.sum() + values.square().sum()).backward()
    missing = [key for key, value in net.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert missing == []


def test_separate_bodies_keep_the_critic_from_the_actor():
    net = network("spiking")
    _, values, _ = net(observations(4, 16))
    values.sum().backward()
    actor, critic = net.bodies
    assert all(p.grad is None or not p.grad.any() for p in actor.parameters())
    assert any(p.grad is not None and p.grad.any() for p in critic.parameters())


def test_settings_reach_the_spiking_layers():
    config = SpikingPolicy(
        hidden_sizes=(5,),
        steps_per_observation=2,
        beta=0.25,
        threshold=0.5,
        readout_beta=0.75,
        reset="zero",
        surrogate="atan",
        surrogate_slope=3.0,
    )
    [actor, critic] = ActorCritic(OBS, DISCRETE, config).bodies
    for body in (actor, critic):
        assert body.steps_per_observation == 2
        assert float(body.neurons[0].decay) == pytest.approx(0.25)
        assert float(body.neurons[0].threshold) == pytest.approx(0.5)
        assert body.neurons[0].reset == "zero"
        assert body.neurons[0].surrogate == Surrogate("atan", 3.0)
        assert float(body.readout.integrator.beta) == pytest.approx(0.5625)  # 0.75 for each of two simulation steps


@pytest.mark.parametrize(("learn", "grows"), [("learn_beta", 2), ("learn_threshold", 2)])
def test_learned_neuron_settings_are_parameters(learn, grows):
    fixed = ActorCritic(OBS, DISCRETE, SpikingPolicy(hidden_sizes=(5,)))
    learned = ActorCritic(OBS, DISCRETE, SpikingPolicy(hidden_sizes=(5,), **{learn: True}))
    assert (
        len(list(learned.parameters())) == len(list(fixed.parameters())) + grows
    )  # one in the actor, one in the critic

"""Convolutional policies and frame stacks whose memory is state."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.errors import UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.energy import decision_energy
from synrl_ray.policies.frame_stack import FrameStack
from synrl_ray.policies.policy import Policy, load_network_policy
from synrl_ray.policies.spaces import ObservationEncoder, check_spaces
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy
from synrl_ray.snn import CNN

IMAGES = spaces.Box(0, 255, (1, 20, 20), np.uint8)
CONVOLUTIONS = ((4, 4, 2), (6, 3, 2))
SPIKING = SpikingPolicy(
    conv_layers=CONVOLUTIONS,
    hidden_sizes=(16,),
    carry_state=True,
    steps_per_observation=2,
    share_layers=True,
    input_gain=8.0,
    hidden_gain=4.0,
)
ANN = AnnPolicy(conv_layers=CONVOLUTIONS, hidden_sizes=(16,), frame_stack=3)
BOTH = pytest.mark.parametrize("config", [SPIKING, ANN], ids=lambda config: config.kind)


def network_of(config, actions=None):
    torch.manual_seed(0)
    return ActorCritic(IMAGES, actions or spaces.Discrete(3), config)


def frames(*batch, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (*batch, 1, 20, 20), dtype=np.uint8))


@BOTH
@pytest.mark.parametrize(
    ("actions", "width"), [(spaces.Discrete(3), 3), (spaces.Box(-1, 1, (2,), np.float32), 4)], ids=["discrete", "box"]
)
def test_shapes(config, actions, width):
    network = network_of(config, actions)
    inputs, values, state = network(frames(5, 2))
    assert inputs.shape == (5, 2, width)
    assert values.shape == (5, 2)
    assert state.shape == (2, network.state_size)
    assert network.state_size > 0


@BOTH
def test_a_sequence_equals_its_steps_with_the_state_handed_on(config):
    network, observations = network_of(config), frames(6, 3)
    starts = torch.zeros(6, 3, dtype=torch.bool)
    starts[0], starts[2, 1], starts[5, 2] = True, True, True
    with torch.no_grad():
        whole, values, after = network(observations, torch.full((3, network.state_size), 0.3), starts)
        state = torch.full((3, network.state_size), 0.3)
        for e in range(6):
            inputs, value, state = network(observations[e : e + 1], state, starts[e : e + 1])
            torch.testing.assert_close(inputs[0], whole[e])
            torch.testing.assert_close(value[0], values[e])
    torch.testing.assert_close(state, after)


@BOTH
def test_an_episodes_start_forgets_what_was_before(config):
    network, observations = network_of(config), frames(4, 1)
    starts = torch.tensor([[False], [False], [True], [False]])
    with torch.no_grad():
        told, _, _ = network(observations, torch.ones(1, network.state_size), starts)
        fresh, _, _ = network(observations[2:], None, None)
    torch.testing.assert_close(told[2:], fresh)


def test_stack_holds_the_newest_frames_oldest_first_and_zeros_before_a_start():
    stack = FrameStack((1,), 3)
    observations = torch.arange(1.0, 6.0).view(5, 1, 1)
    starts = torch.tensor([[True], [False], [False], [True], [False]])
    stacks, state = stack(observations, None, starts)
    assert stacks.squeeze(1).tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [0, 0, 4], [0, 4, 5]]
    assert state.tolist() == [[4, 5]]


@pytest.mark.parametrize("shape", [(1, 8, 8), (8, 8, 3)])
def test_pixels_that_are_numbers_already_stay_as_they_are(shape):
    encoder = ObservationEncoder(spaces.Box(0, 255, shape, np.uint8), keep_shape=True)
    pixels = torch.full((2, *shape), 255.0)
    for _ in range(2):
        assert encoder(pixels).unique().tolist() == [1.0]
    assert pixels.unique().tolist() == [255.0]


def test_stack_of_channels_keeps_each_frame_together():
    stack = FrameStack((2, 3, 3), 2)
    observations = torch.rand(2, 4, 2, 3, 3)
    stacks, _ = stack(observations)
    assert stacks.shape == (2, 4, 4, 3, 3)
    torch.testing.assert_close(stacks[1], torch.cat((observations[0], observations[1]), dim=1))


def test_spiking_policy_may_stack_too():
    network = network_of(
        SpikingPolicy(conv_layers=CONVOLUTIONS, hidden_sizes=(16,), frame_stack=2, carry_state=True, share_layers=True)
    )
    assert network.state_size == 400 + network.bodies[0].state_size
    assert network(frames(3, 2))[0].shape == (3, 2, 3)


@BOTH
def test_saved_policy_acts_alike_and_its_energy_is_counted(config, tmp_path):
    policy = Policy(network_of(config), IMAGES, spaces.Discrete(3))
    policy.save(tmp_path)
    again = load_network_policy(tmp_path)
    assert again.config == config
    state = other = policy.initial_state(2)
    for seed in range(3):
        observations = frames(2, seed=seed).numpy()
        action, state = policy.act(observations, state)
        expected, other = again.act(observations, other)
        np.testing.assert_array_equal(action, expected)
        np.testing.assert_allclose(state, other)
    energy = decision_energy(policy, observations, state)
    assert energy["policy"]["energy_pj"] > 0
    assert energy["energy_ratio"] < (0.9 if config.kind == "spiking" else 1.01)


def test_bytes_are_scaled_once():
    network = network_of(ANN)
    observations = frames(2, 2)
    scaled = ActorCritic(spaces.Box(0, 1, (1, 20, 20), np.float32), spaces.Discrete(3), ANN)
    scaled.load_state_dict(network.state_dict())
    torch.testing.assert_close(network(observations)[0], scaled(observations / 255)[0])


def test_rectifiers_keep_the_norm_at_the_start():
    body = network_of(ANN).bodies[0]
    assert isinstance(body, CNN)
    for layer in (*body.convolutions, body.linear):
        weight = layer.weight.detach().flatten(1)
        product = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
        torch.testing.assert_close(product, 2 * torch.eye(len(product)), atol=1e-4, rtol=0)


def test_convolutions_ask_for_images():
    with pytest.raises(UserError, match=r"no image \[C, H, W\] for convolutions — take ann\.conv_layers=null"):
        check_spaces(spaces.Box(-1, 1, (4,)), spaces.Discrete(2), "CartPole-v1", ANN)
    with pytest.raises(ValueError, match="followed by one hidden layer"):
        network_of(AnnPolicy(conv_layers="small", hidden_sizes=(16, 16)))
    with pytest.raises(ValueError, match="is larger than its input of"):
        network_of(AnnPolicy(conv_layers="nature", hidden_sizes=(16,)))


def test_a_fully_connected_policy_flattens_images():
    network = ActorCritic(gym.spaces.Box(0, 255, (1, 4, 4), np.uint8), spaces.Discrete(2), AnnPolicy(frame_stack=2))
    assert network(torch.zeros(3, 2, 1, 4, 4, dtype=torch.uint8))[0].shape == (3, 2, 2)
    assert network.state_size == 16

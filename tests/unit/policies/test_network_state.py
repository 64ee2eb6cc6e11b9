"""What a policy remembers, by hand: stacks of frames, measured observations, and where each lies in the state."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.errors import UserError
from synrl_ray.policies.actor_critic import ActorCritic, make_body
from synrl_ray.policies.frame_stack import FrameStack
from synrl_ray.policies.normaliser import ObservationNormaliser
from synrl_ray.policies.q_network import check_q_network
from synrl_ray.settings.plasticity import PlasticLayers, ThresholdAdaptation
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy

OBS, DISCRETE = spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(4)
IMAGE = spaces.Box(0, 255, (1, 8, 8), np.uint8)


def column(*numbers):
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1)


def mask(*starts, num_steps=5):
    return torch.tensor([[t in starts] for t in range(num_steps)])


@pytest.mark.parametrize(
    ("state", "starts", "expected"),
    [
        (None, None, [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]),
        (None, (0, 3), [[0, 0, 1], [0, 1, 2], [1, 2, 3], [0, 0, 4], [0, 4, 5]]),
        ([8, 9], (), [[8, 9, 1], [9, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]),
        ([8, 9], (1,), [[8, 9, 1], [0, 0, 2], [0, 2, 3], [2, 3, 4], [3, 4, 5]]),
        ([8, 9], (0, 1, 4), [[0, 0, 1], [0, 0, 2], [0, 2, 3], [2, 3, 4], [0, 0, 5]]),
    ],
)
def test_a_stack_of_three_by_hand(state, starts, expected):
    stack = FrameStack((1,), 3)
    given = None if state is None else torch.tensor([state], dtype=torch.float32)
    stacks, after = stack(column(1, 2, 3, 4, 5), given, None if starts is None else mask(*starts))
    assert stacks[:, 0].tolist() == expected
    assert after.tolist() == [expected[-1][1:]]


def test_a_stack_of_images_lies_oldest_first_along_the_channels():
    stack = FrameStack((2, 3, 3), 4)
    assert (stack.stacked_shape, stack.state_size) == ((8, 3, 3), 3 * 18)
    frames = torch.arange(6 * 2 * 18, dtype=torch.float32).view(6, 2, 2, 3, 3)
    stacks, state = stack(frames)
    assert stacks.shape == (6, 2, 8, 3, 3)
    assert torch.equal(stacks[5], frames[2:6].transpose(0, 1).flatten(1, 2))
    assert torch.equal(stacks[0, :, :6], torch.zeros(2, 6, 3, 3))
    assert torch.equal(state.view(2, 3, 2, 3, 3), frames[3:6].transpose(0, 1))
    again, _ = stack(frames[:1], state)
    assert torch.equal(again[0, :, :6], frames[3:6].transpose(0, 1).flatten(1, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8], ids=str)
@pytest.mark.parametrize("num_steps", [1, 3, 9])
def test_stacks_of_images_are_those_of_their_pixels_and_lie_channels_last(dtype, num_steps):
    stack, of_pixels = FrameStack((2, 5, 3), 4), FrameStack((30,), 4)
    frames = torch.randint(256, (num_steps, 6, 2, 5, 3)).to(dtype)
    state, starts = torch.randint(256, (6, 90)).to(dtype), torch.rand(num_steps, 6) < 0.3
    stacks, after = stack(frames, state, starts)
    expected, same = of_pixels(frames.flatten(2), state, starts)
    assert torch.equal(stacks, expected.view(num_steps, 6, 8, 5, 3))
    assert torch.equal(after, same)
    assert stacks.dtype == dtype
    assert stacks.permute(0, 1, 3, 4, 2).is_contiguous()


def test_a_stack_of_images_passes_gradients_on():
    frames = torch.rand(3, 2, 1, 4, 4, requires_grad=True)
    starts = torch.tensor([[False, False], [False, True], [False, False]])
    FrameStack((1, 4, 4), 2)(frames, None, starts)[0].sum().backward()
    assert frames.grad[..., 0, 0, 0].tolist() == [[2, 1], [2, 2], [1, 1]]


def test_a_stack_of_images_is_compiled_whole_and_takes_no_rows():
    stack = FrameStack((1, 4, 4), 3)
    frames, starts = torch.rand(3, 2, 1, 4, 4), torch.tensor([[False, False], [False, True], [False, False]])
    compiled = torch.compile(stack, backend="eager", fullgraph=True)
    for found, expected in zip(compiled(frames, None, starts), stack(frames, None, starts), strict=True):
        assert torch.equal(found, expected)
    for dtype in (torch.float32, torch.float16):
        stacks, state = stack(frames[:, :0].to(dtype), None, starts[:, :0])
        assert (stacks.shape, state.shape) == ((3, 0, 3, 4, 4), (0, 32))


def test_a_start_in_one_environment_leaves_the_stack_of_the_other():
    stack = FrameStack((1,), 2)
    frames = torch.tensor([[[1.0], [10.0]], [[2.0], [20.0]]])
    stacks, _ = stack(frames, None, torch.tensor([[True, True], [True, False]]))
    assert stacks[1].tolist() == [[0, 2], [10, 20]]


def test_moments_by_hand():
    normaliser = ObservationNormaliser((2,))
    assert normaliser(torch.tensor([3.0, -4.0])).tolist() == pytest.approx([3, -4]), "before it has seen any"
    normaliser.update(torch.tensor([[0.0, 1.0], [4.0, 1.0]]))
    normaliser.update(torch.tensor([[8.0, 4.0]]))
    assert normaliser.mean.tolist() == pytest.approx([4, 2])
    assert normaliser.variance.tolist() == pytest.approx([32 / 3, 2])
    assert float(normaliser.count) == 3
    assert normaliser.count.dtype == torch.float64, "float32 would stop counting at 2**24"
    assert normaliser.deviation.tolist() == pytest.approx([(32 / 3) ** 0.5, 2**0.5])
    assert normaliser(torch.tensor([4.0, 4.0])).tolist() == pytest.approx([0, 2**0.5])
    normaliser.update(torch.zeros(0, 2))
    assert float(normaliser.count) == 3


def test_what_never_changes_is_divided_by_a_ten_thousandth_and_clipped_at_ten():
    normaliser = ObservationNormaliser((1,))
    normaliser.update(torch.zeros(4, 1))
    features = torch.tensor([[5e-4], [-5e-4], [1e-2], [-1e-2]])
    assert normaliser(features)[:, 0].tolist() == pytest.approx([5, -5, 10, -10], rel=1e-5)
    assert normaliser.clips(features).tolist() == [False, False, True, True]


def test_one_feature_beyond_the_bound_is_enough_to_be_clipped():
    normaliser = ObservationNormaliser((2,))
    assert normaliser.clips(torch.tensor([[0.0, 11.0], [9.0, -9.0]])).tolist() == [True, False]


CARRIED = {"carry_state": True, "steps_per_observation": 1, "hidden_sizes": (4,)}


@pytest.mark.parametrize(
    ("config", "separable"),
    [
        (AnnPolicy(hidden_sizes=(4,)), True),
        (AnnPolicy(hidden_sizes=(4,), share_layers=True), False),
        (AnnPolicy(hidden_sizes=(4,), frame_stack=2), False),
        (SpikingPolicy(hidden_sizes=(4,)), True),
        (SpikingPolicy(**CARRIED), False),
        (SpikingPolicy(hidden_sizes=(4,), normalise_observations=True), True),
    ],
)
def test_actor_and_critic_run_alone_where_they_share_nothing(config, separable):
    torch.manual_seed(0)
    net = ActorCritic(OBS, DISCRETE, config)
    assert net.is_separable == separable
    if separable:
        net.measure(torch.randn(20, 3))
        observations = torch.randn(5, 2, 3)
        inputs, values, _ = net(observations)
        torch.testing.assert_close(net.actor(observations), inputs)
        torch.testing.assert_close(net.critic(observations), values)


def test_the_actor_alone_has_the_deviation_too():
    net = ActorCritic(OBS, spaces.Box(-1, 1, (2,), np.float32), AnnPolicy(hidden_sizes=(4,)))
    net.log_std.data = torch.tensor([-1.0, 0.5])
    assert net.num_inputs == 2
    assert net.num_distribution_inputs == 4
    assert net.actor(torch.randn(1, 3, 3))[0, :, 2:].tolist() == [[-1.0, 0.5]] * 3


def test_the_state_is_the_frames_then_the_membranes_of_actor_and_critic():
    torch.manual_seed(0)
    net = ActorCritic(OBS, DISCRETE, SpikingPolicy(**CARRIED, frame_stack=2, input_gain=3.0))
    assert (net.memory_sizes, net.body_state_sizes) == ([3], [4 + 4, 4 + 1])
    assert net.state_size == 3 + 8 + 5
    observations = torch.randn(4, 2, 3)
    _, _, state = net(observations)
    assert torch.equal(state[:, :3], observations[-1])
    before = torch.randn(2, net.state_size)
    features, membranes = net.actor_inputs(observations[0], before)
    assert torch.equal(features, torch.cat((before[:, :3], observations[0]), dim=1)[None])
    assert torch.equal(membranes, before[:, 3:11])
    outputs, after = net.bodies[1](features, before[:, 11:])
    _, values, whole = net(observations[:1], before)
    torch.testing.assert_close(values, outputs[..., 0])
    torch.testing.assert_close(whole[:, 11:], after)


def test_from_rest_the_actor_gets_no_membranes():
    net = ActorCritic(OBS, DISCRETE, AnnPolicy(hidden_sizes=(4,), frame_stack=2))
    features, membranes = net.actor_inputs(torch.ones(2, 3), torch.zeros(2, 3))
    assert membranes is None
    assert features.tolist() == [[[0, 0, 0, 1, 1, 1]] * 2]


def test_shared_layers_give_the_actors_outputs_first_and_the_value_last():
    torch.manual_seed(0)
    net = ActorCritic(OBS, DISCRETE, AnnPolicy(hidden_sizes=(4,), share_layers=True))
    observations = torch.randn(2, 3, 3)
    merged = net.bodies[0](observations.flatten(0, 1)[None])[0][0].view(2, 3, 5)
    inputs, values, state = net(observations)
    torch.testing.assert_close(inputs, merged[..., :4])
    torch.testing.assert_close(values, merged[..., 4])
    assert state.shape == (3, 0)


def test_observations_are_measured_as_the_network_sees_them():
    net = ActorCritic(
        IMAGE, DISCRETE, AnnPolicy(conv_layers=((2, 3, 2),), hidden_sizes=(4,), normalise_observations=True)
    )
    frames = torch.full((4, 1, 8, 8), 51, dtype=torch.uint8)
    net.measure(frames)
    assert float(net.normaliser.count) == 4
    torch.testing.assert_close(net.normaliser.mean, net.encoder(frames[:1])[0])
    plain = ActorCritic(IMAGE, DISCRETE, AnnPolicy(conv_layers=((2, 3, 2),), hidden_sizes=(4,)))
    plain.measure(frames)
    assert plain.normaliser is None


def test_weights_of_convolutions_without_spikes_keep_a_signals_norm():
    """Orthogonal rows with the gain of rectifiers: W W^T = 2, and no bias."""
    torch.manual_seed(0)
    network = make_body(AnnPolicy(conv_layers=((4, 3, 1), (2, 3, 1)), hidden_sizes=(5,)), (1, 8, 8), 3)
    for layer in (*network.convolutions, network.linear):
        rows = layer.weight.detach().flatten(1)
        if len(rows) > rows.shape[1]:
            rows = rows.T
        torch.testing.assert_close(rows @ rows.T, 2 * torch.eye(len(rows)), atol=1e-5, rtol=0)
        assert not layer.bias.any()


@pytest.mark.parametrize(
    ("settings", "shape", "says"),
    [
        ({"hidden_sizes": (4, 4)}, (1, 8, 8), r"followed by one hidden layer, got hidden_sizes \(4, 4\)"),
        ({"hidden_sizes": (4,)}, (8,), r"need images \[C, H, W\], got observations of shape \(8,\)"),
    ],
)
@pytest.mark.parametrize("kind", [AnnPolicy, SpikingPolicy])
def test_convolutions_on_what_is_no_image_are_refused(kind, settings, shape, says):
    config = kind(conv_layers=((2, 3, 1),), hidden_sizes=(4,))
    object.__setattr__(config, "hidden_sizes", settings["hidden_sizes"])
    with pytest.raises(ValueError, match=says):
        make_body(config, shape, 2)


def test_a_q_network_that_measures_observations_is_refused_by_its_setting():
    for config in (AnnPolicy(normalise_observations=True), SpikingPolicy(normalise_observations=True)):
        with pytest.raises(UserError, match=rf"does not measure.* — set {config.kind}\.normalise_observations=false"):
            check_q_network(OBS, DISCRETE, config)
    with pytest.raises(UserError, match=r"the environment has the action space Box.* — DQN needs Discrete actions"):
        check_q_network(OBS, gym.spaces.Box(-1, 1, (1,), np.float32), AnnPolicy())


def test_numbers_for_an_observation_are_those_of_features_memories_codes_and_layers():
    """Three features; two bodies of 3 + 4 + their outputs; a stack keeps 3 more; a code makes 2 of each feature."""

    def numbers(config):
        return ActorCritic(OBS, DISCRETE, config).numbers_per_observation

    plain = 3 + (3 + 4 + 4) + (3 + 4 + 1)
    assert numbers(AnnPolicy(hidden_sizes=(4,))) == plain
    assert numbers(AnnPolicy(hidden_sizes=(4,), frame_stack=2)) == plain + 3 + 2 * 3
    spiking = {"hidden_sizes": (4,), "steps_per_observation": 2}
    assert numbers(SpikingPolicy(**spiking)) == 3 + 2 * (4 + 4) + 2 * (4 + 1)
    assert numbers(SpikingPolicy(**spiking, encoder="population", encoder_neurons=2)) == 3 + 6 + 2 * 8 + 2 * 5
    assert numbers(SpikingPolicy(**spiking, encoder="delta")) == 3 + 3 + 6 + 2 * 8 + 2 * 5


def test_the_actor_receives_the_code_unless_it_is_asked_for_what_a_network_without_one_would():
    net = ActorCritic(OBS, DISCRETE, SpikingPolicy(hidden_sizes=(4,), encoder="population", encoder_neurons=5))
    observations = torch.tensor([[0.1, -0.2, 0.3]])
    state = torch.zeros(1, net.state_size)
    coded, _ = net.actor_inputs(observations, state)
    torch.testing.assert_close(coded[0], net.population(observations))
    plain, _ = net.actor_inputs(observations, state, coded=False)
    torch.testing.assert_close(plain[0], observations)
    inputs, values, _ = net(observations[None])
    torch.testing.assert_close(net.actor(observations[None]), inputs)
    torch.testing.assert_close(net.critic(observations[None]), values)


def test_changes_are_coded_after_the_state_and_are_state_themselves():
    net = ActorCritic(
        OBS, DISCRETE, SpikingPolicy(hidden_sizes=(4,), encoder="delta", encoder_threshold=0.5, frame_stack=2)
    )
    assert (net.memory_sizes, net.state_size) == ([3, 6], 9)
    before = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]])
    observations = torch.tensor([[1.0, 0.0, 0.2]])
    coded, _ = net.actor_inputs(observations, before)
    assert coded[0, 0].tolist() == [0, 0, 0, 2, 0, 0, 2, 2, 2, 0, 0, 0]
    _, _, after = net(observations[None], before)
    assert after[0].tolist() == pytest.approx([1, 0, 0.2, 0, 0, 0, 1, 0, 0])
    plain, _ = net.actor_inputs(observations, before, coded=False)
    assert plain[0, 0].tolist() == pytest.approx([0, 0, 0, 1, 0, 0.2])


def test_thresholds_that_may_become_different_are_those_of_the_actors_layers():
    plastic = PlasticLayers(layers=(1,), homeostasis=ThresholdAdaptation())
    net = ActorCritic(OBS, DISCRETE, SpikingPolicy(hidden_sizes=(4, 5), threshold=0.75, plastic=plastic))
    actor, critic = net.bodies
    assert [neurons.threshold.shape for neurons in actor.neurons] == [(), (5,)]
    assert [neurons.threshold.shape for neurons in critic.neurons] == [(), ()]
    assert actor.neurons[1].threshold.tolist() == [0.75] * 5


def test_a_q_network_is_held_to_the_spaces_that_a_policy_serves():
    with pytest.raises(UserError, match="the maze"):
        check_q_network(spaces.Text(3), DISCRETE, AnnPolicy(), "the maze")
    check_q_network(OBS, DISCRETE, AnnPolicy(), "the maze")

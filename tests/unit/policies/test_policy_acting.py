import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.errors import NonFiniteError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.policy import Policy
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy

OBS = spaces.Box(-1, 1, (3,))
BOX = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))
CONFIGS = {
    "ann": AnnPolicy(hidden_sizes=(8,)),
    "spiking": SpikingPolicy(hidden_sizes=(8,), input_gain=3.0),
    "carried": SpikingPolicy(hidden_sizes=(8,), carry_state=True, input_gain=3.0),
}


def make_policy(name="ann", action_space=None, observation_space=OBS):
    torch.manual_seed(0)
    action_space = action_space or spaces.Discrete(3)
    return Policy(ActorCritic(observation_space, action_space, CONFIGS[name]), observation_space, action_space)


def with_fixed_outputs(policy, outputs):
    """Let the network ignore the observation: its distribution inputs are ``outputs``."""
    last = policy.network.bodies[0].linears[-1]
    last.weight.data.zero_()
    last.bias.data = torch.tensor(outputs)
    return policy


def observations(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


def test_initial_state_is_zero_with_or_without_a_batch():
    policy = make_policy("carried")
    size = (8 + 3) + (8 + 1)
    np.testing.assert_array_equal(policy.initial_state(), np.zeros(size, np.float32))
    np.testing.assert_array_equal(policy.initial_state(4), np.zeros((4, size), np.float32))
    assert make_policy("spiking").initial_state(4).shape == (4, 0)


@pytest.mark.parametrize("action_space", [spaces.Discrete(3), BOX], ids=["discrete", "box"])
@pytest.mark.parametrize("name", CONFIGS)
def test_batch_acts_like_its_rows_one_by_one(name, action_space):
    policy, obs = make_policy(name, action_space), observations(5)
    _, state = policy.act(observations(5, seed=1))  # a state that is not at rest
    actions, after = policy.act(obs, state)
    assert actions.shape == (5, *action_space.shape)
    for row in range(5):
        action, next_state = policy.act(obs[row], state[row])
        np.testing.assert_allclose(action, actions[row], rtol=1e-6, atol=1e-5)
        np.testing.assert_allclose(next_state, after[row], rtol=0, atol=1e-6)


@pytest.mark.parametrize("action_space", [spaces.Discrete(3), BOX], ids=["discrete", "box"])
@pytest.mark.parametrize("deterministic", [True, False])
def test_actions_belong_to_the_action_space(action_space, deterministic):
    policy = make_policy("spiking", action_space)
    for observation in observations(20):
        action, _ = policy.act(observation, deterministic=deterministic)
        assert action_space.contains(action)


def test_deterministic_discrete_action_is_the_most_likely_one():
    policy = with_fixed_outputs(make_policy(), [0.1, 0.3, 0.2])
    actions, _ = policy.act(observations(4))
    assert actions.tolist() == [1, 1, 1, 1]


def test_deterministic_box_action_is_the_stretched_mean():
    policy = with_fixed_outputs(make_policy(action_space=BOX), [0.5, -0.5])
    action, _ = policy.act(observations(1)[0])
    np.testing.assert_allclose(action, [1.0, 2.5])  # -2 + 1.5 * 4 / 2 and 0 + 0.5 * 10 / 2


def test_sampled_discrete_actions_follow_the_softmax():
    # softmax(ln 1, ln 2, ln 5) = (1/8, 2/8, 5/8); four standard errors of 4000 draws are at most 0.032
    policy = with_fixed_outputs(make_policy(), [0.0, float(np.log(2)), float(np.log(5))])
    generator = torch.Generator().manual_seed(1)
    actions, _ = policy.act(observations(4000), deterministic=False, generator=generator)
    np.testing.assert_allclose(np.bincount(actions, minlength=3) / 4000, [0.125, 0.25, 0.625], atol=0.032)


def test_sampled_box_actions_have_the_mean_and_the_standard_deviation_of_the_policy():
    unbounded = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    policy = with_fixed_outputs(make_policy(action_space=unbounded), [3.0, -1.0])
    policy.network.log_std.data = torch.tensor([float(np.log(0.5)), float(np.log(2.0))])
    generator = torch.Generator().manual_seed(1)
    actions, _ = policy.act(observations(4000), deterministic=False, generator=generator)
    np.testing.assert_allclose(actions.mean(0), [3.0, -1.0], atol=4 * 2.0 / np.sqrt(4000))
    np.testing.assert_allclose(actions.std(0), [0.5, 2.0], rtol=0.05)


@pytest.mark.parametrize("action_space", [spaces.Discrete(3), BOX], ids=["discrete", "box"])
def test_samples_repeat_with_the_seed_of_the_generator(action_space):
    policy, obs = make_policy("spiking", action_space), observations(50)
    first, again, other = (
        policy.act(obs, deterministic=False, generator=torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_deterministic_action_uses_no_randomness():
    policy, before = make_policy("spiking", BOX), torch.get_rng_state()
    policy.act(observations(3))
    assert torch.equal(torch.get_rng_state(), before)


def test_carried_state_goes_in_and_out_and_nothing_is_kept_inside():
    policy, obs = make_policy("carried"), observations(1)[0]
    _, state = policy.act(obs)
    assert np.any(state)
    _, again = policy.act(obs)
    np.testing.assert_array_equal(again, state)
    _, later = policy.act(obs, state)
    assert not np.array_equal(later, state)


@pytest.mark.parametrize(("name", "runs"), [("ann", 0), ("spiking", 0), ("carried", 1)])
def test_a_critic_runs_only_where_it_carries_a_state(name, runs):
    policy, calls = make_policy(name), []
    policy.network.bodies[1].register_forward_hook(lambda *_: calls.append(1))
    policy.act(observations(2))
    assert len(calls) == runs


@pytest.mark.parametrize("name", ["ann", "spiking", "carried"])
def test_hooks_of_the_whole_network_are_called(name):
    policy, values = make_policy(name), []
    policy.network.register_forward_hook(lambda module, given, outputs: values.append(outputs[1]))
    policy.act(observations(2))
    assert [tuple(value.shape) for value in values] == [(1, 2)]


def test_state_that_is_given_is_not_changed_in_place():
    policy = make_policy("carried")
    state = policy.initial_state(2)
    policy.act(observations(2), state)
    assert not state.any()


@pytest.mark.parametrize("shape", [(4,), (2, 4), (1, 2, 3), ()])
def test_observation_of_a_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"observation must be \(3,\), got "):
        make_policy().act(np.zeros(shape, np.float32))


@pytest.mark.parametrize("shape", [(19,), (2, 19), (20, 2)])
def test_state_of_a_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"state must be \(2, 20\)"):
        make_policy("carried").act(observations(2), np.zeros(shape, np.float32))


def test_state_for_a_policy_that_carries_none_is_refused():
    with pytest.raises(ValueError, match=r"state must be \(1, 0\), got \(1, 5\)"):
        make_policy("spiking").act(observations(1)[0], np.zeros(5))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_observation_that_is_not_finite_is_refused(value):
    obs = observations(2)
    obs[1, 2] = value
    with pytest.raises(NonFiniteError, match="the observation is not finite"):
        make_policy().act(obs)


def test_discrete_observations_come_single_or_batched():
    policy = make_policy("spiking", observation_space=spaces.Discrete(4))
    actions, _ = policy.act(np.array([0, 3]))
    assert actions.shape == (2,)
    assert int(policy.act(3)[0]) == int(policy.act(np.int64(3))[0]) == int(actions[1])


@pytest.mark.parametrize("observation", [4, -1])
def test_discrete_observation_outside_its_space_is_refused(observation):
    with pytest.raises(ValueError, match="observation"):
        make_policy("ann", observation_space=spaces.Discrete(4)).act(observation)


PARTS = spaces.Dict(
    {"noise": spaces.Box(-1, 1, (2, 2)), "gear": spaces.Discrete(3, start=5), "both": spaces.MultiDiscrete([2, 3])}
)
MASKED = spaces.Dict({"observations": spaces.Box(-1, 1, (2,)), "action_mask": spaces.MultiBinary(3)})


def batch_of(space, number, seed=0):
    space.seed(seed)
    rows = [space.sample() for _ in range(number)]
    return rows, {key: np.stack([row[key] for row in rows]) for key in space}


@pytest.mark.parametrize("name", CONFIGS)
def test_observations_of_several_parts_are_taken_as_the_environment_gives_them_and_flat(name):
    policy = make_policy(name, observation_space=PARTS)
    rows, batch = batch_of(PARTS, 5)
    actions, state = policy.act(batch)
    flat = np.stack([policy.observation_space.flatten(row) for row in rows])
    for given, before in ((flat, None), (torch.from_numpy(flat), None)):
        np.testing.assert_array_equal(policy.act(given, before)[0], actions)
    for row, action, after in zip(rows, actions, state, strict=True):
        found, found_state = policy.act(row)
        assert found == action
        np.testing.assert_allclose(found_state, after, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"gear": 4}, r"observation\['gear'\] must hold whole numbers from 5 to 7, got 4"),
        ({"both": [0, 3]}, r"observation\['both'\] must hold whole numbers"),
        ({"noise": np.zeros(3)}, r"observation\['noise'\] must be \(2, 2\), got \(3,\)"),
        ({"noise": np.full((2, 2), np.nan)}, r"the observation\['noise'\] is not finite"),
        ({"noise": np.zeros((4, 2, 2))}, "observation has parts of batches that differ"),
        ({"more": 1}, "observation must be a dictionary of both, gear, noise"),
    ],
)
def test_a_part_that_is_not_of_its_space_is_named(changes, says):
    policy, (row,) = make_policy(observation_space=PARTS), batch_of(PARTS, 1)[0]
    with pytest.raises((ValueError, NonFiniteError), match=says):
        policy.act({**row, **changes})


@pytest.mark.parametrize(
    "space", [spaces.Tuple((spaces.Discrete(2), PARTS)), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(4)]
)
def test_other_spaces_of_several_parts_act_too(space):
    policy = make_policy(observation_space=space)
    space.seed(0)
    observation = space.sample()
    action, _ = policy.act(observation)
    assert action == policy.act(policy.observation_space.flatten(observation))[0]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("deterministic", [True, False])
def test_no_action_is_taken_that_the_mask_forbids(name, deterministic):
    policy = make_policy(name, observation_space=MASKED)
    masks = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1]] * 50, np.int8)
    observation = {"observations": np.random.default_rng(0).normal(size=(200, 2)), "action_mask": masks}
    generator = torch.Generator().manual_seed(0)
    actions, _ = policy.act(observation, deterministic=deterministic, generator=generator)
    assert masks[np.arange(200), actions].all()
    assert set(actions[3::4]) <= {0, 2}
    assert policy.network.encoder.num_features == 2  # the mask is no feature


def test_a_mask_that_allows_nothing_is_refused():
    policy = make_policy(observation_space=MASKED)
    said = r"observation has an action_mask that allows no action — allow one, or terminate the episode$"
    with pytest.raises(ValueError, match=said):
        policy.act({"observations": np.zeros(2), "action_mask": np.zeros(3, np.int8)})


@pytest.mark.parametrize("space", [spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(4)], ids=str)
@pytest.mark.parametrize("deterministic", [True, False])
def test_several_choices_at_once_belong_to_the_action_space(space, deterministic):
    policy = make_policy("spiking", space)
    for observation in observations(20):
        action, _ = policy.act(observation, deterministic=deterministic)
        assert space.contains(action)
    actions, _ = policy.act(observations(7), deterministic=deterministic)
    assert actions.shape == (7, *space.shape)
    assert policy.act(observations(0))[0].shape == (0, *space.shape)


@pytest.mark.parametrize(("distribution", "expected"), [("beta", [0.0, 5.0]), ("squashed_gaussian", [0.0, 5.0])])
@pytest.mark.parametrize("deterministic", [True, False])
def test_bounded_distributions_act_within_the_bounds(distribution, expected, deterministic):
    config = AnnPolicy(hidden_sizes=(8,), action_distribution=distribution)
    policy = Policy(ActorCritic(OBS, BOX, config), OBS, BOX)
    policy = with_fixed_outputs(policy, [0.0] * policy.network.num_inputs)
    actions, _ = policy.act(observations(500), deterministic=deterministic, generator=torch.Generator().manual_seed(0))
    assert all(BOX.contains(action) for action in actions)
    if deterministic:
        np.testing.assert_allclose(actions, np.tile(expected, (500, 1)), atol=1e-6)
    else:
        assert len(np.unique(actions[:, 0])) == 500
        assert actions.min(0)[0] < -1.5
        assert actions.max(0)[1] > 9


def test_deviations_that_depend_on_the_observation_are_outputs_of_the_network():
    config = AnnPolicy(hidden_sizes=(8,), state_dependent_std=True)
    network = ActorCritic(OBS, BOX, config)
    assert network.log_std is None
    assert (network.num_inputs, network.num_distribution_inputs) == (4, 4)
    inputs, _, _ = network(torch.from_numpy(observations(6))[None])
    assert len(inputs[0, :, 2].unique()) == 6

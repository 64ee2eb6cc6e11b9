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
        np.testing.assert_allclose(action, actions[row], rtol=0, atol=1e-5)
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

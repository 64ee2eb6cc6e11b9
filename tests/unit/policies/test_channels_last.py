"""Images ``[H, W, C]``: the same as those with their axes moved by hand, whatever the policy."""

import json
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.algorithms.on_policy.train_batch import train_batch
from synrl_ray.evaluation.episodes import evaluate_policy
from synrl_ray.experiment import A2C, Environment, Experiment, Stopping
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.energy import decision_energy
from synrl_ray.policies.images import has_channels_last
from synrl_ray.policies.policy import Policy, load_network_policy
from synrl_ray.policies.q_network import q_values
from synrl_ray.sampling.batched import BatchedEnvRunner
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy

LAST = spaces.Box(0, 255, (12, 10, 3), np.uint8)
FIRST = spaces.Box(0, 255, (3, 12, 10), np.uint8)
ACTIONS = spaces.Discrete(3)
LAYOUT = {"conv_layers": ((4, 4, 2), (6, 3, 1)), "hidden_sizes": (8,), "max_seq_len": 4}
CONFIGS = {
    "spiking": SpikingPolicy(**LAYOUT, steps_per_observation=2, input_gain=8.0),
    "carried": SpikingPolicy(**LAYOUT, steps_per_observation=2, input_gain=8.0, carry_state=True, share_layers=True),
    "ann": AnnPolicy(**LAYOUT),
    "stacked": AnnPolicy(**LAYOUT, frame_stack=3, normalise_observations=True),
    "stacked spiking": SpikingPolicy(**LAYOUT, carry_state=True, frame_stack=2, normalise_observations=True),
}
EVERY = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


class Squares(gym.Env):
    """A bright square somewhere, and a reward for the action that names its third of the image."""

    action_space = ACTIONS

    def __init__(self, *, channels_last: bool = True):
        self.channels_last = channels_last
        self.observation_space = LAST if channels_last else FIRST

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action):
        self.steps += 1
        reward = float(action == self.third)
        return self._observe(), reward, False, self.steps == 7, {}

    def _observe(self):
        self.third = int(self.np_random.integers(3))
        image = self.np_random.integers(0, 50, LAST.shape).astype(np.uint8)
        image[4 * self.third : 4 * self.third + 4, :, self.third] = 250
        return image if self.channels_last else np.ascontiguousarray(image.transpose(2, 0, 1))


gym.register("SquaresLast-v0", Squares)
gym.register("SquaresFirst-v0", Squares, kwargs={"channels_last": False})


def policies_of(config):
    """A policy for either layout, with the same weights."""
    pair = []
    for space in (LAST, FIRST):
        torch.manual_seed(0)
        pair.append(Policy(ActorCritic(space, ACTIONS, config), space, ACTIONS))
    return pair


def frames(*batch, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*batch, *LAST.shape), dtype=np.uint8)


def by_hand(observations):
    return np.ascontiguousarray(np.moveaxis(observations, -1, -3))


@EVERY
def test_a_policy_acts_as_on_images_moved_by_hand(config):
    last, first = policies_of(config)
    for policy, given in ((last, frames(50, seed=9)), (first, by_hand(frames(50, seed=9)))):
        policy.network.measure(torch.from_numpy(given))
    assert (last.network.normaliser is None) != config.normalise_observations
    state = other = last.initial_state(2)
    for seed in range(4):
        observations = frames(2, seed=seed)
        actions, state = last.act(observations, state)
        expected, other = first.act(by_hand(observations), other)
        np.testing.assert_array_equal(actions, expected)
        np.testing.assert_allclose(state, other, rtol=1e-6, atol=1e-5)
    counted, right = decision_energy(last, observations, state), decision_energy(first, by_hand(observations), other)
    assert counted["policy"]["energy_pj"] == right["policy"]["energy_pj"]


@EVERY
def test_a_saved_policy_is_read_alike(config, tmp_path):
    policy, _ = policies_of(config)
    policy.save(tmp_path)
    assert json.loads((tmp_path / "policy.json").read_text())["channels_last"] is True
    again = load_network_policy(tmp_path)
    np.testing.assert_array_equal(again.act(frames(3))[1], policy.act(frames(3))[1])
    result = evaluate_policy(again, Squares, episodes=3, seed=0)
    assert result.lengths.tolist() == [7, 7, 7]


def test_a_policy_of_before_reads_images_as_it_always_did(tmp_path):
    config = replace(CONFIGS["ann"], conv_layers=((4, 3, 1),))
    torch.manual_seed(0)
    network = ActorCritic(LAST, ACTIONS, config, channels_last=False)
    assert network.bodies[0].in_shape == (12, 10, 3)
    policy = Policy(network, LAST, ACTIONS)
    policy.save(tmp_path)
    assert "channels_last" not in json.loads((tmp_path / "policy.json").read_text())
    again = load_network_policy(tmp_path)
    assert again.network.bodies[0].in_shape == (12, 10, 3)
    np.testing.assert_array_equal(again.act(frames(5))[0], policy.act(frames(5))[0])


@pytest.mark.parametrize("kind", ["spiking", "ann"])
@pytest.mark.parametrize("dueling", [True, False])
def test_action_values_too(kind, dueling):
    observations = frames(5)
    values = [
        q_values(policy.network, torch.from_numpy(given), dueling=dueling)
        for policy, given in zip(policies_of(CONFIGS[kind]), (observations, by_hand(observations)), strict=True)
    ]
    torch.testing.assert_close(*values, rtol=0, atol=1e-6)


def config_of(environment, config):
    experiment = Experiment(
        id="squares",
        summary="squares",
        environment=Environment(id=environment, num_envs=2),
        spiking=config if config.kind == "spiking" else SpikingPolicy(),
        ann=config if config.kind == "ann" else AnnPolicy(),
        algorithm=A2C(num_steps=8, lr=5e-3),
        stopping=Stopping(env_steps=1000),
    )
    torch.manual_seed(0)
    return algorithm_config(experiment, config.kind, seed=1, num_workers=0)


@EVERY
def test_a_rollout_keeps_the_environments_layout_and_is_replayed_exactly(config):
    rollouts = []
    for name in ("SquaresLast-v0", "SquaresFirst-v0"):
        runner = BatchedEnvRunner(config=config_of(name, config))
        runner.module.network.measure(torch.from_numpy(runner._observations))
        rollouts.append(runner.sample())
        seen = rollouts[-1]
        with torch.no_grad():
            replayed = runner.module.network(*map(torch.from_numpy, (seen.observations, seen.states[0], seen.starts)))
        np.testing.assert_allclose(replayed[0], seen.inputs, rtol=1e-6, atol=1e-5)
    last, first = rollouts
    assert last.observations.shape == (8, 2, 12, 10, 3)
    np.testing.assert_array_equal(by_hand(last.observations), first.observations)
    np.testing.assert_array_equal(last.actions, first.actions)
    np.testing.assert_allclose(last.values, first.values, rtol=1e-6, atol=1e-5)
    assert last.rewards.sum() == first.rewards.sum()


@EVERY
def test_the_same_is_learned_from_either_layout(config):
    learned, weights = [], None
    for name, space in (("SquaresLast-v0", LAST), ("SquaresFirst-v0", FIRST)):
        settings = config_of(name, config)
        learner = settings.build_learner(spaces={DEFAULT_MODULE_ID: (space, ACTIONS)})
        learner.build()
        network = learner.module[DEFAULT_MODULE_ID].unwrapped().network
        weights = weights or {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(weights)  # whatever else draws random numbers in this process
        start = torch.cat([parameter.detach().flatten().clone() for parameter in network.parameters()])
        runner = BatchedEnvRunner(config=settings)
        for _ in range(5):
            runner.module.network.load_state_dict(network.state_dict())
            rollout = runner.sample()
            batch = SampleBatch(train_batch([rollout], gamma=0.9, gae_lambda=1.0, standardise=False))
            learner.update(
                batch=MultiAgentBatch({DEFAULT_MODULE_ID: batch}, env_steps=rollout.num_steps),
                timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: 0},
            )
        end = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
        assert (end - start).abs().max() > 1e-3
        learned.append(end)
    torch.testing.assert_close(*learned, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((64, 64, 3), True),
        ((210, 160, 1), True),
        ((84, 84, 4), True),
        ((3, 64, 64), False),
        ((1, 84, 84), False),
        ((4, 84, 84), False),
        ((3, 3, 3), False),
        ((4, 10, 1), False),
        ((64, 4, 4), False),
        ((64, 7, 2), False),
        ((64, 64, 12), False),
        ((64, 64), False),
        ((2, 64, 64, 3), False),
    ],
)
def test_which_shapes_are_taken_as_channels_last(shape, expected):
    assert has_channels_last(spaces.Box(0, 1, shape)) is expected


def test_only_networks_of_convolutions_mind_the_axes():
    network = ActorCritic(LAST, ACTIONS, AnnPolicy())
    assert not network.encoder.channels_last
    flat = network.encoder(torch.from_numpy(frames(1, 1)))
    np.testing.assert_array_equal(flat.numpy().reshape(-1), frames(1).reshape(-1))
    assert not has_channels_last(spaces.Discrete(3))

"""What a decision computes is bounded, also where no weight shows it: frames that are kept, maps, simulation steps."""

import numpy as np
import pytest
from gymnasium import spaces

from synrl_ray import load_policy
from synrl_ray.errors import UserError
from synrl_ray.experiment import AnnPolicy, RStdp, SpikingClassifier, SpikingPolicy, StdpQ
from synrl_ray.policies import layers
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.layers import numbers_per_observation, rows_at_once
from synrl_ray.policies.local.policy import LocalPolicy
from synrl_ray.policies.local.table import make_agent
from synrl_ray.policies.policy import Policy
from synrl_ray.supervised.files import load_classifier, save_classifier
from synrl_ray.supervised.model import Classifier

VECTOR = spaces.Box(-1, 1, (1,))
LARGE_IMAGE = spaces.Box(0, 255, (1, 2048, 2048), np.uint8)
TWO = spaces.Discrete(2)
ONE_PIXEL = {"conv_layers": ((1, 1, 2047),), "hidden_sizes": (1,)}
GREEDY = {
    "frames that are kept": (LARGE_IMAGE, AnnPolicy(frame_stack=16, **ONE_PIXEL)),
    "spikes of many steps": (VECTOR, SpikingPolicy(hidden_sizes=(100_000,), steps_per_observation=1000)),
    "large maps": (
        LARGE_IMAGE,
        AnnPolicy(conv_layers=((64, 1, 1), (1, 1, 2047)), hidden_sizes=(1,)),
    ),
    "large maps of spikes": (
        LARGE_IMAGE,
        SpikingPolicy(conv_layers=((2, 1, 1), (1, 1, 2047)), hidden_sizes=(1,), steps_per_observation=1000),
    ),
}


@pytest.mark.parametrize("name", GREEDY)
def test_a_small_file_cannot_describe_a_large_decision(tmp_path, name):
    space, config = GREEDY[name]
    Policy(ActorCritic(space, TWO, config), space, TWO).save(tmp_path)
    with pytest.raises(UserError, match=r"policy\.json is damaged \(each observation takes [\d,]+ numbers, "):
        load_policy(tmp_path)


def test_neither_can_that_of_a_local_agent_or_of_a_classifier(tmp_path):
    observed = (spaces.Box(0, 1, (2,)), TWO)
    settings = RStdp(steps_per_observation=1000, neurons_per_action=20_000)
    LocalPolicy(make_agent(*observed, settings=settings), settings, *observed).save(tmp_path / "local")
    with pytest.raises(UserError, match="each observation takes"):
        load_policy(tmp_path / "local")
    many = SpikingClassifier(architecture="conv", channels=(300, 1), hidden_sizes=(1,), steps_per_observation=1000)
    save_classifier(Classifier(many, (0, 1)), tmp_path / "classifier")
    with pytest.raises(UserError, match="each observation takes"):
        load_classifier(tmp_path / "classifier")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SpikingPolicy(hidden_sizes=(5, 7), steps_per_observation=3), 3 * (5 + 7 + 2)),
        (AnnPolicy(hidden_sizes=(5, 7)), 1 + 5 + 7 + 2),
    ],
)
def test_numbers_of_a_vectors_network(config, expected):
    assert numbers_per_observation(ActorCritic(VECTOR, TWO, config).bodies[0]) == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SpikingPolicy, 2 * (3 * 16 + 6 + 2)),
        (AnnPolicy, 100 + 3 * 16 + 6 + 2),
    ],
)
def test_numbers_of_an_images_network(config, expected):
    steps = {"steps_per_observation": 2} if config is SpikingPolicy else {}
    settings = config(conv_layers=((3, 4, 2),), hidden_sizes=(6,), **steps)
    body = ActorCritic(spaces.Box(0, 255, (1, 10, 10), np.uint8), TWO, settings).bodies[0]
    assert numbers_per_observation(body) == expected


def test_rows_are_as_many_as_fit():
    assert rows_at_once(1, 32) == 32
    assert rows_at_once(2**23, 32) == 8
    assert rows_at_once(2**40, 32) == 1
    assert rows_at_once(0, 32) == 32


@pytest.mark.parametrize(
    ("settings", "space"), [(RStdp(), spaces.Box(0, 1, (6,))), (StdpQ(), spaces.Discrete(11))], ids=["r_stdp", "stdp_q"]
)
def test_decisions_of_a_local_agent_do_not_depend_on_how_many_are_made_together(settings, space, monkeypatch):
    agent = make_agent(space, spaces.Discrete(3), settings=settings)
    generator = np.random.default_rng(0)
    observations = np.arange(11) if isinstance(settings, StdpQ) else generator.random((11, 6), np.float32)
    together, spikes = agent.greedy(observations), agent.spike_counts(observations)
    monkeypatch.setattr(layers, "_NUMBERS_AT_ONCE", 3 * agent.numbers_per_observation)
    assert [len(part) for part in agent.in_parts(observations)] == [3, 3, 3, 2]
    np.testing.assert_array_equal(agent.greedy(observations), together)
    for name, counts in agent.spike_counts(observations).items():
        np.testing.assert_allclose(counts, spikes[name], rtol=1e-6)

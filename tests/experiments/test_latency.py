"""What ``benchmarks/latency.py`` times is what it says, and it times all of it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def latency():
    spec = importlib.util.spec_from_file_location("latency", REPOSITORY / "benchmarks" / "latency.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "benchmarks")  # as where it is run
        spec.loader.exec_module(module)
    return module


def test_every_policy_that_acts_and_has_a_twin_is_timed(latency):
    control = {"cartpole-ppo", "cartpole-dqn", "cartpole-reinforce", "shower-ppo", "pendulum-sac", "changing-cues"}
    assert set(latency.committed()) == control | {"breakout-a2c", "car-racing-ppo"}


@pytest.mark.parametrize("name", ["pendulum-sac", "breakout-a2c"])
def test_the_twin_in_plain_torch_computes_the_same_and_every_contender_decides_on_each_observation(latency, name):
    spiking, ann = (latency.load_policy(latency.RESULTS / name / kind) for kind in ("spiking", "ann"))
    observations = [spiking.observation_space.sample() for _ in range(3)]
    found = latency.contenders(spiking, ann, observations)  # which raises where outputs differ
    assert {"spiking act", "spiking network", "ann act", "ann network", "torch"} <= set(found)
    with torch.no_grad():
        assert [len([decide() for decide in block()]) for block in found.values()] == [3] * len(found)


def test_networks_alone_receive_what_they_do_in_a_decision(latency):
    policy = latency.load_policy(latency.RESULTS / "breakout-a2c" / "spiking")
    observations, state = [policy.observation_space.sample() for _ in range(3)], None
    for observation, (features, before) in zip(observations, latency.received(policy, observations), strict=True):
        _, state = policy.act(observation, state)
        with torch.no_grad():
            np.testing.assert_array_equal(policy.network.bodies[0](features, before)[1][0], state)


def test_an_episode_is_recorded_and_timed(latency, monkeypatch):
    monkeypatch.setattr(latency, "DECISIONS", 5)
    row = latency.row("shower-ppo", rounds=2)
    assert row["condition"] == "shower-ppo"
    assert 0 < row["spiking act"] <= row["spiking act p99"]

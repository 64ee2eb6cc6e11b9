"""The batched env runner's state contract: the learner recomputes what the rollout computed, for any fragment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.algorithms.on_policy.train_batch import train_batch
from synrl_ray.experiment import A2C, PPO, AtariFrames, CarRacingFrames, Environment, Reinforce
from synrl_ray.registry import get_experiment
from synrl_ray.settings.policies import AnnPolicy, PolicyConfig, SpikingPolicy

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

CARRIED = SpikingPolicy(hidden_sizes=(16, 16), carry_state=True, steps_per_observation=2, max_seq_len=8)
ALGORITHMS = [PPO(train_batch_size=96, minibatch_size=32), A2C(num_steps=8), Reinforce()]


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.name)
@pytest.mark.parametrize("policy", [CARRIED, replace(CARRIED, carry_state=False)], ids=["carried", "from-rest"])
def test_learner_recomputes_the_rollout(env_id: str, algorithm: PPO | A2C | Reinforce, policy: SpikingPolicy) -> None:
    assert_replayed(Environment(id=env_id, num_envs=4), policy, algorithm)


IMAGES = [
    Environment(id="ale_py:ALE/Breakout-v5", preprocessing=AtariFrames(), num_envs=2),
    Environment(id="CarRacing-v3", preprocessing=CarRacingFrames(action_repeat=8), num_envs=2),
]
STACKED = AnnPolicy(conv_layers="small", hidden_sizes=(16,), share_layers=True, frame_stack=4, max_seq_len=8)
CONVOLUTIONAL = replace(
    CARRIED, conv_layers="small", hidden_sizes=(16,), share_layers=True, input_gain=16.0, hidden_gain=8.0
)


@pytest.mark.parametrize("environment", IMAGES, ids=["breakout", "car-racing"])
@pytest.mark.parametrize("policy", [CONVOLUTIONAL, STACKED], ids=["carried", "stacked"])
def test_learner_recomputes_the_rollout_of_frames(environment: Environment, policy: PolicyConfig) -> None:
    assert_replayed(environment, policy, A2C(num_steps=32))


def assert_replayed(environment: Environment, policy: PolicyConfig, algorithm: PPO | A2C | Reinforce) -> None:
    """Log-probabilities and values of three fragments in a row, to 1e-5."""
    experiment = replace(
        get_experiment("cartpole-ppo"),
        environment=environment,
        spiking=policy if isinstance(policy, SpikingPolicy) else SpikingPolicy(),
        ann=policy if isinstance(policy, AnnPolicy) else AnnPolicy(),
        algorithm=algorithm,
    )
    built = algorithm_config(experiment, policy.kind, seed=1, num_workers=0).build_algo()
    try:
        module = built.learner_group._learner.module[DEFAULT_MODULE_ID].unwrapped()
        for fragment in range(3):  # the later ones begin in mid-episode
            rollout = built.env_runner.sample()
            assert rollout.valid.any()
            if fragment and policy.has_state and not isinstance(algorithm, Reinforce):
                assert np.abs(rollout.states[0]).max() > 0
            batch = train_batch([rollout], gamma=0.99, gae_lambda=0.95, standardise=False)
            outputs = module.forward_train(batch)
            distribution = module.network.distribution
            logp, _ = distribution.logp_and_entropy(outputs[Columns.ACTION_DIST_INPUTS], batch[Columns.ACTIONS])
            kept = batch.get(Columns.LOSS_MASK, torch.ones_like(logp, dtype=torch.bool))
            assert int(kept.sum()) == rollout.num_steps
            torch.testing.assert_close(logp[kept], batch[Columns.ACTION_LOGP][kept], atol=1e-5, rtol=0)
            values = batch[Columns.VALUE_TARGETS] - batch[Columns.ADVANTAGES]  # what the rollout's critic said
            torch.testing.assert_close(outputs[Columns.EMBEDDINGS][kept], values[kept], atol=1e-5, rtol=1e-5)
    finally:
        built.stop()


def test_whole_episodes_are_whole() -> None:
    experiment = replace(get_experiment("cartpole-ppo"), algorithm=Reinforce())
    built = algorithm_config(experiment, "ann", seed=0, num_workers=0).build_algo()
    try:
        rollout = built.env_runner.sample()
        metrics = built.env_runner.get_metrics()
    finally:
        built.stop()
    assert rollout.starts[0].all()
    ended = (rollout.terminated | rollout.truncated) & rollout.valid
    assert (ended.sum(axis=0) == 1).all(), "exactly one episode of every environment"
    for n in range(rollout.valid.shape[1]):
        length = int(rollout.valid[:, n].sum())
        assert rollout.valid[:length, n].all()
        assert ended[length - 1, n]
    assert metrics["num_episodes"].peek() == rollout.valid.shape[1]

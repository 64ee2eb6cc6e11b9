"""A run that normalises observations: moments of everything seen, exact replay, checkpoints."""

import numpy as np
import pytest
import torch

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.experiment import PPO, AnnPolicy, Environment, Experiment, SpikingPolicy, Stopping

EXPERIMENT = Experiment(
    id="normalised",
    summary="",
    environment=Environment(id="MountainCar-v0", num_envs=4),
    spiking=SpikingPolicy(hidden_sizes=(8,), normalise_observations=True),
    ann=AnnPolicy(hidden_sizes=(8,), normalise_observations=True),
    algorithm=PPO(train_batch_size=64, minibatch_size=32, num_epochs=1),
    stopping=Stopping(env_steps=1000),
)


def normaliser_of(algorithm):
    return algorithm.learner_group._learner.module["default_policy"].unwrapped().network.normaliser


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("num_workers", [0, 2])
def test_runners_get_the_moments_of_all_observations_and_a_checkpoint_keeps_them(num_workers, tmp_path):
    algorithm = algorithm_config(EXPERIMENT, "ann", seed=0, num_workers=num_workers).build_algo()
    steps = [algorithm.train()["num_env_steps_sampled_lifetime"] for _ in range(2)][-1]
    learned = normaliser_of(algorithm)
    assert float(learned.count) == steps
    assert float(learned.variance[0]) < 0.1  # positions lie between -0.6 and -0.4
    sent = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: runner.module.network.normaliser.mean.numpy(), local_env_runner=num_workers == 0
    )
    for mean in sent:
        np.testing.assert_allclose(mean, learned.mean.numpy())
    algorithm.save_to_path(tmp_path / "checkpoint")
    expected = {name: value.clone() for name, value in learned.named_buffers()}
    algorithm.stop()
    again = algorithm_config(EXPERIMENT, "ann", seed=0, num_workers=num_workers).build_algo()
    again.restore_from_path(tmp_path / "checkpoint")
    for name, value in normaliser_of(again).named_buffers():
        torch.testing.assert_close(value, expected[name])
    again.stop()

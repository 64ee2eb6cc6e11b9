"""A run with weights calibrated once and currents normalised by running moments: alike in runners and learners."""

import numpy as np
import pytest
import torch

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.experiment import PPO, AnnPolicy, Environment, Experiment, SpikingPolicy, Stopping

EXPERIMENT = Experiment(
    id="calibrated",
    summary="",
    environment=Environment(id="CartPole-v1", num_envs=4),
    spiking=SpikingPolicy(
        hidden_sizes=(64, 64), normalise_observations=True, norm="running", carry_state=True, firing_rate=0.15,
        max_seq_len=16,
    ),
    ann=AnnPolicy(hidden_sizes=(8,)),
    algorithm=PPO(train_batch_size=256, minibatch_size=128, num_epochs=1, lr=1e-5),
    stopping=Stopping(env_steps=5000),
)  # fmt: skip


def state_of(network):
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(("num_workers", "num_learners"), [(0, 0), (2, 2)])
def test_the_first_row_fires_as_wanted_everywhere_and_only_the_first_is_scaled(num_workers, num_learners, tmp_path):
    def made():
        scale = {"num_workers": num_workers, "num_learners": num_learners}
        return algorithm_config(EXPERIMENT, "spiking", seed=0, **scale).build_algo()

    algorithm = made()
    calls = []
    calibrate = algorithm._calibrate
    algorithm._calibrate = lambda: (calls.append(algorithm._steps()), calibrate())
    result = algorithm.train()
    assert 450 < result["num_env_steps_sampled_lifetime"] <= 512, "two fragments less the resets: the first one counts"
    columns, (told,) = algorithm.activity.take()
    assert list(columns) == ["firing_rate_0", "firing_rate_1"]
    assert list(columns.values()) == pytest.approx([0.15, 0.15], abs=0.08)
    assert told.startswith("initial weights scaled for a firing rate of 15.0 % of each layer: by actor ")
    assert "; critic " in told
    learners = algorithm.learner_group.foreach_learner(
        lambda learner: state_of(learner.module["default_policy"].unwrapped().network)
    )
    learners = [found.get() for found in learners]
    runners = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: state_of(runner.module.network), local_env_runner=num_workers == 0
    )
    assert len(learners) == max(1, num_learners)
    assert len(runners) == max(1, num_workers)
    for state in (*learners[1:], *runners):
        for name, value in learners[0].items():
            np.testing.assert_array_equal(state[name].numpy(), value.numpy(), err_msg=name)
    assert int(learners[0]["bodies.0.norms.0.count"]) == 2, "when it was scaled, and after the update"
    assert float(learners[0]["normaliser.count"]) == result["num_env_steps_sampled_lifetime"]
    algorithm.train()
    columns, notices = algorithm.activity.take()
    assert notices == ()
    assert list(columns.values()) == pytest.approx([0.15, 0.15], abs=0.08)
    algorithm.save_to_path(tmp_path / "checkpoint")
    algorithm.stop()
    again = made()
    again.restore_from_path(tmp_path / "checkpoint")
    before = again.get_module().network.bodies[0].norms[0].count.item()
    again.train()
    assert again.activity.take()[1] == ()
    assert again.get_module().network.bodies[0].norms[0].count.item() == before + 1
    again.stop()


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_replay_of_normalised_currents_is_exact():
    """The learner computes the log-probabilities and values of the rollout, under the moments that it was played by."""
    from synrl_ray.algorithms.on_policy.train_batch import train_batch

    algorithm = algorithm_config(EXPERIMENT, "spiking", seed=1, num_workers=0).build_algo()
    algorithm.train()
    rollouts = algorithm._sample()
    batch = train_batch(rollouts, gamma=0.99, gae_lambda=0.9, standardise=False)
    module = algorithm.learner_group._learner.module["default_policy"].unwrapped()
    with torch.no_grad():
        outputs = module.forward_train(batch)
    mask = batch["loss_mask"]
    torch.testing.assert_close(
        outputs["action_dist_inputs"][mask], batch["action_dist_inputs"][mask], rtol=1e-6, atol=1e-5
    )
    algorithm.stop()

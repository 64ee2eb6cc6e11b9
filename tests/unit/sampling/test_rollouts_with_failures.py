"""The env runner without Ray, on an environment that fails at known steps."""

import numpy as np
import pytest
import torch
from failing_env import ENV_ID, Failing

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.algorithms.on_policy.train_batch import train_batch
from synrl_ray.errors import UserError
from synrl_ray.experiment import A2C, AnnPolicy, Environment, Experiment, Reinforce, SpikingPolicy, Stopping
from synrl_ray.sampling.batched import BatchedEnvRunner
from synrl_ray.sampling.rollout import advantages

FRAGMENT = 8


def runner_of(algorithm=None, num_envs=2, share=1.0, **kwargs):
    Failing.made = 0  # the runner's environments are sick, those that take their places are not
    kwargs = {"sick": num_envs, **kwargs}
    kwargs["faults"] = {str(step): fault for step, fault in kwargs.get("faults", {}).items()}
    experiment = Experiment(
        id="failing",
        summary="failing",
        environment=Environment(id=ENV_ID, kwargs=kwargs, num_envs=num_envs, max_failure_share=share),
        spiking=SpikingPolicy(hidden_sizes=(8,), carry_state=True, steps_per_observation=2, max_seq_len=4),
        ann=AnnPolicy(hidden_sizes=(8,)),
        algorithm=algorithm or A2C(num_steps=FRAGMENT),
        stopping=Stopping(env_steps=1000),
    )
    return BatchedEnvRunner(config=algorithm_config(experiment, "spiking", seed=1, num_workers=0))


@pytest.fixture(params=["raise", "observation", "reward"])
def fault(request):
    return request.param


def test_the_failing_step_is_void_and_the_episode_ends_before_it(fault):
    runner = runner_of(faults={4: fault})  # both environments, at their fourth step
    rollout = runner.sample()
    assert rollout.valid[:, 0].tolist() == [True, True, True, False, True, True, True, True]
    assert rollout.truncated[:, 0].tolist() == [False, False, True, False, False, False, False, False]
    assert not rollout.terminated.any()
    assert rollout.starts[:, 0].tolist() == [True, False, False, False, True, False, False, False]
    assert rollout.observations[:, 0, 0].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert np.isfinite(rollout.observations).all()
    assert np.isfinite(rollout.rewards).all()
    assert rollout.num_steps == 14
    assert runner.failures.take()[0] == 2
    metrics = runner.get_metrics()
    assert metrics["num_env_steps_sampled"].peek() == rollout.num_steps
    assert metrics["num_episodes"].peek() == 0, "the dropped episode is no episode"


def test_advantages_bootstrap_from_the_last_good_observation(fault):
    rollout = runner_of(faults={4: fault}).sample()
    gamma = 0.9
    result = advantages(rollout, gamma, 1.0)
    value, rewards = rollout.values[:, 0], rollout.rewards[:, 0]
    expected = rewards[2] + gamma * value[3] - value[2]
    assert result[2, 0] == pytest.approx(expected, abs=1e-5)
    assert result[3, 0] == 0
    assert result[1, 0] == pytest.approx(rewards[1] + gamma * (rewards[2] + gamma * value[3]) - value[1], abs=1e-5)


def test_the_state_is_zeroed_for_the_new_episode_and_the_learner_replays_it(fault):
    runner = runner_of(faults={4: fault})
    rollout = runner.sample()
    batch = train_batch([rollout], gamma=0.9, gae_lambda=1.0, standardise=False)
    outputs = runner.module.forward_train(batch)
    kept = batch["loss_mask"]
    torch.testing.assert_close(
        outputs["action_dist_inputs"][kept], batch["action_dist_inputs"][kept], atol=1e-5, rtol=0
    )
    assert np.abs(rollout.states[1]).max() > 0


def test_a_failure_at_a_fragments_first_step_leaves_the_rest_alone(fault):
    runner = runner_of(faults={FRAGMENT + 1: fault})
    first, second = runner.sample(), runner.sample()
    assert first.valid.all()
    assert not first.truncated.any()
    assert not second.valid[0].any()
    assert second.starts[1].all()
    assert second.valid[1:].all()
    assert not second.truncated.any()


def test_returns_and_lengths_start_again():
    runner = runner_of(faults={4: "raise"}, length=6)
    for _ in range(2):
        runner.sample()
    metrics = runner.get_metrics()
    assert metrics["num_episodes"].peek() == 2
    assert metrics["episode_len_mean"].peek() == 6
    assert metrics["episode_return_mean"].peek() == 6


def test_of_whole_episodes_the_failed_one_is_cut(fault):
    runner = runner_of(Reinforce(), faults={4: fault}, length=6)
    rollout = runner.sample()
    assert rollout.valid.sum(axis=0).tolist() == [3, 3]
    assert rollout.truncated[2].all()
    assert runner.sample().valid.sum(axis=0).tolist() == [6, 6]


@pytest.mark.parametrize("algorithm", [A2C(num_steps=FRAGMENT), Reinforce()], ids=["fragments", "episodes"])
def test_an_environment_that_always_fails_stops_at_once_with_the_cause(algorithm, fault):
    runner = runner_of(algorithm, always=fault, share=0.01)
    with pytest.raises(UserError, match=f"^{ENV_ID} failed \\d times in 0 steps.* last cause: "):
        runner.sample()


def test_failures_count_against_the_steps_of_the_whole_run():
    runner = runner_of(faults={2: "raise"}, sick=100, num_envs=4, share=0.1)
    runner.reseed(1000)
    assert runner.sample().num_steps == 16
    assert runner.failures.take()[0] == 16
    runner.reseed(0)
    with pytest.raises(UserError, match=f"^{ENV_ID} failed 4 times in 4 steps, more than a share of 0.1"):
        runner.sample()

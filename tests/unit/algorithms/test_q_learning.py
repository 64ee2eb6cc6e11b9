from dataclasses import replace

import numpy as np
import pytest

from synrl_ray.algorithms.local import local_config
from synrl_ray.algorithms.plastic import PlasticConfig
from synrl_ray.experiment import QLearning, RStdp, StdpQ
from synrl_ray.registry import get_experiment
from synrl_ray.sampling.plastic import PlasticEnvRunner
from synrl_ray.sampling.tabular import TabularEnvRunner

EXPERIMENT = get_experiment("taxi-q-learning")


def runner_of(env_id="CliffWalking-v1", seed=0, **settings):
    config = PlasticConfig().environment(env_id).rule(QLearning(**settings)).debugging(seed=seed)
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=4)
    config.training(train_batch_size_per_learner=4000)
    runner = config.env_runner_cls(config=config)
    assert isinstance(runner, TabularEnvRunner)
    runner.module.set_state(runner.module.get_state())  # as weights arrive
    return runner


def test_a_fragment_hands_over_exactly_what_has_changed():
    runner = runner_of()
    agent, before = runner.module.agent, runner.module.agent.q.clone()
    fragment = runner.sample()
    assert fragment.num_steps == 4000
    np.testing.assert_array_equal(fragment.delta["agent.q"].numpy(), (agent.q - before).numpy())
    assert fragment.delta["agent.q"].abs().sum() > 0
    again = runner.sample()
    np.testing.assert_allclose((before + fragment.delta["agent.q"] + again.delta["agent.q"]).numpy(), agent.q.numpy())


def test_runs_are_their_seeds():
    first, same, other = (runner_of(seed=seed).sample().delta["agent.q"].numpy() for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_compiled_and_slow_runners_learn_values_of_the_same_size():
    """Random numbers come in another order, and the slow one spends steps on resets: equal in law only."""
    fast, slow = runner_of(epsilon_end=0.5), runner_of(epsilon_end=0.5)
    for _ in range(3):
        fast.sample()
        PlasticEnvRunner.sample(slow)
    tables = [runner.module.agent.q.numpy() for runner in (fast, slow)]
    assert abs(tables[0].mean() - tables[1].mean()) < 0.1 * abs(tables[0].mean())


def test_metrics_are_those_of_the_newest_episodes():
    runner = runner_of()
    runner.sample()
    metrics = runner.get_metrics()
    assert {"num_episodes", "episode_return_mean", "episode_len_mean", "plasticity", "seconds"} <= set(metrics)
    assert set(metrics["plasticity"]) == {"td_error", "skipped_rewards", "epsilon", "lr", "q_mean"}


def test_schedules_follow_the_steps_of_the_run():
    runner = runner_of(epsilon_start=1.0, epsilon_end=0.0, epsilon_steps=10_000)
    runner.reseed(4000)  # a resumed run
    runner.sample()
    assert runner.module.agent.diagnostics()["epsilon"] == pytest.approx(0.2)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_environments_are_divided_and_iterations_are_whole_fragments(num_workers):
    experiment = replace(EXPERIMENT, steps_per_iteration=1001)
    config = local_config(experiment, seed=3, num_workers=num_workers, has_table=True)
    assert config.num_envs_per_env_runner == 16 // max(1, num_workers)
    assert config.train_batch_size_per_learner == 1008  # 63 steps of 16 environments
    assert (config.seed, config.merge) == (3, "mean")


@pytest.mark.parametrize(
    ("settings", "has_table", "expected"),
    [
        (EXPERIMENT.algorithm, True, TabularEnvRunner),
        (StdpQ(), True, TabularEnvRunner),
        (StdpQ(), False, PlasticEnvRunner),
        (RStdp(), True, TabularEnvRunner),
    ],
)
def test_tables_are_stepped_at_once(settings, has_table, expected):
    experiment = replace(EXPERIMENT, algorithm=settings, search_space={})
    config = local_config(experiment, seed=0, num_workers=0, has_table=has_table)
    assert config.env_runner_cls is expected

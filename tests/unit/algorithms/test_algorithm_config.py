from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.utils.schedules.scheduler import Scheduler

from synrl_ray.algorithms.build import algorithm_config, check_algorithm
from synrl_ray.algorithms.on_policy.algorithm import Estimate, OnPolicyAlgorithm
from synrl_ray.algorithms.on_policy.learner import OnPolicyLearner
from synrl_ray.algorithms.table import CONFIGS
from synrl_ray.errors import UserError
from synrl_ray.experiment import A2C, DQN, PPO, AnnPolicy, Environment, Experiment, Reinforce, SpikingPolicy, Stopping
from synrl_ray.kinds.control.checking import check
from synrl_ray.kinds.control.kind import with_end
from synrl_ray.rl_modules import ActorCriticModule
from synrl_ray.running.spec import RunSpec
from synrl_ray.sampling.batched import BatchedEnvRunner
from synrl_ray.settings.algorithms import ControlAlgorithm
from synrl_ray.settings.preprocessing import AtariFrames

SHARED = {"lr": 0.0123, "gamma": 0.91, "grad_clip": 0.7}
LOSS = {"entropy_coeff": 0.03, "vf_loss_coeff": 0.4}
PASSES = {"num_epochs": 3, "minibatch_size": 40}
ALGORITHMS = [PPO(), A2C(), Reinforce()]
SPACES = (gym.spaces.Box(-1, 1, (4,)), gym.spaces.Discrete(2))


def experiment_of(algorithm, *, num_envs=8, carry_state=False, max_seq_len=32):
    return Experiment(
        id="test",
        summary="test",
        environment=Environment(id="CartPole-v1", kwargs={"sutton_barto_reward": True}, num_envs=num_envs),
        spiking=SpikingPolicy(hidden_sizes=(5,), carry_state=carry_state, max_seq_len=max_seq_len),
        ann=AnnPolicy(hidden_sizes=(7,)),
        algorithm=algorithm,
        stopping=Stopping(env_steps=10_000),
    )


def config_of(algorithm, *, policy="spiking", num_workers=0, seed=5, **settings):
    return algorithm_config(experiment_of(algorithm, **settings), policy, seed=seed, num_workers=num_workers)


def test_reinforce_plays_whole_games_of_atari():
    environment = Environment(id="ALE/Breakout-v5", preprocessing=AtariFrames())
    spaces = (gym.spaces.Box(0, 255, (1, 84, 84), np.uint8), gym.spaces.Discrete(4))
    config = config_of(Reinforce())
    with pytest.raises(UserError, match="learn from first lives alone — set life_loss_ends_episode=false"):
        config.check(environment, AnnPolicy(), spaces)
    config.check(replace(environment, preprocessing=AtariFrames(life_loss_ends_episode=False)), AnnPolicy(), spaces)


@pytest.mark.parametrize(("learners", "refused"), [(0, False), (1, False), (2, False), (4, True)])
def test_no_learner_gets_a_minibatch_without_a_sequence(learners, refused):
    """Eight sequences in four minibatches: two for each, which four learners cannot share."""
    mask = torch.ones(8, 16, dtype=torch.bool)
    batch = {"action_logp": torch.zeros(8, 16), "loss_mask": mask, "obs": torch.zeros(8, 16, 4)}
    updates = []
    group = SimpleNamespace(update=lambda **given: updates.append(given) or [])
    config = SimpleNamespace(num_learners=learners, minibatch_size=32, num_epochs=1)
    algorithm = SimpleNamespace(config=config, learner_group=group, _steps=lambda: 0)
    if refused:
        with pytest.raises(UserError, match="8 sequences in 4 minibatches cannot be shared by 4 learners"):
            OnPolicyAlgorithm._learn(algorithm, batch)
    else:
        OnPolicyAlgorithm._learn(algorithm, batch)
        assert updates[0]["num_total_minibatches"] == 4


def test_table_has_every_algorithm_that_an_experiment_can_have():
    """A new one is a class in the settings, its folder, and a line of the table and of the union."""
    assert set(CONFIGS) == set(settings_classes(ControlAlgorithm))


def settings_classes(annotated):
    return get_args(get_args(annotated)[0])


@pytest.mark.parametrize(
    ("algorithm", "of_rllib"),
    [
        (PPO(**SHARED, **LOSS, **PASSES, lr_decay=False, gae_lambda=0.83, clip_param=0.13), {**SHARED, **PASSES}),
        (A2C(**SHARED, **LOSS, lr_decay=False, gae_lambda=0.83), SHARED),
        (Reinforce(**SHARED, **LOSS, lr_decay=False), SHARED),
    ],
    ids=["ppo", "a2c", "reinforce"],
)
def test_every_setting_arrives(algorithm, of_rllib):
    config = config_of(algorithm)
    assert config.settings == algorithm
    assert config.coefficients == {"value_coeff": 0.4, "entropy_coeff": 0.03}
    assert {name: getattr(config, name) for name in of_rllib} == of_rllib


def test_algorithms_differ_in_what_is_theirs():
    ppo, a2c, reinforce = (config_of(algorithm) for algorithm in ALGORITHMS)
    assert [c.estimate.standardise for c in (ppo, a2c, reinforce)] == [True, False, True]
    assert [c.batch_mode for c in (ppo, a2c, reinforce)] == ["truncate_episodes"] * 2 + ["complete_episodes"]
    assert {c.learner_class for c in (ppo, a2c, reinforce)} == {OnPolicyLearner}
    assert [c.clip_param for c in (ppo, a2c, reinforce)] == [0.2, None, None]
    assert [(c.num_epochs, c.minibatch_size) for c in (a2c, reinforce)] == [(1, None)] * 2  # one step on all of it
    assert (config_of(A2C(gae_lambda=0.7)).estimate, config_of(PPO(gae_lambda=0.7)).estimate.gae_lambda) == (
        Estimate(gae_lambda=0.7),
        0.7,
    )
    assert reinforce.estimate.gae_lambda == 1.0  # whole returns
    assert {c.env_runner_cls for c in (ppo, a2c, reinforce)} == {BatchedEnvRunner}


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, DQN()], ids=lambda algorithm: algorithm.name)
def test_rllib_builds_the_algorithm_with_its_own_configuration_and_learner(algorithm):
    """RLlib turns a configuration that is none of the algorithm's default kind into one, with that one's learner."""
    config = config_of(algorithm)
    assert isinstance(config, type(config.algo_class.get_default_config()))


def test_without_baseline_the_critic_does_not_learn():
    with_baseline, without = config_of(Reinforce(vf_loss_coeff=0.3)), config_of(Reinforce(use_baseline=False))
    assert (with_baseline.estimate.use_baseline, with_baseline.coefficients["value_coeff"]) == (True, 0.3)
    assert (without.estimate.use_baseline, without.coefficients["value_coeff"]) == (False, 0.0)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.name)
@pytest.mark.parametrize("policy", ["spiking", "ann"])
def test_environment_policy_and_seed_arrive(algorithm, policy):
    config = config_of(algorithm, policy=policy, num_envs=6, seed=9, num_workers=2)
    assert (config.env, config.env_config) == ("CartPole-v1", {"sutton_barto_reward": True})
    assert (config.num_env_runners, config.num_envs_per_env_runner, config.seed) == (2, 3, 9)
    spec = config.rl_module_spec
    assert spec.module_class is ActorCriticModule
    assert spec.model_config["kind"] == policy
    assert spec.model_config["hidden_sizes"] == ((5,) if policy == "spiking" else (7,))
    assert config.restart_failed_env_runners  # Faults tells errors from deaths


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.name)
def test_learning_rate_falls_linearly_to_zero_at_the_last_step(algorithm):
    schedule = Scheduler(fixed_value_or_schedule=config_of(replace(algorithm, lr=0.1)).lr, framework="torch")
    for env_steps, expected in [(0, 0.1), (2_500, 0.075), (5_000, 0.05), (10_000, 0.0), (12_000, 0.0)]:
        assert float(schedule.update(env_steps)) == pytest.approx(expected, abs=1e-7)


def test_a_run_with_another_end_keeps_its_schedules():
    planned = experiment_of(PPO(lr=0.1))
    for end in (4_000, 40_000):
        moved = with_end(with_end(planned, 7_000), end)
        assert (moved.stopping.env_steps, moved.stopping.schedule_steps) == (end, 10_000)
        config = algorithm_config(moved, "ann", seed=0, num_workers=0)
        schedule = Scheduler(fixed_value_or_schedule=config.lr, framework="torch")
        assert float(schedule.update(5_000)) == pytest.approx(0.05)
    assert with_end(planned, 10_000) == planned


@pytest.mark.parametrize(
    ("train_batch_size", "num_envs", "num_workers", "fragment"),
    [(96, 8, 0, 12), (97, 8, 0, 13), (1, 8, 0, 1), (96, 8, 2, 12), (100, 9, 3, 12)],
)
def test_ppo_batch_is_rounded_up_to_whole_fragments(train_batch_size, num_envs, num_workers, fragment):
    config = config_of(PPO(train_batch_size=train_batch_size), num_envs=num_envs, num_workers=num_workers)
    num_runners = max(1, num_workers)
    assert config.total_train_batch_size == fragment * num_envs
    assert train_batch_size <= config.total_train_batch_size < train_batch_size + num_envs
    for index in range(1, num_runners + 1):
        assert config.get_rollout_fragment_length(index) == fragment


@pytest.mark.parametrize(
    ("train_batch_size", "carry_state", "fragment"),
    [(80, True, 10), (81, True, 20), (161, True, 30), (40, True, 5), (81, False, 11)],
)
def test_ppo_fragments_of_a_carried_state_are_whole_sequences(train_batch_size, carry_state, fragment):
    config = config_of(PPO(train_batch_size=train_batch_size), carry_state=carry_state, max_seq_len=10)
    assert config.get_rollout_fragment_length() == fragment
    ann = config_of(PPO(train_batch_size=train_batch_size), policy="ann", carry_state=carry_state, max_seq_len=10)
    assert ann.get_rollout_fragment_length() == -(-train_batch_size // 8)


def test_a2c_fragment_is_its_number_of_steps():
    for num_workers in (0, 1, 4):
        assert config_of(A2C(num_steps=5), num_workers=num_workers).get_rollout_fragment_length(1) == 5


HYPERPARAMETERS = (
    "lr", "gamma", "grad_clip", "settings", "estimate", "coefficients", "num_epochs", "minibatch_size", "batch_mode",
    "total_train_batch_size",
)  # fmt: skip


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.name)
def test_workers_change_no_hyperparameter(algorithm):
    alone, many = (config_of(algorithm, num_workers=num_workers) for num_workers in (0, 4))
    for name in HYPERPARAMETERS:
        assert getattr(alone, name) == getattr(many, name), name
    assert alone.rl_module_spec.model_config == many.rl_module_spec.model_config


def test_workers_divide_ppos_batch_among_them():
    alone, many = (config_of(PPO(train_batch_size=2048), num_workers=num_workers) for num_workers in (0, 4))
    assert alone.total_train_batch_size == many.total_train_batch_size == 2048
    assert alone.get_rollout_fragment_length() == many.get_rollout_fragment_length(1)
    assert alone.num_envs_per_env_runner == 4 * many.num_envs_per_env_runner


@pytest.mark.parametrize("algorithm", [A2C(num_steps=8), Reinforce()], ids=lambda algorithm: algorithm.name)
def test_workers_divide_the_other_algorithms_batch_among_them(algorithm):
    alone, many = (config_of(algorithm, num_workers=num_workers) for num_workers in (0, 4))
    assert alone.total_train_batch_size == many.total_train_batch_size


def test_a2c_fragment_that_does_not_divide_into_sequences_is_refused():
    experiment = experiment_of(A2C(num_steps=6), carry_state=True, max_seq_len=4)
    with pytest.raises(UserError, match="num_steps 6 is no multiple of max_seq_len 4"):
        check_algorithm(experiment, "spiking", SPACES, 0, 0)
    check_algorithm(experiment, "ann", SPACES, 0, 0)  # it carries no state


def test_ppos_minibatch_that_is_larger_than_its_batch_is_refused():
    experiment = experiment_of(PPO(train_batch_size=64, minibatch_size=65))
    with pytest.raises(UserError, match="minibatch_size 65 is larger than train_batch_size 64"):
        check_algorithm(experiment, "ann", SPACES, 0, 0)


def test_a_batch_that_learners_cannot_share_is_refused():
    with pytest.raises(UserError, match="a batch of 40 steps cannot be shared by 7 learners"):
        check_algorithm(experiment_of(A2C(num_steps=5)), "ann", SPACES, 0, 7)


def test_environments_that_cannot_be_shared_evenly_are_refused():
    experiment = experiment_of(PPO(), num_envs=8)
    with pytest.raises(UserError, match="8 environments cannot be shared by 3 workers"):
        check(RunSpec(experiment=experiment, policy="spiking", seed=0, num_workers=3))

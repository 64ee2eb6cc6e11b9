"""Env runners whose module learns while it acts, step by step and by whole fragments, without Ray."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from synrl_ray.algorithms.plastic import PlasticConfig
from synrl_ray.policies.local.agent import LocalAgent
from synrl_ray.rl_modules.local import LocalModule
from synrl_ray.sampling.metrics import log_episode, log_episodes
from synrl_ray.sampling.tabular import TabularEnvRunner
from synrl_ray.settings.q_learning import QLearning

ENV_ID = "CountsTo3-v0"


class CountsTo3(gym.Env):
    """Three steps an episode; the k-th gives the reward k."""

    observation_space, action_space = Box(0, 9, (1,), np.float32), Discrete(2)

    def __init__(self):
        self.metadata = {"render_modes": []}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.full(1, self.count, np.float32), float(self.count), self.count == 3, False, {}


gym.register(ENV_ID, entry_point=CountsTo3)


class Counter(LocalAgent):
    """Notes what it is told; its weight grows by each reward that is a transition's."""

    plastic_names = ("weight",)

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.zeros(1))
        self.seen, self.told = [], []

    def act(self, observations, starts, steps, generator):
        self.seen.append((observations[:, 0].tolist(), starts.tolist(), steps))
        return np.ones(len(observations), np.int64)

    def learn(self, rewards, terminated, truncated, valid, observations):
        self.told.append((rewards.tolist(), terminated.tolist(), valid.tolist(), observations[:, 0].tolist()))
        self.weight += float(rewards[valid].sum())

    def greedy(self, observations):
        return np.ones(len(observations), np.int64)

    def diagnostics(self):
        return {"growth": float(self.weight)}


def runner_of(num_envs=2, num_steps=5, workers=0):
    config = PlasticConfig().environment(ENV_ID).debugging(seed=0)
    make = {"make": lambda observation_space, action_space: Counter()}
    config.rl_module(rl_module_spec=RLModuleSpec(module_class=LocalModule, model_config=make))
    config.env_runners(num_env_runners=workers, num_envs_per_env_runner=num_envs)
    config.training(train_batch_size_per_learner=num_envs * num_steps * max(1, workers))
    runner = config.env_runner_cls(config=config, worker_index=min(1, workers))
    runner.module.set_state(runner.module.get_state())  # as weights arrive
    return runner


def test_the_agent_sees_every_step_and_the_reset_is_told_as_none():
    runner = runner_of(num_envs=1)
    fragment = runner.sample()
    agent = runner.module.agent
    steps_so_far = [0, 1, 2, 3, 3]
    observations, starts = [0.0, 1.0, 2.0, 3.0, 0.0], [True, False, False, False, True]
    assert agent.seen == [([o], [s], n) for o, s, n in zip(observations, starts, steps_so_far, strict=True)]
    assert [reward for (reward,), *_ in agent.told] == [1, 2, 3, 0, 1]
    assert [ended for _, (ended,), *_ in agent.told] == [False, False, True, False, False]
    assert [valid for *_, (valid,), _ in agent.told] == [True, True, True, False, True]
    assert [following for *_, (following,) in agent.told] == [1, 2, 3, 0, 1]
    assert fragment.num_steps == 4
    assert fragment.delta["agent.weight"].tolist() == [1 + 2 + 3 + 1]


def test_a_fragment_hands_over_what_has_changed_since_the_last_one_and_reports():
    runner = runner_of()
    first, second = runner.sample(), runner.sample()
    assert (first.num_steps, second.num_steps) == (8, 8)
    assert first.delta["agent.weight"].tolist() == [2 * (1 + 2 + 3 + 1)]
    assert second.delta["agent.weight"].tolist() == [2 * (2 + 3 + 1 + 2)]
    metrics = runner.get_metrics()
    assert metrics["num_env_steps_sampled"].peek() == 16
    assert metrics["num_episodes"].peek() == 4
    assert (metrics["episode_len_mean"].peek(), metrics["episode_return_mean"].peek()) == (3, 6)
    assert metrics["plasticity"]["growth"].peek() == 2 * (7 + 8)
    assert 0 < metrics["seconds"]["environment"].peek() < 60
    assert 0 < metrics["seconds"]["policy"].peek() < 60
    assert runner._state.shape == (2, 0), "the agent keeps its own state"


def test_schedules_see_the_steps_of_all_runners():
    runner = runner_of(num_envs=2, num_steps=2, workers=3)
    runner.sample()
    assert [steps for *_, steps in runner.module.agent.seen] == [0, 2 * 3]


def table_runner(env_id="CliffWalking-v1", steps=400, workers=0, **settings):
    config = PlasticConfig().environment(env_id).rule(QLearning(**settings)).debugging(seed=0)
    config.env_runners(num_env_runners=workers, num_envs_per_env_runner=4)
    config.training(train_batch_size_per_learner=steps * max(1, workers))
    runner = config.env_runner_cls(config=config, worker_index=min(1, workers))
    assert isinstance(runner, TabularEnvRunner)
    runner.module.set_state(runner.module.get_state())
    return runner


def test_whole_fragments_are_counted_timed_and_reported():
    """On the cliff an episode's return is minus its length, unless it falls."""
    runner = table_runner()
    fragment = runner.sample()
    assert fragment.num_steps == 400
    metrics = runner.get_metrics()
    assert metrics["num_env_steps_sampled"].peek() == 400
    assert 0 < metrics["seconds"]["policy"].peek() < 60
    for _ in range(30):
        runner.sample()
    metrics = runner.get_metrics()
    assert metrics["num_episodes"].peek() > 0
    assert metrics["episode_return_mean"].peek() <= -metrics["episode_len_mean"].peek() <= -13


@pytest.mark.parametrize(("workers", "expected"), [(0, 400), (2, 800)])
def test_schedules_of_whole_fragments_follow_the_steps_of_all_runners(workers, expected):
    runner = table_runner(workers=workers, epsilon_start=1.0, epsilon_end=0.0, epsilon_steps=1000)
    runner.sample()
    assert runner.module.agent.diagnostics()["epsilon"] == pytest.approx(1 - expected / 1000)


class Metrics:
    """What is logged, by name."""

    def __init__(self):
        self.values = {}

    def log_value(self, name, value, **options):
        self.values.setdefault(name, []).append((value, options))


def test_an_episode_is_logged_with_the_window_of_its_runner():
    metrics = Metrics()
    log_episode(metrics, 3, 7, 5)
    assert metrics.values == {
        "episode_len_mean": [(3.0, {"window": 5})],
        "episode_return_mean": [(7.0, {"window": 5})],
        "episode_return_min": [(7.0, {"reduce": "min", "window": 5})],
        "episode_return_max": [(7.0, {"reduce": "max", "window": 5})],
        "num_episodes": [(1, {"reduce": "sum"})],
    }


def test_of_many_episodes_the_newest_are_summed_up_and_all_are_counted():
    metrics = Metrics()
    log_episodes(metrics, np.array([1.0, 2.0, 4.0, 9.0]), np.array([-50.0, 3.0, 6.0, 12.0]), 3)
    assert {name: value for name, ((value, _),) in metrics.values.items()} == {
        "episode_len_mean": 5.0,
        "episode_return_mean": 7.0,
        "episode_return_min": 3.0,
        "episode_return_max": 12.0,
        "num_episodes": 4,
    }
    assert metrics.values["episode_return_min"][0][1] == {"reduce": "min", "window": 1}
    assert metrics.values["episode_return_max"][0][1] == {"reduce": "max", "window": 1}
    empty = Metrics()
    log_episodes(empty, np.zeros(0), np.zeros(0), 3)
    assert empty.values == {}

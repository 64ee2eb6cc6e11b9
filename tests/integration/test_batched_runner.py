"""The batched env runner and its learner on a tiny environment of images whose pixels count the episode's steps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.errors import UserError
from synrl_ray.experiment import A2C, AnnPolicy, Environment, Experiment, Reinforce, SpikingPolicy, Stopping
from synrl_ray.sampling.rollout import Rollout

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

ENV_ID = "test_batched_runner:TinyImage-v0"  # workers import this module by its name
ENVS = 3
CARRIED = SpikingPolicy(hidden_sizes=(8,), carry_state=True, steps_per_observation=2, max_seq_len=4)
FROM_REST = replace(CARRIED, carry_state=False)


class TinyImage(gym.Env[np.ndarray, np.int64]):
    """Episodes of 2 to 6 steps that end both ways; the first pixel counts the steps, the second is drawn at reset."""

    observation_space = gym.spaces.Box(0, 255, (2, 3, 1), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, fault: str | None = None, fault_after: int = 0) -> None:
        self.metadata = {"render_modes": []}
        self.fault, self.left = fault, fault_after

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.count, self.length = 0, int(self.np_random.integers(2, 7))
        self.mark = int(self.np_random.integers(256))
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.count, self.left = self.count + 1, self.left - 1
        reward = float(self.np_random.integers(10)) + int(action)
        if self.fault and self.left < 0:
            if self.fault == "raise":
                raise RuntimeError("the camera broke")
            reward = float("nan")
        ended = self.count == self.length
        return self._observation(), reward, ended and self.mark % 2 == 0, ended and self.mark % 2 == 1, {}

    def _observation(self) -> np.ndarray:
        return np.array([self.count, self.mark, 0, 0, 0, 0], np.uint8).reshape(2, 3, 1)


gym.register("TinyImage-v0", entry_point=TinyImage)


@contextmanager
def built(
    algorithm: A2C | Reinforce | None = None,
    policy: SpikingPolicy | AnnPolicy = FROM_REST,
    *,
    seed: int = 1,
    num_workers: int = 0,
    num_envs: int = ENVS,
    max_failure_share: float = 0.01,
    **kwargs: Any,
) -> Iterator[Algorithm]:
    experiment = Experiment(
        id="tiny",
        summary="tiny",
        environment=Environment(id=ENV_ID, kwargs=kwargs, num_envs=num_envs, max_failure_share=max_failure_share),
        spiking=policy if isinstance(policy, SpikingPolicy) else FROM_REST,
        ann=policy if isinstance(policy, AnnPolicy) else AnnPolicy(hidden_sizes=(8,)),
        algorithm=algorithm or A2C(num_steps=20),
        stopping=Stopping(env_steps=1000),
    )
    kind = "spiking" if isinstance(policy, SpikingPolicy) else "ann"
    algo = algorithm_config(experiment, kind, seed=seed, num_workers=num_workers).build_algo()
    try:
        yield algo
    finally:
        algo.stop()


def assert_same(left: Rollout, right: Rollout) -> None:
    for name, column in vars(left).items():
        np.testing.assert_array_equal(column, getattr(right, name), err_msg=name)


@pytest.mark.parametrize("policy", [CARRIED, FROM_REST, AnnPolicy()], ids=["carried", "from-rest", "ann"])
def test_rollout_has_every_step_of_every_environment_in_its_own_dtype(policy: SpikingPolicy | AnnPolicy) -> None:
    with built(policy=policy) as algo:
        runner = algo.env_runner
        rollout = runner.sample()
        size = runner.module.network.state_size
    shape = (20, ENVS)
    expected = {
        "observations": ((*shape, 2, 3, 1), np.uint8),
        "actions": (shape, np.int64),
        "inputs": ((*shape, 2), np.float32),
        "logp": (shape, np.float32),
        "values": ((21, ENVS), np.float32),
        "rewards": (shape, np.float32),
        "states": ((5 if policy is CARRIED else 1, ENVS, size), np.float32),
        **dict.fromkeys(("terminated", "truncated", "valid", "starts"), (shape, np.bool_)),
    }
    assert {name: (column.shape, column.dtype) for name, column in vars(rollout).items()} == expected
    assert (size > 0) == (policy is CARRIED)


def test_reset_steps_are_no_transitions_and_are_not_counted() -> None:
    with built() as algo:
        runner = algo.env_runner
        fragments = [runner.sample() for _ in range(3)]
        metrics = runner.get_metrics()
    assert metrics["num_env_steps_sampled"].peek() == sum(f.num_steps for f in fragments) < 3 * 20 * ENVS
    assert metrics["num_env_steps_sampled_lifetime"].peek() == sum(f.num_steps for f in fragments)
    columns = {name: np.concatenate([getattr(f, name) for f in fragments]) for name in vars(fragments[0])}
    ended = columns["terminated"] | columns["truncated"]
    count = columns["observations"][:, :, 0, 0, 0].astype(int)
    np.testing.assert_array_equal(columns["valid"][1:], ~ended[:-1])
    assert columns["valid"][0].all()
    assert columns["terminated"].any()
    assert columns["truncated"].any()
    assert (columns["rewards"][~columns["valid"]] == 0).all()
    assert not ended[~columns["valid"]].any()
    np.testing.assert_array_equal(columns["starts"], count == 0)
    np.testing.assert_array_equal(count[1:][columns["valid"][:-1]], count[:-1][columns["valid"][:-1]] + 1)


@pytest.mark.parametrize("algorithm", [A2C(num_steps=20), Reinforce()], ids=["fragments", "whole-episodes"])
def test_episode_metrics_equal_those_recomputed_from_the_rewards(algorithm: A2C | Reinforce) -> None:
    with built(algorithm) as algo:
        runner = algo.env_runner
        fragments = [runner.sample() for _ in range(3)]
        metrics = runner.get_metrics()
    returns, lengths = [], []
    for n in range(ENVS):
        total, length = 0.0, 0
        for fragment in fragments:
            for t in np.flatnonzero(fragment.valid[:, n]):
                total, length = total + float(fragment.rewards[t, n]), length + 1
                if fragment.terminated[t, n] or fragment.truncated[t, n]:
                    returns.append(total)
                    lengths.append(length)
                    total, length = 0.0, 0
    assert len(returns) >= 9
    assert metrics["num_episodes"].peek() == len(returns)
    assert metrics["episode_len_mean"].peek() == pytest.approx(np.mean(lengths))
    assert metrics["episode_return_mean"].peek() == pytest.approx(np.mean(returns))
    assert metrics["episode_return_min"].peek() == pytest.approx(min(returns))
    assert metrics["episode_return_max"].peek() == pytest.approx(max(returns))


def test_seeds_reproduce_and_differ() -> None:
    rollouts = []
    for seed in (1, 1, 2):
        with built(seed=seed) as algo:
            rollouts.append((algo.env_runner.sample(), algo.env_runner.sample()))
    for first, again in zip(rollouts[0], rollouts[1], strict=True):
        assert_same(first, again)
    assert not np.array_equal(rollouts[0][0].observations, rollouts[2][0].observations)
    assert not np.array_equal(rollouts[0][0].actions, rollouts[0][1].actions)


def test_state_is_zeroed_exactly_where_an_episode_starts() -> None:
    with built(policy=CARRIED) as algo:
        runner = algo.env_runner
        fragments = [runner.sample() for _ in range(2)]
        network = runner.module.network

        def replayed(zeroed: np.ndarray) -> float:
            """The largest difference from the rollout when the state is set to zero at these steps, by hand."""
            difference, state = 0.0, torch.from_numpy(fragments[0].states[0])
            for fragment, zero in zip(fragments, np.split(zeroed, 2), strict=True):
                for t in range(20):
                    if t % 4 == 0:
                        difference = max(difference, float(np.abs(state.numpy() - fragment.states[t // 4]).max()))
                    state = state * torch.from_numpy(~zero[t])[:, None]
                    with torch.no_grad():
                        inputs, values, state = network(torch.from_numpy(fragment.observations[t])[None], state)
                    difference = max(difference, float(np.abs(inputs[0].numpy() - fragment.inputs[t]).max()))
                    difference = max(difference, float(np.abs(values[0].numpy() - fragment.values[t]).max()))
            return difference

    starts = np.concatenate([fragment.starts for fragment in fragments])
    assert starts.sum() > 2 * ENVS
    assert replayed(starts) < 1e-5
    assert replayed(np.zeros_like(starts)) > 1e-2
    assert replayed(np.concatenate([f.starts | ~f.valid for f in fragments])) > 1e-2  # not at the final observation


def test_checkpoint_round_trip_restores_weights_counters_and_randomness() -> None:
    with built(seed=1) as algo, built(seed=1) as other:
        runner, restored = algo.env_runner, other.env_runner
        first = runner.sample()
        with torch.no_grad():
            for parameter in runner.module.parameters():
                parameter.add_(0.1)
        state = runner.get_state()
        runner.sample()
        runner.set_state(state)
        restored.set_state(state)
        for each in (runner, restored):
            each.reseed(first.num_steps)
        assert restored.num_env_steps_sampled_lifetime == first.num_steps
        for name, weight in runner.module.state_dict().items():
            assert torch.equal(weight, restored.module.state_dict()[name]), name
        continued = restored.sample()
        assert_same(runner.sample(), continued)
    assert continued.starts[0].all()
    assert not np.array_equal(continued.observations, first.observations), "not the same episodes again"


def test_new_weights_change_the_policy_and_leave_the_episodes_alone() -> None:
    with built() as algo:
        runner = algo.env_runner
        before = runner.sample()
        weights = {name: np.zeros_like(value) for name, value in runner.get_state()[COMPONENT_RL_MODULE].items()}
        runner.set_state({COMPONENT_RL_MODULE: {DEFAULT_MODULE_ID: weights}})
        after = runner.sample()
    assert (after.inputs == 0).all()
    count = np.concatenate([before.observations, after.observations])[:, :, 0, 0, 0].astype(int)
    np.testing.assert_array_equal(count[20], np.where(before.valid[-1], count[19] + 1, 0))


@pytest.mark.parametrize("policy", [CARRIED, FROM_REST], ids=["carried", "from-rest"])
def test_one_environment_and_one_step_learn_across_resets(policy: SpikingPolicy) -> None:
    with built(A2C(num_steps=1), policy, num_envs=1) as algo:
        for _ in range(10):
            algo.training_step()


FAULTS = {"nan": "the reward is not finite", "raise": r"step\(\) raised RuntimeError: the camera broke"}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_environment_that_always_fails_reaches_the_driver_with_its_cause(fault: str) -> None:
    with built(fault=fault) as algo, pytest.raises(UserError, match=f"last cause: {FAULTS[fault]}"):
        algo.train()


@pytest.mark.parametrize("fault", FAULTS)
def test_failures_are_counted_over_the_run_and_survive_a_checkpoint(fault: str, tmp_path: Path) -> None:
    with built(fault=fault, fault_after=25, max_failure_share=1.0) as algo:
        counts = [algo.train().get("num_env_failures", 0) for _ in range(3)]
        assert counts[-1] >= ENVS
        assert counts == sorted(counts)
        algo.save_to_path(tmp_path)
    with built(fault=fault, fault_after=25, max_failure_share=1.0) as algo:
        algo.restore_from_path(tmp_path)
        assert algo.train()["num_env_failures"] >= counts[-1]


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Algorithm, list[np.ndarray]]]:
    """An algorithm, and what its workers observed before they were restored."""
    checkpoint = tmp_path_factory.mktemp("checkpoint")
    with built() as algo:
        algo.train()
        algo.save_to_path(checkpoint)
    with built(num_workers=2, num_envs=2 * ENVS, max_failure_share=1.0) as algo:
        before = of_workers(algo, lambda runner: runner._observations.copy())
        algo.restore_from_path(checkpoint)
        yield algo, before


def of_workers(algo: Algorithm, function: Any) -> list[Any]:
    return algo.env_runner_group.foreach_env_runner(function, local_env_runner=False, healthy_only=False)


def test_restored_workers_do_not_repeat_their_first_episodes(restored: tuple[Algorithm, list[np.ndarray]]) -> None:
    algo, before = restored
    for first, now in zip(before, of_workers(algo, lambda runner: runner._observations.copy()), strict=True):
        assert not np.array_equal(first, now)


def test_no_environment_of_one_worker_is_seeded_as_one_of_the_other(restored: tuple[Algorithm, Any]) -> None:
    seeds = of_workers(restored[0], lambda runner: [env.unwrapped.np_random_seed for env in runner.env.envs])
    assert len({*seeds[0], *seeds[1]}) == 2 * ENVS


def test_two_workers_sample_different_episodes(restored: tuple[Algorithm, Any]) -> None:
    first, second = of_workers(restored[0], lambda runner: runner.sample())
    assert not np.array_equal(first.observations[0], second.observations[0])
    assert not np.array_equal(first.actions, second.actions)


def test_a_fault_in_one_worker_is_counted_and_what_a_runner_raises_reaches_the_driver(
    restored: tuple[Algorithm, Any],
) -> None:
    algo, _ = restored
    before = algo.faults.get_state()["env_failures"]

    def break_only(index: int, fault: str) -> None:
        of_workers(algo, lambda runner: runner.env.set_attr("fault", fault if runner.worker_index == index else None))

    for index, (fault, cause) in enumerate(FAULTS.items(), 1):
        break_only(index, fault)
        algo.train()  # those that take their places are whole
        assert algo.faults.get_state()["env_failures"] == before + index * ENVS
        assert re.match(cause, algo.faults.failures.cause)

    def refuse(runner: Any) -> None:
        def sample() -> None:
            raise UserError("the licence has expired", "renew it")

        runner.sample = sample

    of_workers(algo, lambda runner: refuse(runner) if runner.worker_index == 2 else None)
    with pytest.raises(UserError, match="the licence has expired"):
        algo.train()

"""The batched env runner and its learner on a tiny environment of images whose pixels count the episode's steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID

from synrl_ray.algorithms import rollout as rollout_algorithm
from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.errors import NonFiniteError
from synrl_ray.experiment import A2C, PPO, AnnPolicy, Environment, Experiment, Reinforce, SpikingPolicy, Stopping
from synrl_ray.sampling.batched import BatchedEnvRunner
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

    def __init__(self, fault: str | None = None, fault_after: int = 0, reset_faults: bool = False) -> None:
        self.metadata = {"render_modes": []}
        self.fault, self.left = fault, fault_after

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.count, self.length = 0, int(self.np_random.integers(2, 7))
        self.mark = int(self.np_random.integers(256))
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.count += 1
        self.left -= 1
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
    algorithm: PPO | A2C | Reinforce | None = None,
    policy: SpikingPolicy | AnnPolicy = FROM_REST,
    *,
    seed: int = 1,
    num_workers: int = 0,
    env_steps: int = 1000,
    **kwargs: Any,
) -> Iterator[Algorithm]:
    experiment = Experiment(
        id="tiny",
        summary="tiny",
        environment=Environment(id=ENV_ID, kwargs=kwargs, num_envs=ENVS),
        spiking=policy if isinstance(policy, SpikingPolicy) else FROM_REST,
        ann=policy if isinstance(policy, AnnPolicy) else AnnPolicy(hidden_sizes=(8,)),
        algorithm=algorithm or A2C(num_steps=20),
        stopping=Stopping(env_steps=env_steps),
    )
    kind = "spiking" if isinstance(policy, SpikingPolicy) else "ann"
    algo = algorithm_config(experiment, kind, seed=seed, num_workers=num_workers).build_algo()
    try:
        yield algo
    finally:
        algo.stop()


def runner_of(algo: Algorithm) -> BatchedEnvRunner:
    return algo.env_runner


def counts(rollout: Rollout) -> np.ndarray:
    return rollout.observations[:, :, 0, 0, 0]


def assert_same(left: Rollout, right: Rollout) -> None:
    for name, column in vars(left).items():
        np.testing.assert_array_equal(column, getattr(right, name), err_msg=name)


@pytest.mark.parametrize("policy", [CARRIED, FROM_REST, AnnPolicy()], ids=["carried", "from-rest", "ann"])
def test_rollout_has_every_step_of_every_environment_in_its_own_dtype(policy: SpikingPolicy | AnnPolicy) -> None:
    with built(policy=policy) as algo:
        runner = runner_of(algo)
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
        **{name: (shape, np.bool_) for name in ("terminated", "truncated", "valid", "starts")},
    }
    assert {name: (column.shape, column.dtype) for name, column in vars(rollout).items()} == expected
    assert (size > 0) == (policy is CARRIED)


def test_reset_steps_are_no_transitions_and_are_not_counted() -> None:
    with built() as algo:
        runner = runner_of(algo)
        fragments = [runner.sample() for _ in range(3)]
        metrics = runner.get_metrics()
        assert runner.num_env_steps_sampled_lifetime == sum(f.num_steps for f in fragments)
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
        runner = runner_of(algo)
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
            rollouts.append((runner_of(algo).sample(), runner_of(algo).sample()))
    for first, again in zip(rollouts[0], rollouts[1], strict=True):
        assert_same(first, again)
    assert not np.array_equal(rollouts[0][0].observations, rollouts[2][0].observations)
    assert not np.array_equal(rollouts[0][0].actions, rollouts[0][1].actions)


def test_state_is_zeroed_exactly_where_an_episode_starts() -> None:
    with built(policy=CARRIED) as algo:
        runner = runner_of(algo)
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
        runner, restored = runner_of(algo), runner_of(other)
        first = runner.sample()
        with torch.no_grad():
            for parameter in runner.module.parameters():
                parameter.add_(0.1)
        state = runner.get_state()
        runner.sample()
        runner.set_state(state)
        restored.set_state(state)
        assert restored.num_env_steps_sampled_lifetime == first.num_steps
        for name, weight in runner.module.state_dict().items():
            assert torch.equal(weight, restored.module.state_dict()[name]), name
        continued = restored.sample()
        assert_same(runner.sample(), continued)
    assert continued.starts[0].all()
    assert not np.array_equal(continued.observations, first.observations), "not the same episodes again"


def test_new_weights_change_the_policy_and_leave_the_episodes_alone() -> None:
    with built() as algo:
        runner = runner_of(algo)
        runner.sample()
        before = runner._observations.copy()
        weights = {name: np.zeros_like(value) for name, value in runner.get_state()[COMPONENT_RL_MODULE].items()}
        runner.set_state({COMPONENT_RL_MODULE: {DEFAULT_MODULE_ID: weights}})
        np.testing.assert_array_equal(runner._observations, before)
        after = runner.sample()
    assert (after.inputs == 0).all()
    np.testing.assert_allclose(after.logp, np.log(0.5), rtol=1e-6)


@pytest.mark.parametrize(("policy", "size"), [(FROM_REST, 32), (CARRIED, 8)], ids=["rows", "sequences"])
def test_minibatches_pass_over_every_row_exactly_once_in_each_epoch(
    policy: SpikingPolicy, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, seen = [], []
    original = rollout_algorithm.train_batch

    def numbered(*args: Any, **kwargs: Any) -> dict[str, Any]:
        batch = original(*args, **kwargs)
        batch["row"] = torch.arange(len(batch["advantages"]))
        batches.append(batch)
        return batch

    monkeypatch.setattr(rollout_algorithm, "train_batch", numbered)
    with built(PPO(train_batch_size=120, minibatch_size=size, num_epochs=3), policy) as algo:
        learner = algo.learner_group._learner
        update = learner._update
        learner._update = lambda batch, **kwargs: seen.append(batch[DEFAULT_MODULE_ID]) or update(batch, **kwargs)
        algo.train()
    (batch,) = batches
    rows, per_batch = len(batch["row"]), size if policy is FROM_REST else size // 4
    per_epoch = -(-rows // per_batch)
    assert len(seen) == 3 * per_epoch
    epochs = [torch.cat([part["row"] for part in seen[i : i + per_epoch]]) for i in range(0, len(seen), per_epoch)]
    for epoch in epochs:
        assert epoch.sort().values.tolist() == list(range(rows))
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 3, "a new order in each"
    for part in seen:
        for name in ("obs", "actions", "advantages", "action_logp"):
            assert torch.equal(part[name], batch[name][part["row"]]), name


def test_learning_rate_follows_the_steps_taken() -> None:
    with built(PPO(lr=0.01, train_batch_size=60), env_steps=100) as algo:
        (optimizer,) = algo.learner_group._learner._named_optimizers.values()
        for _ in range(2):
            algo.train()
            taken = runner_of(algo).num_env_steps_sampled_lifetime
            assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * max(0, 1 - taken / 100), abs=1e-7)


@pytest.mark.parametrize(("fault", "cause"), [("raise", RuntimeError), ("nan", NonFiniteError)])
@pytest.mark.parametrize("num_workers", [0, 1], ids=["driver", "worker"])
def test_fault_of_an_environment_reaches_the_driver_with_its_cause(
    fault: str, cause: type[Exception], num_workers: int
) -> None:
    message = "the camera broke" if fault == "raise" else r"the reward is not finite \(environment 0\)"
    with built(num_workers=num_workers, fault=fault, fault_after=25) as algo:
        algo.train()
        with pytest.raises(cause, match=message):
            algo.train()


def test_two_workers_sample_different_episodes() -> None:
    with built(num_workers=2) as algo:
        results = algo.env_runner_group.foreach_env_runner(lambda runner: runner.sample(), local_env_runner=False)
    first, second = results
    assert not np.array_equal(first.observations[0], second.observations[0])
    assert not np.array_equal(first.actions, second.actions)

"""Tabular Q-learning on Taxi-v3: environment and learning steps per second against a plain Python loop.

Run (``make bench-plasticity`` or by itself):
    python benchmarks/tabular.py
    python benchmarks/tabular.py --rounds 9 --clock cpu     # where other work shares the cores

The plain loop is what a notebook has: ``gym.make("Taxi-v3")``, a numpy table, one step and one update at a time. Ours
runs the settings of ``taxi-q-learning``: 16 environments in one compiled loop over the transition table, measured as
the env runner alone (``sample()``), and as the RLlib algorithm around it (``train()``: sampling, merging, committing,
sending the weights, metrics). The overhead of ``train()`` does not grow with an iteration's steps, so it is shown
for several lengths.

All have the same step size, discount and exploration. "Regret" is the exact return of the best policy, 7.930 over 300
first states, less that of the greedy one. Each contender is first trained from nothing in pieces of 20,000 steps until
its regret is 0: those steps and seconds are the learning result. Then rates are measured in turn, round by round;
they are medians over the rounds, and ratios medians of the ratios within a round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import gymnasium as gym
import numpy as np

from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_values import best_greedy_policy, exact_value
from synrl_ray.experiment import LocalExperiment, QLearning
from synrl_ray.registry import get_experiment
from synrl_ray.running.ray_session import ray_session

PIECE = 20_000
EXPERIMENT = get_experiment("taxi-q-learning")
assert isinstance(EXPERIMENT, LocalExperiment)
assert isinstance(EXPERIMENT.algorithm, QLearning)
SETTINGS = EXPERIMENT.algorithm
Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


class PlainLoop:
    """Q-learning as it is usually written."""

    name = "plain Python loop"

    def __init__(self, seed: int) -> None:
        self.env = gym.make("Taxi-v3")
        self.random = np.random.default_rng(seed)
        self.q = np.full((500, 6), SETTINGS.initial_value)
        self.state, _ = self.env.reset(seed=seed)
        self.steps = 0

    def train(self, num_steps: int) -> int:
        env, q, random, settings, state = self.env, self.q, self.random, SETTINGS, self.state
        for _ in range(num_steps):
            if random.random() < settings.epsilon_at(self.steps):
                action = int(random.integers(6))
            else:
                action = int(np.argmax(q[state]))
            following, reward, terminated, truncated, _ = env.step(action)
            target = float(reward) if terminated else float(reward) + settings.gamma * q[following].max()
            q[state, action] += settings.lr * (target - q[state, action])
            state = following
            if terminated or truncated:
                state, _ = env.reset()
            self.steps += 1
        self.state = state
        return num_steps


def ours(seed: int, iteration_steps: int) -> Any:
    """The configuration of an algorithm as ``taxi-q-learning`` has it."""
    from synrl_ray.algorithms.plastic import PlasticConfig

    config = PlasticConfig().environment("Taxi-v3").rule(SETTINGS)
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=16)
    config.learners(num_learners=0)
    config.training(train_batch_size_per_learner=iteration_steps)
    config.debugging(seed=seed, log_level="ERROR")
    return config


class Runner:
    """The env runner alone."""

    def __init__(self, seed: int, iteration_steps: int) -> None:
        from synrl_ray.sampling.tabular import TabularEnvRunner

        self.name, self.iteration_steps = f"env runner, {iteration_steps:,} steps", iteration_steps
        self.runner = TabularEnvRunner(config=ours(seed, iteration_steps))

    @property
    def q(self) -> np.ndarray:
        return self.runner.module.agent.q.numpy()

    def train(self, num_steps: int) -> int:
        return sum(self.runner.sample().num_steps for _ in range(max(1, num_steps // self.iteration_steps)))


class Algorithm:
    """The whole algorithm."""

    def __init__(self, seed: int, iteration_steps: int) -> None:
        self.name, self.iteration_steps = f"RLlib algorithm, {iteration_steps:,} steps", iteration_steps
        self.algorithm = ours(seed, iteration_steps).build_algo()

    @property
    def q(self) -> np.ndarray:
        return self.algorithm.get_module().agent.q.numpy()

    def train(self, num_steps: int) -> int:
        for _ in range(iterations := max(1, num_steps // self.iteration_steps)):
            self.algorithm.train()
        return iterations * self.iteration_steps


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plain-steps", type=int, default=50_000, help="of the plain loop in each round")
    parser.add_argument("--iterations", type=int, nargs="+", default=[50_000, 200_000, 1_000_000])
    parser.add_argument("--runner-only", action="store_true", help="without the algorithm, and without a Ray")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    if options.runner_only:
        measure([Runner], options, CLOCKS[options.clock])
    else:
        with ray_session(None, num_workers=0):
            measure([Runner, Algorithm], options, CLOCKS[options.clock])


def measure(kinds: list[Any], options: argparse.Namespace, clock: Clock) -> None:
    """Print how long learning takes, and the rates."""
    table = TransitionTable.from_id("Taxi-v3")
    optimum = best_greedy_policy(table)[1]

    print(f"Taxi-v3, best return {optimum:.3f}; from nothing to regret 0, checked every {PIECE:,} steps")
    for learner in (PlainLoop(0), *(kind(0, PIECE) for kind in kinds)):
        steps, seconds = until_optimal(learner, table, optimum, clock)
        print(f"  {learner.name:<36} {steps:>9,} steps {seconds:>9.3f} s")

    plain = PlainLoop(0)
    contenders = [kind(0, steps) for kind in kinds for steps in options.iterations]
    rates: dict[str, list[float]] = {learner.name: [] for learner in (plain, *contenders)}
    for round_number in range(options.rounds + 1):  # the first one is to warm up
        for learner in (plain, *contenders):
            began = clock()
            steps = learner.train(options.plain_steps)
            rate = steps / (clock() - began)
            if round_number:
                rates[learner.name].append(rate)
    print("environment and learning steps per second")
    for name, values in rates.items():
        ratio = statistics.median(value / base for value, base in zip(values, rates[plain.name], strict=True))
        print(f"  {name:<36} {statistics.median(values):>12,.0f}   {ratio:>6.0f}x")
    for learner in contenders:
        regret = optimum - exact_value(table, learner.q.argmax(axis=1))
        print(f"  regret of {learner.name} at the end: {abs(regret):.3f}")


def until_optimal(learner: Any, table: TransitionTable, optimum: float, clock: Clock) -> tuple[int, float]:
    """Steps and seconds of training until the greedy policy is the best one."""
    steps, seconds = 0, 0.0
    while abs(optimum - exact_value(table, learner.q.argmax(axis=1))) > 1e-9:
        began = clock()
        steps += learner.train(PIECE)
        seconds += clock() - began
    return steps, seconds


if __name__ == "__main__":
    main()

"""Does PPO on this project's rollouts learn what stock RLlib's PPO learns?

Run:
    python benchmarks/learning_equality.py
    python benchmarks/learning_equality.py --seeds 3 --steps 10240

Both train the same module on CartPole with the hyperparameters of ``cartpole-ppo`` (at a constant learning rate, since
the two count the steps of a schedule differently), from the same seeds. Along the way the greedy policy plays 100
episodes on seeds that training never uses. Printed are the interquartile mean over the seeds' mean returns and its 95 %
bootstrap interval; the two agree where the intervals overlap.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import gymnasium as gym
import sampling_rllib
import torch
from sampling_tasks import Task, cartpole

from synrl_ray.evaluation.episodes import evaluate_policy
from synrl_ray.evaluation.statistics import iqm, stratified_bootstrap_interval
from synrl_ray.experiment import PolicyKind
from synrl_ray.policies.policy import Policy
from synrl_ray.running.own_ray import own_ray

FIRST_SEED = 2_000_000
EPISODES = 100
KINDS: tuple[PolicyKind, ...] = ("spiking", "ann")
Make = Callable[..., sampling_rllib.Running]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, nargs="+", default=[8_192, 16_384, 40_960], help="where to judge")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    with own_ray(num_cpus=1):
        task = with_constant_rate(cartpole())
        print(f"CartPole-v1, PPO, {options.seeds} seeds, greedy returns over {EPISODES} episodes: IQM [95 % interval]")
        for kind in KINDS:
            scores = {
                "ours": learn(sampling_rllib.ours, task, kind, options.seeds, options.steps),
                "RLlib": learn(sampling_rllib.stock, task, kind, options.seeds, options.steps),
            }
            for steps in options.steps:
                intervals = {name: interval(by_step[steps]) for name, by_step in scores.items()}
                (low, high), (other_low, other_high) = intervals.values()
                columns = "   ".join(
                    f"{name} {iqm(by_step[steps]):6.1f} [{intervals[name][0]:.1f}, {intervals[name][1]:.1f}]"
                    for name, by_step in scores.items()
                )
                verdict = "overlap" if low <= other_high and other_low <= high else "differ"
                print(f"  {kind:<8}{steps:>8,} steps   {columns}   {verdict}", flush=True)


def with_constant_rate(task: Task) -> Task:
    """The task without decay of the learning rate."""
    algorithm = dataclasses.replace(task.settings, lr_decay=False)
    return dataclasses.replace(task, experiment=dataclasses.replace(task.experiment, algorithm=algorithm))


def learn(make: Make, task: Task, kind: PolicyKind, num_seeds: int, steps: list[int]) -> dict[int, list[float]]:
    """Greedy mean returns of every seed, at each number of steps."""
    scores: dict[int, list[float]] = {step: [] for step in steps}
    for seed in range(num_seeds):
        running = make(task, 0, kind=kind, seed=seed)
        try:
            for step in sorted(steps):
                while running.steps < step:
                    running.run()
                scores[step].append(judge(running))
        finally:
            running.close()
    return scores


def judge(running: sampling_rllib.Running) -> float:
    """Mean greedy return of the policy as it is."""
    module = running.algorithm.get_module()
    policy = Policy(module.network, module.observation_space, module.action_space)
    result = evaluate_policy(policy, lambda: gym.make("CartPole-v1"), episodes=EPISODES, seed=FIRST_SEED)
    return float(result.returns.mean())


def interval(scores: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the IQM over seeds."""
    return stratified_bootstrap_interval(scores, iqm)


if __name__ == "__main__":
    main()

"""Environment steps per second, sampling and learning together, against stock RLlib with the same network.

    python benchmarks/sampling.py [--workers 0 1 2] [--iterations 6]

PPO on CartPole-v1, 8 environments a runner, 2,048 steps an iteration, minibatches of 128, 8 epochs: the same for both.
The two are measured in turn, iteration by iteration, after two iterations of warm-up; medians are printed, and the
limits beside them: the raw vector environment, and the network's forward pass alone. One thread in each process.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import time
from dataclasses import asdict
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium as gym
import numpy as np
import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig as StockPPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from synrl_ray.algorithms.rollout import PPOConfig
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.config import AnnPolicy, PolicyConfig, SpikingPolicy
from synrl_ray.rl_modules import ActorCriticModule

ENV, NUM_ENVS, BATCH, MINIBATCH, EPOCHS = "CartPole-v1", 8, 2048, 128, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("ray").setLevel(logging.ERROR)
    ray.init(
        address="local", _node_ip_address="127.0.0.1", num_cpus=1 + 2 * max(options.workers), include_dashboard=False,
        log_to_driver=False, logging_level=logging.ERROR, object_store_memory=256 * 1024**2,
    )  # fmt: skip
    print(f"{ENV}, PPO, {NUM_ENVS} environments a runner: environment steps per second, sampling and learning")
    print(f"{'policy':<10}{'workers':>8}{'this project':>14}{'stock RLlib':>13}{'ratio':>8}")
    for name, policy in (("spiking", SpikingPolicy()), ("ann", AnnPolicy())):
        for workers in options.workers:
            ours, stock = compare(policy, workers, options.iterations)
            print(f"{name:<10}{workers:>8}{ours:>14,.0f}{stock:>13,.0f}{ours / stock:>7.1f}x", flush=True)
    print(f"limits: the vector environment alone {environment_rate():,.0f}, the network's forward pass alone ", end="")
    print(f"{forward_rate(SpikingPolicy()):,.0f} (spiking) and {forward_rate(AnnPolicy()):,.0f} (ann) steps per second")


def compare(policy: PolicyConfig, workers: int, iterations: int) -> tuple[float, float]:
    """Median rates of the two, measured in turn."""
    algorithms = [_common(PPOConfig().rollouts(num_epochs=EPOCHS), policy, workers).build_algo()]
    stock = StockPPOConfig().training(num_epochs=EPOCHS, use_kl_loss=False, vf_loss_coeff=0.5, vf_clip_param=1e9)
    logging.getLogger("ray.rllib").setLevel(logging.CRITICAL)
    algorithms.append(_common(stock, policy, workers).build_algo())
    rates: list[list[float]] = [[], []]
    steps = [0.0, 0.0]
    for iteration in range(2 + iterations):
        for i, algorithm in enumerate(algorithms):
            began = time.perf_counter()
            total = algorithm.train()["num_env_steps_sampled_lifetime"]
            if iteration >= 2:
                rates[i].append((total - steps[i]) / (time.perf_counter() - began))
            steps[i] = total
    for algorithm in algorithms:
        algorithm.stop()
    return statistics.median(rates[0]), statistics.median(rates[1])


def _common(config: Any, policy: PolicyConfig, workers: int) -> Any:
    return (
        config.environment(ENV)
        .env_runners(num_env_runners=workers, num_envs_per_env_runner=NUM_ENVS)
        .training(
            lr=1e-3, gamma=0.99, train_batch_size_per_learner=BATCH, minibatch_size=MINIBATCH, grad_clip=0.5,
            grad_clip_by="global_norm",
        )
        .rl_module(rl_module_spec=RLModuleSpec(module_class=ActorCriticModule, model_config=asdict(policy)))
        .debugging(seed=0, log_level="ERROR")
    )  # fmt: skip


def environment_rate(steps: int = 2000) -> float:
    """Steps per second of the raw vector environment under random actions."""
    envs = gym.make_vec(ENV, num_envs=NUM_ENVS)
    envs.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 2, (steps, NUM_ENVS))
    began = time.perf_counter()
    for action in actions:
        envs.step(action)
    return steps * NUM_ENVS / (time.perf_counter() - began)


def forward_rate(policy: PolicyConfig, steps: int = 1000) -> float:
    """Decisions per second of actor and critic, in batches of the environments' number."""
    env = gym.make(ENV)
    network = ActorCritic(env.observation_space, env.action_space, policy)
    observations = torch.randn(1, NUM_ENVS, 4)
    with torch.no_grad():
        network(observations)
        began = time.perf_counter()
        for _ in range(steps):
            network(observations)
    return steps * NUM_ENVS / (time.perf_counter() - began)


if __name__ == "__main__":
    main()

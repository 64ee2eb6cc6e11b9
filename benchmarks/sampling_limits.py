"""What ``sampling.py`` cannot exceed: the raw vector environment, and the network's passes alone."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import numpy as np
import torch
from sampling_tasks import Task
from torch import Tensor

from synrl_ray.experiment import PPO, PolicyKind
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.sampling.vector import PREPROCESSING, make_vector

Clock = Callable[[], float]


def report(task: Task, clock: Clock) -> None:
    """Print them."""
    print(f"  limits: the vector environment alone {environment_rate(task, clock):,.0f} steps/s")
    for kind in ("spiking", "ann"):
        forward, both = network_rates(task, kind, clock)
        print(
            f"  limits: {kind} network alone, forward as in sampling {forward:,.0f} rows/s, "
            f"forward and backward as in learning {both:,.0f} rows/s",
            flush=True,
        )


def environment_rate(task: Task, clock: Clock) -> float:
    """Steps per second under random actions."""
    environment = task.experiment.environment
    config = {**environment.kwargs}
    if environment.preprocessing:
        config[PREPROCESSING] = environment.preprocessing
    envs = make_vector(environment.id, config, environment.num_envs)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    steps = repeat(lambda: envs.step(envs.action_space.sample()), clock)
    envs.close()
    return steps * environment.num_envs


def network_rates(task: Task, kind: PolicyKind, clock: Clock) -> tuple[float, float]:
    """Rows per second: forward for all environments at once, forward and backward for a minibatch."""
    env = task.make_environment()
    policy, settings, num_envs = task.experiment.policy(kind), task.settings, task.experiment.environment.num_envs
    network = ActorCritic(env.observation_space, env.action_space, policy)
    if isinstance(settings, PPO):
        rows, fragment = settings.minibatch_size, settings.train_batch_size // num_envs
    else:
        rows, fragment = settings.num_steps * num_envs, settings.num_steps
    length = min(policy.max_seq_len, fragment) if policy.has_state else 1
    parameters = list(network.parameters())
    seen = torch.from_numpy(samples(env, num_envs)).unsqueeze(0)
    drawn = torch.from_numpy(samples(env, length * (rows // length)))
    sequences = drawn.view(length, rows // length, *drawn.shape[1:])

    @torch.no_grad()
    def forward() -> Tensor:
        return network(seen)[0]

    def both() -> None:
        for parameter in parameters:
            parameter.grad = None
        inputs, values, _ = network(sequences)
        (inputs.square().mean() + values.square().mean()).backward()

    env.close()
    return repeat(forward, clock) * num_envs, repeat(both, clock) * drawn.shape[0]


def samples(env: gym.Env, count: int) -> np.ndarray:
    """Observations of random play, ``[count, ...]``; after a few they repeat."""
    rows = []
    observation, _ = env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(min(count, 64)):
        rows.append(np.array(observation))
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            observation, _ = env.reset()
    return np.resize(np.stack(rows), (count, *rows[0].shape))


def repeat(function: Callable[[], object], clock: Clock, seconds: float = 1.0) -> float:
    """Calls per second, after a call that is not timed."""
    function()
    calls, began = 0, clock()
    while (elapsed := clock() - began) < seconds:
        function()
        calls += 1
    return calls / elapsed

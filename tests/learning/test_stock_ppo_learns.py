"""A spiking module dropped into RLlib's stock PPO learns CartPole, in both ways of seeing time, here and remotely.

A random policy's mean return is about 22. The thresholds are "clearly above random, soon"; the full task is
measured by the experiment itself (`-m slow`).
"""

from __future__ import annotations

import pytest
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from synrl_ray.rl_modules import ActorCriticModule
from synrl_ray.settings.policies import AnnPolicy, PolicyConfig, SpikingPolicy

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

REST = SpikingPolicy(steps_per_observation=4)
CARRIED = SpikingPolicy(steps_per_observation=2, carry_state=True)


@pytest.mark.parametrize(
    ("policy", "num_workers", "num_updates"),
    [(REST, 0, 6), (REST, 2, 6), (CARRIED, 0, 8), (CARRIED, 2, 8), (AnnPolicy(), 0, 6)],
    ids=["from-rest-local", "from-rest-2-runners", "carried-local", "carried-2-runners", "ann-local"],
)
def test_return_rises_well_above_random(policy: PolicyConfig, num_workers: int, num_updates: int) -> None:
    algorithm = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=num_workers, num_envs_per_env_runner=8)
        .training(
            lr=1e-3, gamma=0.99, train_batch_size_per_learner=2048, minibatch_size=128, num_epochs=8,
            vf_loss_coeff=0.5, vf_clip_param=1e9, use_kl_loss=False, grad_clip=0.5,
        )
        .rl_module(rl_module_spec=RLModuleSpec(module_class=ActorCriticModule, model_config=policy))
        .debugging(seed=0)
        .build_algo()
    )  # fmt: skip
    try:
        returns = [algorithm.train()["env_runners"]["episode_return_mean"] for _ in range(num_updates)]
    finally:
        algorithm.stop()
    assert returns[0] < 40
    assert returns[-1] > 66, f"three times a random policy's return is not reached: {returns}"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("policy", [REST, CARRIED], ids=["from-rest", "carried"])
def test_solves_cartpole(policy: SpikingPolicy, num_workers: int) -> None:
    algorithm = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=num_workers, num_envs_per_env_runner=8)
        .training(
            lr=[[0, 1e-3], [150_000, 0.0]], gamma=0.99, train_batch_size_per_learner=2048, minibatch_size=128,
            num_epochs=8, vf_loss_coeff=0.5, vf_clip_param=1e9, use_kl_loss=False, grad_clip=0.5,
        )
        .rl_module(rl_module_spec=RLModuleSpec(module_class=ActorCriticModule, model_config=policy))
        .debugging(seed=0)
        .build_algo()
    )  # fmt: skip
    best = 0.0
    try:
        while best < 475 and algorithm.iteration < 75:
            best = max(best, algorithm.train()["env_runners"]["episode_return_mean"])
    finally:
        algorithm.stop()
    assert best >= 475, f"best mean return of sampled episodes: {best}"

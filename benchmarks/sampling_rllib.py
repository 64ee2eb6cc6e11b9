"""This project and stock RLlib at a task of ``sampling.py``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.tune.registry import register_env
from sampling_tasks import Contender, Task

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.experiment import PPO, PolicyKind
from synrl_ray.rl_modules import ActorCriticModule


class Running:
    """An RLlib algorithm."""

    def __init__(self, config: Any) -> None:
        self.algorithm = config.build_algo()
        self.steps = 0

    def run(self) -> int:
        before = self.steps
        self.steps = int(self.algorithm.train()["num_env_steps_sampled_lifetime"])
        return self.steps - before

    def close(self) -> None:
        self.algorithm.stop()


def contenders(task: Task) -> dict[str, Callable[[Task, int], Contender]]:
    """Ours with both policies, and stock RLlib with those that the task names."""
    result: dict[str, Callable[[Task, int], Contender]] = {
        f"ours {kind}": partial(ours, kind=kind) for kind in ("spiking", "ann")
    }
    return result | {f"RLlib {kind}": partial(stock, kind=kind) for kind in task.kinds}


def ours(task: Task, workers: int, *, kind: PolicyKind, seed: int = 0) -> Running:
    """The experiment as ``synrl train`` builds it."""
    return Running(algorithm_config(task.experiment, kind, seed=seed, num_workers=workers))


def stock(task: Task, workers: int, *, kind: PolicyKind, seed: int = 0) -> Running:
    """RLlib's PPO around this project's module, in RLlib's own env runners."""
    settings, environment = task.settings, task.experiment.environment
    policy = task.experiment.policy(kind)
    if task.stacked > 1:
        policy = dataclasses.replace(policy, frame_stack=1)
    is_ppo = isinstance(settings, PPO)
    batch = settings.train_batch_size if is_ppo else settings.num_steps * environment.num_envs
    register_env("benchmark", lambda _: task.make_stacked_environment())
    config = (
        PPOConfig()
        .environment("benchmark" if environment.preprocessing else environment.id)
        .env_runners(num_env_runners=workers, num_envs_per_env_runner=environment.num_envs // max(1, workers))
        .learners(num_learners=0)
        .training(
            lr=settings.lr, gamma=settings.gamma, lambda_=settings.gae_lambda, entropy_coeff=settings.entropy_coeff,
            vf_loss_coeff=settings.vf_loss_coeff, vf_clip_param=1e9, use_kl_loss=False,
            clip_param=settings.clip_param if is_ppo else 0.2, num_epochs=settings.num_epochs if is_ppo else 1,
            train_batch_size_per_learner=batch, minibatch_size=settings.minibatch_size if is_ppo else batch,
            grad_clip=settings.grad_clip, grad_clip_by="global_norm",
        )
        .rl_module(
            rl_module_spec=RLModuleSpec(module_class=ActorCriticModule, model_config=dataclasses.asdict(policy))
        )
        .reporting(min_sample_timesteps_per_iteration=0 if is_ppo else task.steps)
        .debugging(seed=seed, log_level="ERROR")
    )  # fmt: skip
    return Running(config)

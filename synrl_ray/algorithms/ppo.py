"""From an experiment's PPO settings to an RLlib configuration."""

from __future__ import annotations

from dataclasses import asdict

from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from synrl_ray.algorithms.learner import FinitePPOLearner
from synrl_ray.experiment import Experiment, PolicyKind
from synrl_ray.rl_modules import ActorCriticModule
from synrl_ray.sampling.candid import CandidEnvRunner

_NO_CLIP = 1e9  # RLlib clips the squared value error; PPO's paper does not


def ppo_config(experiment: Experiment, policy: PolicyKind, *, seed: int, num_workers: int) -> PPOConfig:
    """The configuration of one run.

    Args:
        experiment: what to train.
        policy: which of its policies.
        seed: of networks, environments and action sampling.
        num_workers: env runners in processes of their own; 0 samples in the driver. The train batch is divided
            among them: scale does not change the hyperparameters.
    """
    settings, environment = experiment.algorithm, experiment.environment
    schedule = [[0, settings.lr], [experiment.stopping.env_steps, 0.0]] if settings.lr_decay else settings.lr
    return (
        PPOConfig()
        .environment(environment.id, env_config=dict(environment.kwargs))
        .env_runners(
            env_runner_cls=CandidEnvRunner,
            num_env_runners=num_workers,
            num_envs_per_env_runner=environment.num_envs,
        )
        .learners(num_learners=0)
        .training(
            learner_class=FinitePPOLearner,
            lr=schedule,
            gamma=settings.gamma,
            lambda_=settings.gae_lambda,
            train_batch_size_per_learner=settings.train_batch_size,
            minibatch_size=settings.minibatch_size,
            num_epochs=settings.num_epochs,
            clip_param=settings.clip_param,
            entropy_coeff=settings.entropy_coeff,
            vf_loss_coeff=settings.vf_loss_coeff,
            vf_clip_param=_NO_CLIP,
            use_kl_loss=False,
            grad_clip=settings.grad_clip,
            grad_clip_by="global_norm",
        )
        .rl_module(
            rl_module_spec=RLModuleSpec(module_class=ActorCriticModule, model_config=asdict(experiment.policy(policy)))
        )
        .debugging(seed=seed, log_level="ERROR")
        # An error in an env runner is the user's to see, not RLlib's to retry without end.
        .fault_tolerance(restart_failed_env_runners=False)
    )

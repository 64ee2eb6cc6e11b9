"""From an experiment's settings to an RLlib configuration."""

from __future__ import annotations

from dataclasses import asdict

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from synrl_ray.algorithms.dqn.algorithm import dqn_config
from synrl_ray.algorithms.on_policy.algorithm import A2CConfig, PPOConfig, ReinforceConfig, RolloutConfig
from synrl_ray.experiment import A2C, DQN, PPO, Experiment, PolicyKind, Reinforce
from synrl_ray.rl_modules import ActorCriticModule, QModule
from synrl_ray.sampling.vector import PREPROCESSING

_STEPS_PER_ROW = 2000


def algorithm_config(
    experiment: Experiment, policy: PolicyKind, *, seed: int, num_workers: int, num_learners: int = 0
) -> AlgorithmConfig:
    """The configuration of one run.

    Args:
        experiment: what to train.
        policy: which of its policies.
        seed: of networks, environments and action sampling.
        num_workers: env runners in processes of their own; 0 samples in the driver. The environments are divided
            among them: scale does not change the hyperparameters.
        num_learners: learners in processes of their own, which share each minibatch; 0 learns in the driver.

    Raises:
        ValueError: if the train batch does not divide into fragments, or among the learners.
    """
    environment, settings, network = experiment.environment, experiment.algorithm, experiment.policy(policy)
    if isinstance(settings, DQN):
        config: AlgorithmConfig = dqn_config(environment, settings)
    else:
        prepared = {PREPROCESSING: environment.preprocessing} if environment.preprocessing else {}
        config = _own_settings(settings).rollouts(
            reward_scale=environment.reward_scale,
            normalise_rewards=environment.normalise_rewards,
            max_failure_share=environment.max_failure_share,
        )
        config.environment(environment.id, env_config={**environment.kwargs, **prepared})
    config.env_runners(num_env_runners=num_workers, num_envs_per_env_runner=environment.num_envs // max(1, num_workers))
    config.learners(num_learners=num_learners, num_cpus_per_learner=1)
    horizon = experiment.stopping.schedule_steps or experiment.stopping.env_steps
    decayed = [[0, settings.lr], [horizon, 0.0]]
    config.training(
        lr=decayed if settings.lr_decay else settings.lr,
        gamma=settings.gamma,
        grad_clip=settings.grad_clip,
        train_batch_size_per_learner=_share(_train_batch_size(experiment, policy), num_learners),
        minibatch_size=settings.minibatch_size if isinstance(settings, PPO) else None,
    )
    module = QModule if isinstance(settings, DQN) else ActorCriticModule
    config.rl_module(rl_module_spec=RLModuleSpec(module_class=module, model_config=asdict(network)))
    if isinstance(settings, A2C):  # its updates are small: a row of metrics for each would cost more than some of them
        config.reporting(min_sample_timesteps_per_iteration=_STEPS_PER_ROW)
    config.debugging(seed=seed, log_level="ERROR")
    # An error in an env runner is the user's to see, not RLlib's to retry without end; Faults tells it from a death.
    config.fault_tolerance(restart_failed_env_runners=not isinstance(settings, DQN))
    return config


def _share(train_batch_size: int, num_learners: int) -> int:
    share, rest = divmod(train_batch_size, max(1, num_learners))
    if rest:
        raise ValueError(f"a batch of {train_batch_size} steps cannot be shared by {num_learners} learners")
    return share


def _own_settings(settings: PPO | A2C | Reinforce) -> RolloutConfig:
    if isinstance(settings, PPO):
        return PPOConfig().rollouts(
            gae_lambda=settings.gae_lambda,
            clip_param=settings.clip_param,
            num_epochs=settings.num_epochs,
            entropy_coeff=settings.entropy_coeff,
            vf_loss_coeff=settings.vf_loss_coeff,
        )
    if isinstance(settings, A2C):
        return A2CConfig().rollouts(
            gae_lambda=settings.gae_lambda,
            entropy_coeff=settings.entropy_coeff,
            vf_loss_coeff=settings.vf_loss_coeff,
            rmsprop_alpha=settings.rmsprop_alpha,
            rmsprop_eps=settings.rmsprop_eps,
        )
    return ReinforceConfig().rollouts(
        use_baseline=settings.use_baseline,
        entropy_coeff=settings.entropy_coeff,
        vf_loss_coeff=settings.vf_loss_coeff if settings.use_baseline else 0.0,
    )


def _train_batch_size(experiment: Experiment, policy: PolicyKind) -> int:
    """Steps of an iteration, rounded up to whole fragments (and those to whole sequences of a carried state)."""
    settings, network = experiment.algorithm, experiment.policy(policy)
    num_envs = experiment.environment.num_envs
    if isinstance(settings, DQN):
        return settings.train_batch_size
    if isinstance(settings, A2C):
        return settings.num_steps * num_envs
    if isinstance(settings, Reinforce):
        return num_envs  # whole episodes: the runner does not count steps
    fragment = -(-settings.train_batch_size // num_envs)
    if network.has_state and fragment > network.max_seq_len:
        fragment = -(-fragment // network.max_seq_len) * network.max_seq_len
    return fragment * num_envs

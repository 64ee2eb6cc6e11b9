"""RLlib's DQN on a :class:`~synrl_ray.algorithms.dqn.replay.Replay`, with a learner that stops at NaN."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.dqn import DQN as RLlibDQN
from ray.rllib.algorithms.dqn import DQNConfig as RLlibDQNConfig
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    SYNCH_WORKER_WEIGHTS_TIMER,
    TD_ERROR_KEY,
    TIMERS,
)
from ray.tune.registry import register_env
from torch import Tensor

from synrl_ray.algorithms.dqn.replay import Replay, Transitions
from synrl_ray.algorithms.on_policy.learner import descend, first_not_finite
from synrl_ray.envs.make import make_environment
from synrl_ray.errors import NonFiniteError
from synrl_ray.experiment import DQN, Environment
from synrl_ray.rl_modules.q_network import QModule
from synrl_ray.sampling.seeding import draw_seeds

_ENVIRONMENT = "synrl_ray environment"


class DQNLearner(DQNTorchLearner):
    """RLlib's loss and target updates, in lean steps; a soft target moves after every gradient step.

    Raises:
        NonFiniteError: instead of stepping on a loss or gradient that is NaN or infinite.
    """

    def _update(self, batch: dict[str, Any], **kwargs: Any) -> tuple[Any, Any, Any]:
        outputs = self.module.forward_train(batch)
        loss = self.compute_loss_for_module(
            module_id=DEFAULT_MODULE_ID,
            config=self.config,
            batch=batch[DEFAULT_MODULE_ID],
            fwd_out=outputs[DEFAULT_MODULE_ID],
        )
        (optimizer,) = self._named_optimizers.values()
        descend(loss, optimizer, self.config.grad_clip)
        return outputs, {DEFAULT_MODULE_ID: loss.detach()}, {}

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Adam."""
        parameters = self.get_parameters(self._module[module_id])
        self.register_optimizer(
            module_id=module_id,
            optimizer=torch.optim.Adam(parameters, fused=True),
            params=parameters,
            lr_or_lr_schedule=config.lr,
        )

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Tensor:
        """The weighted Huber loss of the TD errors, checked."""
        loss = super().compute_loss_for_module(module_id=module_id, config=config, batch=batch, fwd_out=fwd_out)
        if not torch.isfinite(loss):
            name = first_not_finite({"batch": batch, "network output": fwd_out}) or "the total loss"
            raise NonFiniteError(name, f"module {module_id!r}")
        return loss

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Update the target where it is due."""
        if self.config.tau < 1.0:
            self.last_update_ts_by_mid.clear()  # due every time, also between two updates without new samples
        super().after_gradient_based_update(timesteps=timesteps)


class DQNEnvRunner(SingleAgentEnvRunner):
    """RLlib's env runner, with random numbers of its own, and exceptions that reach the driver."""

    def apply(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Call ``func(self, ...)``; RLlib's own would end the process and hide the cause."""
        return func(self, *args, **kwargs)

    def _try_env_step(self, actions: Any) -> Any:
        """Step the environments; RLlib's wrapper around what they raise would lose its cause between processes."""
        try:
            return super()._try_env_step(actions)
        except RuntimeError as error:
            raise error.__cause__ or error from None

    def reseed(self, steps: int) -> None:
        """Start new episodes, seeded for this point of the run; ``steps`` are those that it has taken so far."""
        environment, noise = draw_seeds(self, steps, 2)
        self._seed = 2**31 + environment % 2**30
        self._needs_initial_reset = True
        self.num_env_steps_sampled_lifetime = steps
        torch.manual_seed(noise)


class DQNConfig(RLlibDQNConfig):
    """RLlib's settings, and those of the replay.

    ``replay_buffer_config``, ``rollout_fragment_length`` and ``training_intensity`` are not used: each environment
    takes ``fragment_length`` steps, then there are ``num_updates`` updates, however many env runners there are.
    """

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or ReplayDQN)
        self.replay_buffer_config = {"type": "EpisodeReplayBuffer", "no_local_replay_buffer": True}
        self.env_runner_cls = DQNEnvRunner
        self.replay_capacity = 50_000
        self.priority_alpha = 0.0
        self.priority_beta = 0.0
        self.reward_scale = 1.0
        self.fragment_length = 1
        self.num_updates = 1

    def get_rollout_fragment_length(self, worker_index: int = 0) -> int:
        """Steps of each environment between two trainings; fewer than ``n_step`` are fine: the replay joins them."""
        return self.fragment_length

    def get_default_learner_class(self) -> type:
        """The learner that stops at NaN."""
        return DQNLearner

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """A spiking Q-network."""
        return RLModuleSpec(module_class=QModule)


class ReplayDQN(RLlibDQN):
    """One iteration: every runner adds a fragment, the learner draws ``num_updates`` batches, weights go back."""

    replay: Replay

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        """The settings."""
        return DQNConfig()

    def setup(self, config: AlgorithmConfig) -> None:
        """Build everything; RLlib calls this."""
        super().setup(config)
        self._start(0)

    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """Go on from a checkpoint, with new episodes and an empty replay: learning waits until it is filled again."""
        super().restore_from_path(path, *args, **kwargs)
        self.env_runner_group.sync_weights(from_worker_or_learner_group=self.learner_group, inference_only=True)
        self._start(self._env_steps())

    def _start(self, steps: int) -> None:
        """Begin with random numbers of their own for this run and this point of it."""
        config = self.config
        self.replay = Replay(config.replay_capacity, alpha=config.priority_alpha, beta=config.priority_beta)
        self.replay.reseed(np.random.SeedSequence([config.seed or 0, 2**31, steps]))
        self.env_runner_group.foreach_env_runner(lambda runner: runner.reseed(steps))

    def _env_steps(self) -> int:
        return int(self.metrics.peek((ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), default=0))

    def training_step(self) -> None:
        """Sample, learn, synchronise."""
        config = self.config
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            results = self.env_runner_group.foreach_env_runner(
                lambda runner: (runner.sample(), runner.get_metrics()),
                local_env_runner=self.env_runner_group.num_remote_env_runners() == 0,
            )
            self.metrics.aggregate([metrics for _, metrics in results], key=ENV_RUNNER_RESULTS)
        for episodes, _ in results:
            self.replay.add(episodes)
        if len(self.replay) < config.num_steps_sampled_before_learning_starts:
            return
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)):
            for _ in range(config.num_updates):
                self._learn()
        with self.metrics.log_time((TIMERS, SYNCH_WORKER_WEIGHTS_TIMER)):
            self.env_runner_group.sync_weights(from_worker_or_learner_group=self.learner_group, inference_only=True)

    def _learn(self) -> None:
        config = self.config
        drawn = self.replay.sample(config.total_train_batch_size, n_step=config.n_step, gamma=config.gamma)
        results = self.learner_group.update(
            batch=train_batch(drawn, config.reward_scale), timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self._env_steps()}
        )
        errors = np.concatenate([result[DEFAULT_MODULE_ID].pop(TD_ERROR_KEY).peek() for result in results], axis=None)
        self.replay.update_priorities(drawn.rows, errors)
        self.metrics.aggregate(results, key=LEARNER_RESULTS)


def dqn_config(environment: Environment, settings: DQN) -> DQNConfig:
    """The environment for RLlib's own env runner, and what of the settings belongs to DQN alone."""
    config = DQNConfig()
    register_env(_ENVIRONMENT, _make)  # RLlib's runner knows no preprocessing
    config.environment(_ENVIRONMENT, env_config={"environment": environment})
    config.training(
        num_steps_sampled_before_learning_starts=settings.learning_starts,
        epsilon=[(0, settings.epsilon_start), (settings.epsilon_steps, settings.epsilon_end)],
        target_network_update_freq=settings.target_update if settings.tau == 1.0 else 1,
        tau=settings.tau,
        double_q=settings.double_q,
        dueling=settings.dueling,
        n_step=settings.n_step,
    )
    config.reward_scale = environment.reward_scale
    config.replay_capacity = settings.replay_capacity
    config.priority_alpha = settings.priority_alpha if settings.prioritised else 0.0
    config.priority_beta = settings.priority_beta
    config.fragment_length = -(-settings.train_interval // environment.num_envs)
    config.num_updates = settings.num_updates
    return config


def _make(context: EnvContext) -> gym.Env:
    environment: Environment = context["environment"]
    return make_environment(environment.id, environment.kwargs, environment.preprocessing, training=True)


def train_batch(drawn: Transitions, reward_scale: float = 1.0) -> MultiAgentBatch:
    """Transitions as the columns of RLlib's DQN learner, their rewards multiplied by ``reward_scale``."""
    columns = {
        Columns.OBS: drawn.observations,
        Columns.NEXT_OBS: drawn.next_observations,
        Columns.ACTIONS: drawn.actions,
        Columns.REWARDS: drawn.rewards * np.float32(reward_scale),
        Columns.TERMINATEDS: drawn.terminated,
        "weights": drawn.weights,
        "n_step": drawn.num_steps,
    }
    batch = SampleBatch({name: torch.from_numpy(values) for name, values in columns.items()})
    return MultiAgentBatch({DEFAULT_MODULE_ID: batch}, env_steps=len(drawn.rows))

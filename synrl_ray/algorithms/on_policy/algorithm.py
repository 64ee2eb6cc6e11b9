"""Algorithms that learn from rollouts: sample a fragment everywhere, learn from it, send the weights back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from ray.exceptions import RayError
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import (
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    SYNCH_WORKER_WEIGHTS_TIMER,
    TIMERS,
)

from synrl_ray.algorithms.activity import Activity, percent
from synrl_ray.algorithms.batched import BatchedAlgorithm, BatchedConfig
from synrl_ray.algorithms.config import GradientConfig
from synrl_ray.algorithms.on_policy.learner import OnPolicyLearner
from synrl_ray.algorithms.on_policy.measuring import measure, met, most_rows, network_of
from synrl_ray.algorithms.on_policy.train_batch import Batch, num_minibatches, num_rows, num_valid, shares, train_batch
from synrl_ray.errors import UserError, worker_died
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.rl_modules.pushing import push_weights
from synrl_ray.sampling.metrics import SECONDS
from synrl_ray.sampling.return_scale import ReturnScale
from synrl_ray.sampling.rollout import Rollout, sample_rows
from synrl_ray.settings.algorithms import OnPolicy, PolicyGradient
from synrl_ray.settings.policies import PolicyConfig, SpikingPolicy

_RETURN_SCALE = "return_scale"


@dataclass(frozen=True)
class Estimate:
    """How advantages are estimated; the words are those of
    :func:`~synrl_ray.algorithms.on_policy.train_batch.train_batch`."""

    gae_lambda: float = 1.0
    standardise: bool = False
    use_baseline: bool = True


class RolloutConfig(BatchedConfig, GradientConfig):
    """The configuration of an algorithm that learns from rollouts.

    With ``batch_mode="complete_episodes"`` every environment runs one whole episode; else
    ``train_batch_size_per_learner`` steps are divided among the runners' environments.
    """

    settings: OnPolicy
    learner = OnPolicyLearner

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or OnPolicyAlgorithm)

    def use(self, settings: Any) -> Self:
        """Hold the settings; there is one pass over the whole batch, unless a subclass says otherwise."""
        self.settings = settings
        return self

    def serve(self, network: PolicyConfig) -> Self:
        """Build that policy.

        Raises:
            UserError: for a penalty on spikes that nobody sees.
        """
        if self.settings.rate_penalty and isinstance(network, SpikingPolicy) and network.network is not None:
            problem = f"rate_penalty is of the layers that settings describe, and network={network.network} has its own"
            raise UserError(problem, "set rate_penalty=0")
        return super().serve(network)

    @property
    def estimate(self) -> Estimate:
        """How the algorithm estimates advantages."""
        raise NotImplementedError


class OnPolicyConfig(RolloutConfig):
    """The configuration of such an algorithm with an actor and a critic."""

    settings: PolicyGradient

    @property
    def clip_param(self) -> float | None:
        """Bound of the clipped surrogate objective; ``None`` for the plain policy gradient."""
        return None

    @property
    def coefficients(self) -> dict[str, float]:
        """Weights of the loss's terms beside the policy's."""
        return {"value_coeff": self.settings.vf_loss_coeff, "entropy_coeff": self.settings.entropy_coeff}


def check_sequences(num_steps: int, network: PolicyConfig) -> None:
    """Raise :class:`UserError` where fragments of so many steps are no whole sequences of a state that is carried."""
    length = min(num_steps, network.max_seq_len)
    if network.has_state and num_steps % length:
        raise UserError(f"num_steps {num_steps} is no multiple of max_seq_len {length}", "change one of them")


class OnPolicyAlgorithm(BatchedAlgorithm):
    """One iteration: every runner fills a fragment, the learner passes over all of it, weights go back."""

    def setup(self, config: Any) -> None:
        """RLlib's constructor."""
        super().setup(config)
        self.return_scale = ReturnScale(self.config.gamma)
        self.activity = Activity()

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {**super().get_state(*args, **kwargs), _RETURN_SCALE: self.return_scale.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`get_state`."""
        super().set_state(state)
        if _RETURN_SCALE in state:
            self.return_scale.set_state(state[_RETURN_SCALE])

    def _calibrate(self) -> None:
        """Where a firing rate is wanted, scale the initial weights on a first fragment, from which nothing is learned.

        Its steps count. Every learner computes the same factors, from the same weights and observations.
        """
        if self._steps() > 0:
            return
        network: ActorCritic = self.get_module().network
        rate = network.config.firing_rate if isinstance(network.config, SpikingPolicy) else None
        if rate is None:
            return
        rollouts = self._sample()
        self._measure(rollouts, currents=False)
        most = most_rows(network)
        if network.state_size:  # sequences from an episode's start, for no state is known that the weights lead to
            first = rollouts[0]
            steps = min(len(first.valid), most)
            envs = max(1, most // steps)
            observations, starts = first.observations[:steps, :envs], first.starts[:steps, :envs]
        else:
            observations = sample_rows(rollouts, most)[0][None]
            starts = np.zeros(observations.shape[:2], np.bool_)
        seen = (torch.from_numpy(observations), torch.from_numpy(starts))
        found = self.learner_group.foreach_learner(partial(_calibrated, rate=rate, seen=seen))
        push_weights(self.env_runner_group, self.learner_group)
        factors = next(iter(found)).get()
        if isinstance(factors, Exception):
            raise factors
        of_bodies = zip(("actor", "critic"), factors, strict=False)
        told = "; ".join(f"{name} {', '.join(f'{f:.3g}' for f in layers)}" for name, layers in of_bodies)
        self.activity.tell(f"initial weights scaled for a firing rate of {percent(rate)} of each layer: by {told}")

    def _measure(self, rollouts: Sequence[Rollout], *, currents: bool = True) -> None:
        """Let the network's normalisers see the observations, after they were learned from as they were met."""
        seen = met(self.get_module().network, rollouts, currents=currents)
        if seen is not None:
            self.learner_group.foreach_learner(lambda learner: measure(network_of(learner), seen))

    def _learn_from(self, rollouts: Sequence[Rollout]) -> list[Any]:
        """Learn from what all runners collected, then measure it."""
        config, rewards = self.config, self.config.environment_settings
        scale = self.return_scale.update(rollouts) if rewards.normalise_rewards else 1.0
        batch = train_batch(
            rollouts, gamma=config.gamma, reward_scale=rewards.reward_scale * scale, **asdict(config.estimate)
        )
        learned = self._learn(batch)
        self._measure(rollouts)
        return learned

    def _learn(self, batch: Batch) -> list[Any]:
        """Pass over the batch, in this process or in those of the learners.

        Raises:
            UserError: if a learner died, or there are more than a minibatch has sequences (or steps) for.
        """
        config, number = self.config, self.config.num_learners
        minibatches = num_minibatches(batch, config.minibatch_size)
        if minibatches * number > num_rows(batch):
            problem = f"{num_rows(batch)} sequences in {minibatches} minibatches cannot be shared by {number} learners"
            raise UserError(problem, "choose fewer --num-learners, a larger minibatch_size or a smaller max_seq_len")
        parts = [MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(s)}, num_valid(s)) for s in shares(batch, number or 1)]
        try:
            learned = self.learner_group.update(
                training_data=TrainingData(batches=parts) if number else TrainingData(batch=parts[0]),
                timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self._steps()},
                num_epochs=config.num_epochs,
                # As many for each learner, or one would wait for the others.
                num_total_minibatches=minibatches,
            )
        except (RayError, RuntimeError) as error:
            if number and self.learner_group._worker_manager.num_healthy_actors() < number:
                raise worker_died() from error
            raise
        return list(learned)

    def training_step(self) -> None:
        """Sample, learn, synchronise."""
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            self._calibrate()
            rollouts: list[Rollout] = self._sample()
        self.activity.note(self.get_module().network, partial(sample_rows, rollouts))
        began = time.perf_counter()
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)):
            self.metrics.aggregate(self._learn_from(rollouts), key=LEARNER_RESULTS)
        self.metrics.log_value((SECONDS, "learner"), time.perf_counter() - began, reduce="sum")
        with self.metrics.log_time((TIMERS, SYNCH_WORKER_WEIGHTS_TIMER)):
            push_weights(self.env_runner_group, self.learner_group)


def _calibrated(learner: Any, rate: float, seen: tuple[torch.Tensor, ...]) -> Any:
    network = network_of(learner)
    device = next(network.parameters()).device
    return network.calibrate(rate, *(tensor.to(device) for tensor in seen))

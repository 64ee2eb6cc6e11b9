"""The learner of fragments that older weights have collected.

Legend: T environment steps of a fragment, N environments.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import ray
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from synrl_ray.algorithms.device import on_device
from synrl_ray.algorithms.impala.vtrace import vtrace
from synrl_ray.algorithms.on_policy.learner import OnPolicyLearner
from synrl_ray.algorithms.on_policy.measuring import measure, met, most_rows, network_of
from synrl_ray.algorithms.on_policy.train_batch import (
    Batch,
    arranged,
    batch_of,
    collected,
    fragments,
    num_minibatches,
    num_valid,
    standardise_together,
)
from synrl_ray.errors import UserError
from synrl_ray.sampling.asynchronous import Fragment
from synrl_ray.sampling.return_scale import ReturnScale
from synrl_ray.sampling.rollout import Rollout, sample_rows

_REPORT_SECONDS = 0.5
_FETCH_SECONDS, _FETCH_SECONDS_AFTER_LOSS = 10.0, 1.0
"""For a fragment to come: from a host that is cut off Ray would wait for some minutes. What else has been asked of that
host is in this batch and those after it, which wait less, until one is whole again."""


class Learned(NamedTuple):
    """What the driver hears of a batch."""

    version: int
    """Updates so far."""
    weights: ray.ObjectRef | None
    """State of the module, from a first learner in a process of its own."""
    lags: tuple[int, ...]
    """Updates between the weights that collected each fragment and those that learned from it."""
    too_old: tuple[int, ...]
    """Env runners whose fragments were left out."""
    num_lost: int
    """Fragments that could not be fetched: their env runner has died, or its host cannot be reached."""
    seconds: float
    metrics: Any | None
    """Since the last ones; now and then only."""
    rates: Sequence[float] | None
    """Firing rates of the actor's layers, with the metrics."""


class ImpalaLearner(OnPolicyLearner):
    """Learns from :class:`~synrl_ray.sampling.asynchronous.Fragment`, the oldest batch first.

    Carried states are replayed from those at the start of each sequence, and the value of what followed a fragment is
    taken over from it: before and after, it is as the weights saw it that acted. All else is by the weights that learn.
    """

    def build(self) -> None:
        """Build the module and its optimizer."""
        super().build()
        self.version = 0
        """Updates so far."""
        self.return_scale = ReturnScale(self.config.gamma)
        self._reported = 0.0
        self._template: list[Fragment] = []
        self._fragments: list[Rollout] = []
        self._patience = _FETCH_SECONDS

    def begin(self, return_scale: dict[str, Any]) -> None:
        """Count updates anew, with the rewards' scale of a checkpoint."""
        self.version = 0
        self.return_scale.set_state(return_scale)

    def update(self, *, training_data: TrainingData, timesteps: Any = None, **kwargs: Any) -> Learned:
        """One batch of fragments, of which those are left out that are too old.

        Args:
            training_data: with references to fragments as ``batch_refs``, or a list of them as ``episodes``.
            timesteps: of RLlib's schedules.
            **kwargs: RLlib's, of which none is used.

        Raises:
            NonFiniteError: instead of stepping on a loss that is NaN or infinite.
        """
        began = time.perf_counter()
        received = training_data.episodes or self._fetched(training_data.batch_refs)
        found = [fragment for fragment in received if fragment is not None]
        version, most = self.version, self.config.settings.max_lag
        used = [fragment for fragment in found if version - fragment.version <= most]
        left_out = [fragment for fragment in found if version - fragment.version > most]
        lags = tuple(version - fragment.version for fragment in used)
        if self.distributed:  # every learner takes part in every step: what is left out stays, as steps without loss
            used += map(_masked, left_out)
            used += map(_masked, self._template[: len(received) - len(used)])
            if len(used) < len(received):
                raise UserError("an env runner was lost before anything was learned", "start the run again")
            self._template = used
        if used:
            self._learn_from(used, timesteps)
        is_due = not self.config.num_learners or time.monotonic() - self._reported > _REPORT_SECONDS
        self._reported = time.monotonic() if is_due else self._reported
        return Learned(
            version=self.version,
            weights=ray.put(self._module_state()) if self.config.num_learners and not self._learner_index else None,
            lags=lags,
            too_old=tuple(fragment.runner for fragment in left_out),
            num_lost=len(received) - len(found),
            metrics=self.metrics.reduce() if is_due else None,
            rates=self._rates() if is_due and used else None,
            seconds=time.perf_counter() - began,
        )

    def _fetched(self, references: Sequence[ray.ObjectRef]) -> list[Fragment | None]:
        """``None`` for each whose env runner has died, and the fragment with it, or cannot be reached."""
        found: list[Fragment | None] = []
        is_whole = True
        for reference in references:  # one by one: after the first that does not come the others are waited for less
            fragment = None
            try:
                with suppress(ray.exceptions.ObjectLostError):
                    fragment = ray.get(reference, timeout=self._patience)
            except ray.exceptions.GetTimeoutError:
                self._patience, is_whole = _FETCH_SECONDS_AFTER_LOSS, False
            found.append(fragment)
        self._patience = _FETCH_SECONDS if is_whole else self._patience
        return found

    def _learn_from(self, used: list[Fragment], timesteps: Any) -> None:
        settings, rewards = self.config.settings, self.config.environment_settings
        scale = rewards.reward_scale
        if rewards.normalise_rewards:
            scale *= self.return_scale.update([f.rollout for f in used], sources=[f.runner for f in used])
        self._fragments = [replace(f.rollout, rewards=f.rollout.rewards * np.float32(scale)) for f in used]
        batch = batch_of([collected(rollout) for rollout in self._fragments], self._fragments, every_row=True)
        size = settings.minibatch_size
        parts = num_minibatches(batch, None if size is None else max(1, size // max(1, self.config.num_learners)))
        self._is_single = parts == settings.num_epochs == 1
        if not self._is_single:
            batch = on_device(batch, self)
            with torch.no_grad():
                batch = self._with_estimates(batch, self._outputs(batch))
        super().update(
            training_data=TrainingData(
                batch=MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(batch)}, num_valid(batch))
            ),
            timesteps=timesteps,
            num_epochs=settings.num_epochs,
            num_total_minibatches=parts,
            _no_metrics_reduce=True,
        )
        network = network_of(self)
        seen = met(network, self._fragments)
        if seen is not None:
            measure(network, seen)
        self.version += 1

    def _estimated(self, minibatch: Batch, outputs: dict[str, Any]) -> Batch:
        return self._with_estimates(minibatch, outputs) if self._is_single else minibatch

    def _with_estimates(self, batch: Batch, outputs: dict[str, Any]) -> Batch:
        """The batch with advantages and value targets, by the network's outputs for all of it."""
        config, settings = self.config, self.config.settings
        distribution = network_of(self).distribution
        with torch.no_grad():
            logp = distribution.logp_and_entropy(outputs[Columns.ACTION_DIST_INPUTS], batch[Columns.ACTIONS])[0]
            of_fragments = partial(fragments, rollouts=self._fragments)
            ratios = of_fragments((logp - batch[Columns.ACTION_LOGP]).exp())
        values = of_fragments(outputs[Columns.EMBEDDINGS])
        columns = []
        for rollout, value, ratio in zip(self._fragments, values, ratios, strict=True):
            targets, advantages = vtrace(
                rollout,
                np.concatenate((value, rollout.values[-1:])),
                ratio,
                gamma=config.gamma,
                gae_lambda=settings.gae_lambda,
                rho_clip=settings.rho_clip,
                c_clip=settings.c_clip,
            )
            if config.clip_param is None:  # else the surrogate has a ratio of its own
                advantages *= np.minimum(settings.rho_clip, ratio)
            columns.append({Columns.ADVANTAGES: advantages, Columns.VALUE_TARGETS: targets})
        if config.clip_param is not None:
            valid = [rollout.valid for rollout in self._fragments]
            standardise_together([column[Columns.ADVANTAGES] for column in columns], valid)
        return {**batch, **on_device(arranged(columns, self._fragments, every_row=True), self)}

    def _rates(self) -> Sequence[float]:
        network, device = network_of(self), self.device
        observations, states = sample_rows(self._fragments, most_rows(network))
        if not len(observations):
            return []
        return network.firing_rates(torch.from_numpy(observations).to(device), torch.from_numpy(states).to(device))

    def _module_state(self) -> Any:
        return self.module[DEFAULT_MODULE_ID].unwrapped().get_state()


def _masked(fragment: Fragment) -> Fragment:
    rollout = fragment.rollout
    return fragment._replace(rollout=replace(rollout, valid=np.zeros_like(rollout.valid)))

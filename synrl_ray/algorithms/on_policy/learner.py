"""Learners from rollouts: exact minibatches, one lean step each, and a stop at the first NaN."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.policy.sample_batch import MultiAgentBatch
from torch import Tensor

from synrl_ray.algorithms.descent import adam, descend, first_not_finite
from synrl_ray.algorithms.device import on_device, require_device
from synrl_ray.algorithms.on_policy.fused_loss import fits, fused_loss
from synrl_ray.algorithms.on_policy.loopback_store import serve_stores_on_loopback
from synrl_ray.algorithms.on_policy.losses import Loss, policy_gradient_loss, ppo_loss
from synrl_ray.algorithms.on_policy.rmsprop import RMSpropTF
from synrl_ray.algorithms.on_policy.train_batch import Batch, minibatches, num_minibatches, num_valid
from synrl_ray.errors import NonFiniteError
from synrl_ray.policies.actions.base import ActionDistribution
from synrl_ray.rl_modules.actor_critic import RATES
from synrl_ray.settings.algorithms import WithRMSprop
from synrl_ray.snn.device import compute_alone, network_pass, widened
from synrl_ray.snn.rates import excess


class OnPolicyLearner(TorchLearner):
    """Learns from a :func:`~synrl_ray.algorithms.on_policy.train_batch.train_batch`, a step for each minibatch: by the
    clipped surrogate objective where the configuration has a ``clip_param``, else by the plain policy gradient.

    Raises:
        NonFiniteError: instead of stepping on a loss that is NaN or infinite.
    """

    _minibatches: Iterator[Batch]
    _terms: Loss | None = None
    """Of the last minibatch with valid steps."""

    def __init__(self, *, config: Any, **options: Any) -> None:
        super().__init__(config=config, **options)
        if config.num_learners:
            serve_stores_on_loopback()

    def loss(
        self, config: Any, distribution: ActionDistribution, *, inputs: Tensor, actions: Tensor, **columns: Any
    ) -> Loss:
        """The loss from distribution inputs, actions, ``values`` and the batch's columns, of M steps."""
        settings: dict[str, Any] = dict(config.coefficients)
        if config.clip_param is None:
            del columns["old_logp"]
        else:
            settings["clip_param"] = config.clip_param
        if fits(distribution, inputs):
            return fused_loss(logits=inputs, actions=actions, **columns, **settings)
        logp, entropy = distribution.logp_and_entropy(inputs, actions)
        of_policy = policy_gradient_loss if config.clip_param is None else ppo_loss
        return of_policy(logp=logp, entropy=entropy, **columns, **settings)

    def build(self) -> None:
        """Build the module and its optimizer, for one thread."""
        compute_alone()
        super().build()
        require_device(self)

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """One optimiser for all weights that need a gradient."""
        parameters = [p for p in self.get_parameters(self._module[module_id]) if p.requires_grad]
        self.register_optimizer(
            module_id=module_id,
            optimizer=self.optimiser(parameters),
            params=parameters,
            lr_or_lr_schedule=config.lr,
        )

    def optimiser(self, parameters: list[Tensor]) -> torch.optim.Optimizer:
        """The settings' one, or Adam; RLlib sets its learning rate."""
        settings = self.config.settings
        if isinstance(settings, WithRMSprop) and settings.optimizer == "rmsprop":
            return RMSpropTF(parameters, alpha=settings.rmsprop_alpha, eps=settings.rmsprop_eps)
        return adam(parameters)

    def _create_iterator_if_necessary(
        self,
        *,
        training_data: Any,
        num_epochs: int = 1,
        minibatch_size: int | None = None,
        num_total_minibatches: int = 0,
        **kwargs: Any,
    ) -> Iterator[MultiAgentBatch]:
        # The whole batch at once: RLlib's bookkeeping for each item costs as much as a small network's step.
        batch = on_device(dict(training_data.batch.policy_batches[DEFAULT_MODULE_ID]), self)
        parts = num_total_minibatches or num_minibatches(batch, minibatch_size)
        self._minibatches = minibatches(batch, num_epochs, parts)
        yield training_data.batch

    def _update(self, batch: dict[str, Any], **kwargs: Any) -> tuple[Any, Any, Any]:
        (optimizer,) = self._named_optimizers.values()
        wanted = {"rates": True} if self.config.settings.rate_penalty else {}
        for minibatch in self._minibatches:
            if not self.distributed and not num_valid(minibatch):
                continue
            outputs = self._outputs(minibatch, **wanted)
            minibatch = self._estimated(minibatch, outputs)
            loss = self.compute_loss_for_module(
                module_id=DEFAULT_MODULE_ID, config=self.config, batch=minibatch, fwd_out=outputs
            )
            descend(loss, optimizer, self.config.grad_clip)
        return {DEFAULT_MODULE_ID: outputs}, {DEFAULT_MODULE_ID: loss.detach()}, {}

    def _outputs(self, batch: Batch, **wanted: bool) -> dict[str, Any]:
        """Those of the module's pass, in float32."""
        precision = self.config.settings.precision
        with network_pass(precision, self.device):
            outputs: dict[str, Any] = self.module[DEFAULT_MODULE_ID].forward_train(batch, **wanted)
        return outputs if precision == "float32" else widened(outputs)

    def _estimated(self, minibatch: Batch, outputs: dict[str, Any]) -> Batch:
        """The minibatch with advantages and value targets, where they follow from the network's outputs."""
        return minibatch

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Tensor:
        """The algorithm's loss over the valid steps, checked; of several learners, each one's part of it."""
        columns: dict[str, Any] = {
            "inputs": fwd_out[Columns.ACTION_DIST_INPUTS],
            "actions": batch[Columns.ACTIONS],
            "values": fwd_out[Columns.EMBEDDINGS],
            "old_logp": batch[Columns.ACTION_LOGP],
            "advantages": batch[Columns.ADVANTAGES],
            "value_targets": batch[Columns.VALUE_TARGETS],
        }
        if RATES in fwd_out:
            columns[RATES] = fwd_out[RATES]
        if Columns.LOSS_MASK in batch:
            columns = {name: column[batch[Columns.LOSS_MASK]] for name, column in columns.items()}
        number = num_valid(batch)
        if number:
            rates = columns.pop(RATES, None)
            self._terms = self.loss(config, self.module[module_id].unwrapped().network.distribution, **columns)
            if rates is not None:
                penalty = config.settings.rate_penalty * excess(rates, config.settings.rate_target).mean()
                self._terms = replace(self._terms, total=self._terms.total + penalty)
            total = self._terms.total
        else:  # another learner has the valid steps, and waits for this one's gradient
            total = sum(values.sum() for values in (columns["inputs"], columns["values"])) * 0.0
        is_finite = bool(torch.isfinite(total))
        if self.distributed:
            weight, is_finite = weight_among_learners(number, is_finite, total.device)
            total = total * weight
        if not is_finite:
            name = first_not_finite({"batch": batch, "network output": fwd_out}) or "the total loss"
            raise NonFiniteError(name, f"module {module_id!r}")
        return total

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Log the last minibatch's terms."""
        super().after_gradient_based_update(timesteps=timesteps)
        if self._terms is not None:
            told = {name: value.detach() for name, value in self._terms.told.items()}
            self.metrics.log_dict(told, key=DEFAULT_MODULE_ID, window=1)


def weight_among_learners(number: int, is_finite: bool, device: torch.device | None = None) -> tuple[float, bool]:
    """What this learner's mean over so many steps counts in the mean of all learners, which their gradients are
    averaged to, and whether the loss of every learner is finite: if not, all stop, and none waits for another. Learners
    on GPUs speak through these."""
    every = torch.tensor([float(number), float(not is_finite)], dtype=torch.float64, device=device)
    torch.distributed.all_reduce(every)
    return number * torch.distributed.get_world_size() / max(1.0, float(every[0])), not every[1]

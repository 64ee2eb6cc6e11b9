"""Learners from rollouts: exact minibatches, one lean step each, and a stop at the first NaN."""

from __future__ import annotations

from abc import abstractmethod
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
from synrl_ray.algorithms.on_policy.fused_loss import fits, fused_loss
from synrl_ray.algorithms.on_policy.loopback_store import serve_stores_on_loopback
from synrl_ray.algorithms.on_policy.losses import Terms, policy_gradient_loss
from synrl_ray.algorithms.on_policy.train_batch import Batch, minibatches, num_minibatches, num_valid
from synrl_ray.errors import NonFiniteError
from synrl_ray.policies.actions.base import ActionDistribution
from synrl_ray.rl_modules.actor_critic import RATES
from synrl_ray.snn.rates import excess


class OnPolicyLearner(TorchLearner):
    """Learns from a :func:`~synrl_ray.algorithms.on_policy.train_batch.train_batch`, a step for each minibatch.

    Raises:
        NonFiniteError: instead of stepping on a loss that is NaN or infinite.
    """

    _minibatches: Iterator[Batch]

    def __init__(self, *, config: Any, **options: Any) -> None:
        super().__init__(config=config, **options)
        if config.num_learners:
            serve_stores_on_loopback()

    @abstractmethod
    def loss(
        self, config: Any, distribution: ActionDistribution, *, inputs: Tensor, actions: Tensor, **columns: Any
    ) -> Terms:
        """The loss from distribution inputs, actions, ``values`` and the batch's columns, of M steps."""

    def build(self) -> None:
        """Build the module and its optimizer, for one thread: small networks lose by more."""
        torch.set_num_threads(1)
        super().build()

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
        """Adam; RLlib sets its learning rate."""
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
        batch = dict(training_data.batch.policy_batches[DEFAULT_MODULE_ID])
        parts = num_total_minibatches or num_minibatches(batch, minibatch_size)
        self._minibatches = minibatches(batch, num_epochs, parts)
        yield training_data.batch

    def _update(self, batch: dict[str, Any], **kwargs: Any) -> tuple[Any, Any, Any]:
        module = self.module[DEFAULT_MODULE_ID]
        (optimizer,) = self._named_optimizers.values()
        wanted = {"rates": True} if self.config.settings.rate_penalty else {}
        for minibatch in self._minibatches:
            if not self.distributed and not num_valid(minibatch):
                continue
            outputs = module.forward_train(minibatch, **wanted)
            loss = self.compute_loss_for_module(
                module_id=DEFAULT_MODULE_ID, config=self.config, batch=minibatch, fwd_out=outputs
            )
            descend(loss, optimizer, self.config.grad_clip)
        return {DEFAULT_MODULE_ID: outputs}, {DEFAULT_MODULE_ID: loss.detach()}, {}

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
            weight, is_finite = weight_among_learners(number, is_finite)
            total = total * weight
        if not is_finite:
            name = first_not_finite({"batch": batch, "network output": fwd_out}) or "the total loss"
            raise NonFiniteError(name, f"module {module_id!r}")
        return total

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Log the last minibatch's terms."""
        super().after_gradient_based_update(timesteps=timesteps)
        terms = self._terms
        values = {"policy_loss": terms.policy, "vf_loss": terms.value, "entropy": terms.entropy}
        self.metrics.log_dict({name: value.detach() for name, value in values.items()}, key=DEFAULT_MODULE_ID, window=1)


class PolicyGradientLearner(OnPolicyLearner):
    """The plain policy gradient of A2C and REINFORCE."""

    def loss(
        self, config: Any, distribution: ActionDistribution, *, inputs: Tensor, actions: Tensor, **columns: Any
    ) -> Terms:
        """See :func:`synrl_ray.algorithms.on_policy.losses.policy_gradient_loss`."""
        del columns["old_logp"]
        if fits(distribution, inputs):
            return fused_loss(logits=inputs, actions=actions, **columns, **config.coefficients)
        logp, entropy = distribution.logp_and_entropy(inputs, actions)
        return policy_gradient_loss(logp=logp, entropy=entropy, **columns, **config.coefficients)


def weight_among_learners(number: int, is_finite: bool) -> tuple[float, bool]:
    """What this learner's mean over so many steps counts in the mean of all learners, which their gradients are
    averaged to, and whether the loss of every learner is finite: if not, all stop, and none waits for another."""
    every = torch.tensor([float(number), float(not is_finite)], dtype=torch.float64)
    torch.distributed.all_reduce(every)
    return number * torch.distributed.get_world_size() / float(every[0]), not every[1]

"""What the learners of algorithms share that learn from a replay."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from torch import Tensor

from synrl_ray.algorithms.descent import adam, descend, first_not_finite
from synrl_ray.algorithms.device import require_device
from synrl_ray.errors import NonFiniteError


class ReplayLearner(DQNTorchLearner):
    """RLlib's losses and target updates, in lean steps.

    Raises:
        NonFiniteError: instead of stepping on a loss or gradient that is NaN or infinite.
    """

    def build(self) -> None:
        """Build everything; RLlib calls this."""
        super().build()
        require_device(self)

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

    def register_adam(self, module_id: str, groups: list[list[torch.nn.Parameter]], lr: Any) -> None:
        """Train these groups of parameters, whose gradients are bounded each, with one Adam."""
        self.register_optimizer(
            module_id=module_id,
            optimizer=adam([{"params": group} for group in groups]),
            params=[parameter for group in groups for parameter in group],
            lr_or_lr_schedule=lr,
        )

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Tensor:
        """RLlib's loss, checked."""
        loss = super().compute_loss_for_module(module_id=module_id, config=config, batch=batch, fwd_out=fwd_out)
        if not torch.isfinite(loss):
            name = first_not_finite({"batch": batch, "network output": fwd_out}) or "the total loss"
            raise NonFiniteError(name, f"module {module_id!r}")
        return loss

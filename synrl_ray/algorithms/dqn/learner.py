"""DQN's learner."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from torch import Tensor

from synrl_ray.algorithms.descent import descend, first_not_finite
from synrl_ray.errors import NonFiniteError


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

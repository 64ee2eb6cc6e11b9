"""Stop at the first tensor that is not finite, before it reaches the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from torch import Tensor

from synrl_ray.errors import NonFiniteError


class FinitePPOLearner(PPOTorchLearner):
    """PPO's learner, which raises :class:`NonFiniteError` instead of stepping on a NaN or infinite loss.

    RLlib averages losses in a way that skips NaN, so a driver cannot see them in the metrics.
    """

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Tensor:
        """The PPO loss, checked."""
        loss: Tensor = super().compute_loss_for_module(module_id=module_id, config=config, batch=batch, fwd_out=fwd_out)
        if not torch.isfinite(loss):
            name = _first_not_finite({"batch": batch, "network output": fwd_out}) or "the total loss"
            raise NonFiniteError(name, f"module {module_id!r}")
        return loss


def _first_not_finite(groups: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Name the first floating tensor with a NaN or infinity, inputs before outputs."""
    for group, tensors in groups.items():
        for name, tensor in tensors.items():
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and not torch.isfinite(tensor).all():
                return f"{group} {name!r}"
    return None

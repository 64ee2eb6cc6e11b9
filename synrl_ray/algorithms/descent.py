"""One lean gradient step that stops at the first NaN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from torch import Tensor

from synrl_ray.errors import NonFiniteError


def descend(loss: Tensor, optimizer: torch.optim.Optimizer, grad_clip: float | None) -> None:
    """One step down the gradient, its global norm bounded.

    Raises:
        NonFiniteError: instead of a step where that norm is NaN or infinite.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter in parameters:
        parameter.grad = None
    loss.backward()
    if grad_clip is not None:
        norm = torch.nn.utils.clip_grad_norm_(parameters, grad_clip)
        if not torch.isfinite(norm):
            raise NonFiniteError("the gradient's norm", f"module {DEFAULT_MODULE_ID!r}")
    optimizer.step()


def first_not_finite(groups: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Name the first floating tensor with a NaN or infinity, inputs before outputs."""
    for group, tensors in groups.items():
        for name, tensor in tensors.items():
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and not torch.isfinite(tensor).all():
                return f"{group} {name!r}"
    return None

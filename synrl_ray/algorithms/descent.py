"""One lean gradient step that stops at the first NaN."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from torch import Tensor

from synrl_ray.errors import NonFiniteError


def descend(loss: Tensor, optimizer: torch.optim.Optimizer, grad_clip: float | None) -> None:
    """One step down the gradient, whose global norm is bounded, in each of the optimiser's groups of its own.

    Raises:
        NonFiniteError: instead of a step where such a norm is NaN or infinite.
    """
    groups = [group["params"] for group in optimizer.param_groups]
    for parameter in chain.from_iterable(groups):
        parameter.grad = None
    loss.backward()
    if grad_clip is not None:
        norms = [torch.nn.utils.clip_grad_norm_(parameters, grad_clip) for parameters in groups]
        if not all(torch.isfinite(norm) for norm in norms):
            raise NonFiniteError("the gradient's norm", f"module {DEFAULT_MODULE_ID!r}")
    optimizer.step()


def adam(parameters: Any) -> torch.optim.Adam:
    """Adam in one kernel, which reads memory as it lies: what is loaded is laid out as the parameters are."""
    optimizer = torch.optim.Adam(parameters, fused=True)
    optimizer.register_load_state_dict_post_hook(_lay_out)
    return optimizer


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def first_not_finite(groups: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Name the first floating tensor with a NaN or infinity, inputs before outputs."""
    for group, tensors in groups.items():
        for name, tensor in tensors.items():
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and not torch.isfinite(tensor).all():
                return f"{group} {name!r}"
    return None

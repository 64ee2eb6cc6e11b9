"""Members of a module without the attribute search of torch, which takes a third of a small network's inference."""

from __future__ import annotations

from typing import Any

from torch import nn


def member(module: nn.Module, name: str) -> Any:
    """``getattr(module, name)``, faster where that is a parameter, buffer or submodule of its own.

    Example:
        >>> linear = nn.Linear(2, 3)
        >>> member(linear, "weight") is linear.weight, member(linear, "in_features")
        (True, 2)
    """
    if name in module._parameters:
        return module._parameters[name]
    if name in module._buffers:
        return module._buffers[name]
    if name in module._modules:
        return module._modules[name]
    return getattr(module, name)

"""What all kinds see of a network from within."""

from __future__ import annotations

import numpy as np
from torch import nn


def weights_of(network: nn.Module) -> dict[str, np.ndarray]:
    """The matrices and filters of a network; biases and single numbers say little in a histogram."""
    named = network.named_parameters()
    return {name: each.detach().cpu().numpy() for name, each in named if each.ndim > 1}


def parameters_of(network: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(each.numel() for each in network.parameters())

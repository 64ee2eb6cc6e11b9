"""A network of a user's own, which workers of Ray's import."""

from __future__ import annotations

from typing import Any

import snntorch
from torch import Tensor, nn


class OwnNet(nn.Module):
    """One layer of snnTorch's neurons."""

    def __init__(self, shape: tuple[int, ...], num_outputs: int, settings: Any) -> None:
        super().__init__()
        self.hidden, self.outputs = nn.Linear(shape[0], 16), nn.Linear(16, num_outputs)
        self.lif = snntorch.Leaky(beta=settings.beta)
        self.state_size = 16

    def forward(self, inputs: Tensor, membrane: Tensor) -> tuple[Tensor, Tensor]:
        """Take one simulation step."""
        spikes, membrane = self.lif(self.hidden(inputs), membrane)
        return self.outputs(spikes), membrane

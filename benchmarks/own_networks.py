"""Networks of a user's own, for composition.py: each computes one simulation step."""

from __future__ import annotations

import snntorch
import torch
from torch import Tensor, nn

from synrl_ray.settings.policies import SpikingPolicy


class TwoLayers(nn.Module):
    """Two layers of ``snntorch.Leaky``; their membranes are the state, side by side."""

    def __init__(self, shape: tuple[int, ...], num_outputs: int, settings: SpikingPolicy) -> None:
        super().__init__()
        first, second = self.sizes = list(settings.hidden_sizes)
        self.inner, self.outer = nn.Linear(shape[0], first), nn.Linear(first, second)
        self.outputs = nn.Linear(second, num_outputs)
        self.lif_inner, self.lif_outer = snntorch.Leaky(beta=settings.beta), snntorch.Leaky(beta=settings.beta)
        self.state_size = first + second

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and the next state."""
        membranes = state.split(self.sizes, dim=1)
        spikes, inner = self.lif_inner(self.inner(inputs), membranes[0])
        spikes, outer = self.lif_outer(self.outer(spikes), membranes[1])
        return self.outputs(spikes), torch.cat((inner, outer), dim=1)


class Recurrent(nn.Module):
    """One layer of ``snntorch.RLeaky``, whose spikes come back to it."""

    def __init__(self, shape: tuple[int, ...], num_outputs: int, settings: SpikingPolicy) -> None:
        super().__init__()
        size = settings.hidden_sizes[0]
        self.hidden, self.outputs = nn.Linear(shape[0], size), nn.Linear(size, num_outputs)
        self.neurons = snntorch.RLeaky(beta=settings.beta, linear_features=size)
        self.state_size = 2 * size

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and the next state: spikes and membranes."""
        spikes, membranes = self.neurons(self.hidden(inputs), *state.chunk(2, dim=1))
        return self.outputs(spikes), torch.cat((spikes, membranes), dim=1)


class TwoJellyLayers(nn.Module):
    """The first network with SpikingJelly's neurons, which reset to zero."""

    def __init__(self, shape: tuple[int, ...], num_outputs: int, settings: SpikingPolicy) -> None:
        super().__init__()
        from spikingjelly.activation_based.neuron import LIFNode

        first, second = self.sizes = list(settings.hidden_sizes)
        self.inner, self.outer = nn.Linear(shape[0], first), nn.Linear(first, second)
        self.outputs = nn.Linear(second, num_outputs)
        tau = 1 / (1 - settings.beta)
        self.neurons = nn.ModuleList(LIFNode(tau=tau, decay_input=False, v_reset=0.0) for _ in self.sizes)
        self.state_size = first + second

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and the next state."""
        spikes, after = inputs, []
        for layer, neuron, membrane in zip(
            (self.inner, self.outer), self.neurons, state.split(self.sizes, dim=1), strict=True
        ):
            neuron.v = membrane
            spikes = neuron(layer(spikes))
            after.append(neuron.v)
        return self.outputs(spikes), torch.cat(after, dim=1)

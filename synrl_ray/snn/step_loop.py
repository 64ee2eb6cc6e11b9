"""Any snntorch neuron as a layer over time, through a loop over its steps."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn


class SnnTorchLayer(nn.Module):
    """Run a neuron of snntorch (``Alpha``, ``Lapicque``, ``RLeaky``, …) with explicit state and reset masks.

    One autograd node per operation and step: slower than the fused neurons, which cover ``Leaky`` and
    ``Synaptic``. The state tensors that the neuron takes lie side by side in one row per batch entry. An ``RLeaky``
    or ``RSynaptic`` also carries its last spikes.

    Args:
        neuron: a neuron of snntorch that was built without ``init_hidden``.

    Shape:
        current ``[T, B, N]``, state ``[B, states_per_neuron * N]``, reset_mask ``[T, B]``
        → spikes ``[T, B, N]``, state ``[B, states_per_neuron * N]``.

    Raises:
        ValueError: if the neuron hides its state or tensors do not fit.

    Example:
        >>> import snntorch
        >>> layer = SnnTorchLayer(snntorch.Alpha(alpha=0.9, beta=0.8))
        >>> spikes, state = layer(torch.ones(5, 2, 3))
        >>> layer.states_per_neuron, tuple(spikes.shape), tuple(state.shape)
        (3, (5, 2, 3), (2, 9))
    """

    def __init__(self, neuron: nn.Module) -> None:
        super().__init__()
        if getattr(neuron, "init_hidden", False):
            raise ValueError("the neuron was built with init_hidden=True: its state must be passed explicitly")
        self.neuron = neuron
        self.states_per_neuron = len(inspect.signature(neuron.forward).parameters) - 1
        if self.states_per_neuron < 1:
            raise ValueError(f"{type(neuron).__name__} takes no state")
        self.is_recurrent = hasattr(neuron, "recurrent")

    def forward(
        self, current: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return spikes ``[T, B, N]`` and the final state."""
        _, batch, num_neurons = current.shape
        width = self.states_per_neuron * num_neurons
        if state is None:
            state = current.new_zeros(batch, width)
        elif state.shape != (batch, width):
            raise ValueError(f"state must be {(batch, width)}, got {tuple(state.shape)}")
        states: Any = state.chunk(self.states_per_neuron, dim=1)
        spikes = []
        for t, i_t in enumerate(current.unbind(0)):
            if reset_mask is not None:
                keep = (~reset_mask[t]).to(i_t.dtype).unsqueeze(-1)
                states = [s * keep for s in states]
            results = self.neuron(i_t, *states)
            states = results if self.is_recurrent else results[1:]
            spikes.append(results[0].to(i_t.dtype))
        return torch.stack(spikes), torch.cat([s.to(current.dtype) for s in states], dim=1)

"""Neurons of snnTorch as layers over time, through a loop over their steps."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from synrl_ray.snn.functional import spike
from synrl_ray.snn.surrogate import Surrogate

SnnTorchName = Literal["Leaky", "Synaptic", "Alpha", "Lapicque"]


class SnnTorchLayer(nn.Module):
    """A feed-forward neuron of snnTorch with explicit state and reset masks.

    The mathematics is that class's own, one autograd node per operation and step: slower than the fused neurons, which
    cover ``Leaky`` and most of ``Synaptic``. The state tensors that the class takes lie side by side in one row per
    batch entry, in its order; the module keeps nothing of them. Only learned parameters are part of the state
    dictionary, under snnTorch's names: all else follows from the arguments.

    Args:
        name: of the class in :mod:`snntorch`.
        surrogate: surrogate gradient of the spike; the formulas of :class:`Surrogate`.
        settings: arguments of the class, such as ``beta``, ``threshold``, ``learn_beta`` or ``reset_mechanism``.

    Shape:
        current ``[T, B, N]``, state ``[B, states_per_neuron * N]``, reset_mask ``[T, B]``
        → spikes ``[T, B, N]``, state ``[B, states_per_neuron * N]``.

    Raises:
        ValueError: for another name, arguments that the class refuses, or tensors that do not fit.

    Example:
        >>> layer = SnnTorchLayer("Alpha", alpha=0.9, beta=0.8)
        >>> spikes, state = layer(torch.ones(5, 2, 3))
        >>> layer.states_per_neuron, tuple(spikes.shape), tuple(state.shape)
        (3, (5, 2, 3), (2, 9))
    """

    def __init__(self, name: SnnTorchName, surrogate: Surrogate | None = None, **settings: Any) -> None:
        import snntorch  # only those who ask for its neurons wait for it

        super().__init__()
        if name not in get_args(SnnTorchName):
            raise ValueError(f"no layer of snntorch's {name!r}: choose one of {', '.join(get_args(SnnTorchName))}")
        device = torch.get_default_device()
        with torch.device("cpu"):  # its checks look at numbers, which torch's meta device has not
            spikes = partial(spike, surrogate=surrogate or Surrogate())
            neuron = getattr(snntorch, name)(spike_grad=spikes, **settings)
        snntorch.SpikingNeuron.instances.remove(neuron)  # a list of all neurons, which would keep each alive
        neuron._non_persistent_buffers_set.update(neuron._buffers)
        if device.type == "meta":  # fixed numbers stay, for no file brings them
            for parameter, value in neuron._parameters.items():
                neuron._parameters[parameter] = nn.Parameter(value.to(device))
        self.neuron = neuron.to(device) if device.type != "meta" else neuron
        self._states = tuple(inspect.signature(neuron.forward).parameters)[1:]
        self.states_per_neuron = len(self._states)

    def forward(
        self, current: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return spikes ``[T, B, N]`` and the final state."""
        if current.dim() != 3 or current.shape[0] < 1:
            raise ValueError(f"current must be [steps >= 1, batch, neurons], got {tuple(current.shape)}")
        _, batch, num_neurons = current.shape
        width = self.states_per_neuron * num_neurons
        if state is None:
            state = current.new_zeros(batch, width)
        elif state.shape != (batch, width):
            raise ValueError(f"state must be {(batch, width)}, got {tuple(state.shape)}")
        if reset_mask is not None and (reset_mask.shape != current.shape[:2] or reset_mask.dtype != torch.bool):
            raise ValueError(
                f"reset_mask must be bool {tuple(current.shape[:2])}, got {reset_mask.dtype} {tuple(reset_mask.shape)}"
            )
        states: tuple[Tensor, ...] = state.chunk(self.states_per_neuron, dim=1)
        spikes = []
        for t, i_t in enumerate(current.unbind(0)):
            if reset_mask is not None:
                states = tuple(s.masked_fill(reset_mask[t].unsqueeze(-1), 0.0) for s in states)
            fired, *states = self.neuron(i_t, *states)
            spikes.append(fired)
        self._forget(current)
        return torch.stack(spikes), torch.cat(states, dim=1)

    def _forget(self, like: Tensor) -> None:
        """Take from the module what the class has put there: its state, and which neurons were reset."""
        for name in self._states:
            setattr(self.neuron, name, like.new_zeros(0))
        self.neuron.reset = None

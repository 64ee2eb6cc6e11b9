"""Layers whose spikes come back to them: recurrent synapses around LIF and synaptic neurons."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from synrl_ray.snn.functional import spike
from synrl_ray.snn.neurons import LIF
from synrl_ray.snn.plain import is_plain
from synrl_ray.snn.recurrent_parameters import Parameters, Settings
from synrl_ray.snn.recurrent_scan import recurrent_scan
from synrl_ray.snn.synaptic import Synaptic

Recurrence = Literal["none", "one_to_one", "all_to_all"]


class OneToOne(nn.Module):
    """A synapse from each neuron to one, of uniform initial weight in [-1, 1], as of a linear map from one input.

    Shape:
        ``[..., N]`` → ``[..., N]``.
    """

    def __init__(self, num_neurons: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_neurons).uniform_(-1, 1))

    def forward(self, spikes: Tensor) -> Tensor:
        """Return what arrives."""
        return spikes * self.weight


class Recurrent(nn.Module):
    r"""A layer that receives, beside its input, its own spikes of the simulation step before.

    .. math:: i_t \leftarrow i_t + W s_{t-1}

    The spikes before follow from the membranes, so the state is that of the neurons. A masked row has fired nothing.
    Equal to ``snntorch.RLeaky`` around :class:`LIF` and ``snntorch.RSynaptic`` around :class:`Synaptic` for the resets
    ``"subtract"`` and ``"none"``; with ``"zero"`` snntorch also clears what arrives in the step of the reset, so that
    one-to-one synapses do nothing there. Its matrix has a bias, which the layer before has anyway. The time loop is one
    autograd node: :mod:`synrl_ray.snn.recurrent_scan`.

    Args:
        neuron: a :class:`LIF` or :class:`Synaptic`, whose parameters and settings count; its ``hold`` does not.
        num_neurons: N.
        kind: ``"one_to_one"`` for a learned weight of each neuron to itself, ``"all_to_all"`` for a learned matrix.

    Shape:
        current ``[T, B, N]``, state as of the neuron, reset_mask ``[T, B]`` → spikes ``[T, B, N]``, state.

    Raises:
        ValueError: for another neuron or kind, or tensors that do not fit.

    Example:
        >>> layer = Recurrent(LIF(beta=0.0), 1, "one_to_one")
        >>> _ = nn.init.constant_(layer.synapses.weight, 2.5)
        >>> layer(torch.tensor([2.0, 0.0, 0.0]).view(3, 1, 1))[0].flatten().tolist()  # u: 2, then 2.5 - 1 each
        [1.0, 1.0, 1.0]
    """

    def __init__(self, neuron: nn.Module, num_neurons: int, kind: Recurrence) -> None:
        super().__init__()
        if not isinstance(neuron, LIF | Synaptic):
            raise ValueError(f"recurrent synapses are of LIF and Synaptic neurons, got {type(neuron).__name__}")
        if kind not in get_args(Recurrence) or kind == "none":
            raise ValueError(f"unknown recurrence {kind!r}: choose one_to_one or all_to_all")
        self.neuron = neuron
        self.num_neurons = num_neurons
        self.states_per_neuron = neuron.states_per_neuron
        self.synapses = (
            OneToOne(num_neurons) if kind == "one_to_one" else nn.Linear(num_neurons, num_neurons, bias=False)
        )

    def forward(
        self, current: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return spikes ``[T, B, N]`` and the final state."""
        state = self._checked(current, state, reset_mask)
        membranes = self._membranes
        if not self._is_plain():
            return self._called(current, state, reset_mask)
        if isinstance(self.neuron, Synaptic):
            membrane, synaptic = state.chunk(2, dim=1)
            alpha = self.neuron.current.decay
        else:
            membrane, synaptic, alpha = state, torch.zeros_like(state), torch.zeros_like(membranes.threshold)
        spikes, membrane, synaptic = recurrent_scan(
            current,
            membrane,
            synaptic,
            Parameters(alpha, membranes.decay, membranes.threshold, self.synapses.weight),
            Settings(membranes.surrogate, membranes.reset),
            reset_mask,
            membranes.kernel,
        )
        return spikes, torch.cat((membrane, synaptic), dim=1) if isinstance(self.neuron, Synaptic) else membrane

    @torch.no_grad()
    def received(self, spikes: Tensor, state: Tensor, reset_mask: Tensor | None = None) -> Tensor:
        """What the recurrent synapses receive: the spikes ``[T, B, N]`` of the step before each one."""
        before = torch.cat((self._fired(state).unsqueeze(0), spikes[:-1]))
        return before if reset_mask is None else before.masked_fill(reset_mask.unsqueeze(-1), 0.0)

    @property
    def _membranes(self) -> LIF:
        return self.neuron.membrane if isinstance(self.neuron, Synaptic) else self.neuron

    def _fired(self, state: Tensor) -> Tensor:
        """The spikes ``[B, N]`` of the step that the state is after."""
        return spike(state[:, : self.num_neurons] - self._membranes.threshold, self._membranes.surrogate)

    def _is_plain(self) -> bool:
        """Whether calling the parts would do no more than the scan, which reads their parameters, does."""
        neuron = self.neuron
        parts = (neuron.current, neuron.membrane) if isinstance(neuron, Synaptic) else (neuron,)
        return (
            is_plain(self.synapses, type(self.synapses))
            and is_plain(neuron, type(neuron))
            and all(is_plain(part, LIF) for part in parts)
        )

    def _called(self, current: Tensor, state: Tensor, reset_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """The parts called step by step, for hooks and other tools of torch's."""
        spikes, fired = [], self._fired(state)
        for t, i_t in enumerate(current.split(1)):
            if reset_mask is not None:
                state, fired = (values.masked_fill(reset_mask[t].unsqueeze(-1), 0.0) for values in (state, fired))
            out, state = self.neuron(i_t + self.synapses(fired), state)
            spikes.append(out)
            fired = out[0]
        return torch.cat(spikes), state

    def _checked(self, current: Tensor, state: Tensor | None, reset_mask: Tensor | None) -> Tensor:
        if current.dim() != 3 or current.shape[0] < 1 or current.shape[2] != self.num_neurons:
            raise ValueError(f"current must be [steps >= 1, batch, {self.num_neurons}], got {tuple(current.shape)}")
        expected = (current.shape[1], self.states_per_neuron * self.num_neurons)
        if state is not None and state.shape != expected:
            raise ValueError(f"state must be {expected}, got {tuple(state.shape)}")
        if reset_mask is not None and (reset_mask.shape != current.shape[:2] or reset_mask.dtype != torch.bool):
            raise ValueError(
                f"reset_mask must be bool {tuple(current.shape[:2])}, got {reset_mask.dtype} {tuple(reset_mask.shape)}"
            )
        return current.new_zeros(expected) if state is None else state

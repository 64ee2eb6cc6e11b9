"""Spiking networks, layer by layer over time, and their non-spiking twins.

Legend: E environment step, K simulation steps per observation, B batch, F features, N neurons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from synrl_ray.snn.encoders import LatencyCode
from synrl_ray.snn.fusion import fused_plan
from synrl_ray.snn.listed import called, lists_if_few
from synrl_ray.snn.masks import at_first_step
from synrl_ray.snn.members import member
from synrl_ray.snn.neurons import LIF
from synrl_ray.snn.norms import Norm, RunningNorm, make_norm, merged, normalised
from synrl_ray.snn.plain import is_plain, is_watched
from synrl_ray.snn.products import DTYPES, LinearProduct, by_columns, most_fired
from synrl_ray.snn.readouts import Reduction, make_readout, population_of
from synrl_ray.snn.recurrent import Recurrence, Recurrent
from synrl_ray.snn.scan import Kernel, Reset
from synrl_ray.snn.spike_lists import SpikeLists
from synrl_ray.snn.stack import spiking_stack
from synrl_ray.snn.surrogate import Surrogate

Inputs = Literal["currents", "spikes"]


class SpikingMLP(nn.Module):
    r"""Fully connected LIF layers, direct (constant current) encoding, leaky-integrator readout.

    Each of the E observations is held for ``steps_per_observation`` simulation steps; the first layer's
    matrix product runs once per observation. The output of an observation is the readout's membrane
    after its last simulation step. What the neurons of all layers carry on, the readout's included, forms the state,
    one flat row per batch entry, so that it can be stored, masked and replayed as a single tensor.

    Whether inputs are finite is left to the caller, a look at them would cost 5 % of a small network's inference: a
    neuron with NaN on its membrane falls silent, and what follows it stays finite.

    With ``skip`` a hidden layer :math:`l` (from 0) also receives the spikes of the layer before the previous one, where
    both have the same width:

    .. math:: i^l_t = W^l \big(s^{l-1}_t + s^{l-2}_t\big) + b^l \quad\text{for } l \ge 2,\; N_{l-1} = N_{l-2}

    Args:
        in_features: F.
        hidden_sizes: neurons per spiking layer, at least one layer.
        out_features: readout neurons.
        steps_per_observation: K >= 1.
        beta, threshold, surrogate, reset, learn_beta, learn_threshold: of the LIF layers.
        readout_beta: decay of the readout.
        gain, hidden_gain: scale of the initial weights of the first spiking layer, and of those behind it.
        kernel: of all layers, see :func:`synrl_ray.snn.lif_scan`. ``"auto"`` runs the whole network fused on the CPU;
            ``"functional"`` allows second derivatives.
        neuron: makes the neurons of a spiking layer in place of :class:`synrl_ray.snn.LIF`, whose arguments then
            play no role: ``Synaptic``, ``AdaptiveLIF``, or any module of their kind, with ``states_per_neuron``.
        readout: which membrane of an observation is its output: the ``"last"``, the highest (``"max"``) or the
            ``"mean"``; or a linear map of the last layer's firing rates (``"spikes"``), or of those of a
            ``"population"`` of spiking neurons for each output, which are one more layer.
        readout_neurons: how many each output has in a population.
        skip: add the skip connections above.
        latency: the range in which a feature's size says when it spikes (:class:`synrl_ray.snn.encoders.LatencyCode`),
            in place of the constant current.
        norm: normalise the currents of each layer before its neurons, ``"layer"`` or ``"running"``
            (:func:`synrl_ray.snn.norms.make_norm`).
        dropout: share of a layer's neurons whose spikes do not leave it, in training mode: the same ones for a whole
            call, drawn for each row; the others' weigh ``1 / (1 - dropout)``.
        recurrent: bring each layer's spikes back to it in the next simulation step
            (:class:`synrl_ray.snn.recurrent.Recurrent`).
        inputs: what comes in: ``"currents"``, each held for an observation, or ``"spikes"`` of each simulation step,
            dense or as :class:`synrl_ray.snn.SpikeLists`, which an event stream can be
            (:meth:`synrl_ray.snn.SpikeLists.of_events`).

    Only a chain of LIF layers with the last membrane runs fused, its currents as they are or normalised by running
    moments; others run layer by layer. On a CPU products with spikes are sums over lists of them where these are few
    (:mod:`synrl_ray.snn.products`).

    Shape:
        inputs ``[E, B, F]``, spikes ``[E * K, B, F]``, state ``[B, state_size]``, reset_mask ``[E, B]``
        → outputs ``[E, B, out_features]``, state ``[B, state_size]``.

    Raises:
        ValueError: for sizes that make no network or no skip connection, or tensors that do not fit.

    Example:
        >>> net = SpikingMLP(4, (8,), 2, steps_per_observation=3)
        >>> outputs, state = net(torch.zeros(5, 1, 4))
        >>> tuple(outputs.shape), tuple(state.shape)
        ((5, 1, 2), (1, 10))
    """

    def __init__(
        self,
        in_features: int,
        hidden_sizes: Sequence[int],
        out_features: int,
        *,
        steps_per_observation: int = 4,
        beta: float = 0.9,
        threshold: float = 1.0,
        surrogate: Surrogate | None = None,
        reset: Reset = "subtract",
        learn_beta: bool = False,
        learn_threshold: bool = False,
        readout_beta: float = 0.9,
        gain: float = 1.0,
        hidden_gain: float = 1.0,
        kernel: Kernel = "auto",
        neuron: Callable[[], nn.Module] | None = None,
        readout: Reduction = "last",
        readout_neurons: int = 10,
        skip: bool = False,
        latency: tuple[float, float] | None = None,
        recurrent: Recurrence = "none",
        norm: Norm = "none",
        dropout: float = 0.0,
        inputs: Inputs = "currents",
    ) -> None:
        super().__init__()
        if not hidden_sizes:
            raise ValueError("hidden_sizes must name at least one spiking layer")
        check_inputs(inputs)
        if inputs == "spikes" and latency is not None:
            raise ValueError("latencies make spikes of currents: leave out one of latency and inputs='spikes'")
        bridged = [i for i in range(2, len(hidden_sizes)) if hidden_sizes[i - 1] == hidden_sizes[i - 2]]
        if skip and not bridged:
            raise ValueError(f"skip needs two hidden layers of equal width before another, got {tuple(hidden_sizes)}")
        if steps_per_observation < 1:
            raise ValueError(f"steps_per_observation must be at least 1, got {steps_per_observation}")
        hidden_sizes = [*hidden_sizes, *population_of(readout, out_features, readout_neurons)]
        self.in_features, self.out_features = in_features, out_features
        self.steps_per_observation = steps_per_observation
        self.kernel = kernel
        self.encoder = LatencyCode(*latency, steps_per_observation) if latency else None
        self.inputs: Inputs = inputs
        self.is_fed_spikes = inputs == "spikes" or latency is not None
        sizes = [in_features, *hidden_sizes, out_features]
        self.linears = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(sizes[:-1]))
        self.neurons = nn.ModuleList(
            neuron()
            if neuron is not None
            else LIF(
                beta,
                threshold,
                learn_beta=learn_beta,
                learn_threshold=learn_threshold,
                surrogate=surrogate,
                reset=reset,
                hold=steps_per_observation if layer == 0 and not self.is_fed_spikes and recurrent == "none" else 1,
                kernel=kernel,
            )
            for layer in range(len(hidden_sizes))
        )
        if recurrent != "none":
            made = zip(self.neurons, hidden_sizes, strict=True)
            self.neurons = nn.ModuleList(Recurrent(layer, size, recurrent) for layer, size in made)
        self.norms = None if norm == "none" else nn.ModuleList(make_norm(norm, size) for size in hidden_sizes)
        self.dropout = dropout
        self.readout = make_readout(
            readout, hidden_sizes[-1], out_features, beta=readout_beta, hold=steps_per_observation, kernel=kernel
        )
        self.skipped_to = frozenset(bridged if skip else ())
        self.state_sizes = [*states_of(self.neurons, hidden_sizes), self.readout.state_size]
        self.state_size = sum(self.state_sizes)
        scale_weights(self.linears, gain, hidden_gain)
        for linear in self.linears:
            by_columns(cast("nn.Linear", linear))
        self.products = tuple(LinearProduct(i, o) for i, o in pairwise(sizes[:-1]))

    def forward(
        self, inputs: Tensor | SpikeLists, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return outputs ``[E, B, out_features]`` and the state after the last observation."""
        self._check(inputs, state, reset_mask)
        if not inputs.shape[1]:
            return no_rows(self, self.num_observations(inputs), self.out_features, self.state_size)
        if self.kernel == "auto" and self._is_chain():
            signal, listed = self._given(inputs)
            fused = fused_plan(self, signal, state)
            if fused is not None:
                plan, parameters = fused
                if self.norms is not None:
                    parameters = merged(parameters, self.norms)
                plan = plan if listed is None else plan._replace(listed=listed)
                return spiking_stack(plan, signal, state, reset_mask, parameters)
        outputs, state, _ = self.forward_with_spikes(inputs, state, reset_mask)
        return outputs, state

    def forward_with_spikes(
        self, inputs: Tensor | SpikeLists, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """As :meth:`forward`, layer by layer, and the spikes ``[E*K, B, N]`` of every spiking layer."""
        self._check(inputs, state, reset_mask)
        inputs = dense(inputs, floating_type(self))
        batch, k = inputs.shape[1], self.steps_per_observation
        share = self.dropout if self.training else 0.0
        if state is None:
            state = inputs.new_zeros(batch, self.state_size)
        inner_mask = at_first_step(reset_mask, k)
        mask = reset_mask
        spikes: list[Tensor] = []
        final: list[Tensor] = []
        *membranes, readout_membrane = state.split(self.state_sizes, dim=1)
        for (linear, neuron), membrane in zip(self._layers(), membranes, strict=True):
            layer = len(spikes)
            signal = self._received(layer, inputs, spikes)
            is_spikes = layer > 0 or self.is_fed_spikes
            current = self._feed(linear, dropped(signal, share) if layer else signal) if is_spikes else linear(signal)
            current = normalised(self.norms, layer, current)
            if not spikes:
                current, mask = (current, inner_mask) if self.is_fed_spikes else held(neuron, current, mask, k)
            fired, membrane = neuron(current, membrane, mask)
            spikes.append(fired)
            final.append(membrane)
            mask = inner_mask
        outputs, readout_membrane = self.readout(dropped(spikes[-1], share), readout_membrane, reset_mask)
        return outputs, torch.cat((*final, readout_membrane), dim=1), spikes

    def layer_inputs(
        self, inputs: Tensor | SpikeLists, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> list[tuple[nn.Module, Tensor]]:
        """Every layer with weights, and what it receives: the observations, then spikes of each simulation step.

        Where observations are spikes themselves, so is what the first layer receives. Recurrent synapses follow the
        layer that they are of.
        """
        spikes = self.forward_with_spikes(inputs, state, reset_mask)[2]
        inputs, layers = dense(inputs, floating_type(self)), [*self.linears, self.readout.linear]
        received = [(layer, self._received(i, inputs, spikes)) for i, layer in enumerate(layers)]
        return with_recurrent(received, self.neurons, spikes, self.state_sizes, state, reset_mask)

    def _received(self, layer: int, inputs: Tensor, spikes: Sequence[Tensor]) -> Tensor:
        """What a layer receives; the readout is the last layer."""
        if layer == 0:
            return inputs if self.encoder is None else self.encoder(inputs)
        return spikes[layer - 1] + spikes[layer - 2] if layer in self.skipped_to else spikes[layer - 1]

    @property
    def weights(self) -> list[nn.Module]:
        """Of all spiking layers."""
        return list(cast("nn.ModuleList", self._modules["linears"])._modules.values())

    @property
    def is_plain_lif(self) -> bool:
        """Whether all neurons are :class:`synrl_ray.snn.LIF`."""
        return all(type(neuron) is LIF for neuron in self.neurons)

    @property
    def is_recurrent(self) -> bool:
        """Whether any layer's spikes come back to it."""
        return any(isinstance(neuron, Recurrent) for neuron in self.neurons)

    def _is_chain(self) -> bool:
        """Whether the layers are a chain, run as written below, not as a subclass or a replaced method wants it."""
        if self.skipped_to or self.dropout:
            return False
        if self.norms is not None and not all(is_plain(norm, RunningNorm) for norm in self.norms):
            return False
        return type(self).forward_with_spikes is _ONE_BY_ONE and "forward_with_spikes" not in self.__dict__

    def _feed(self, layer: nn.Module, spikes: Tensor) -> Tensor:
        """The currents that a layer's weights make of spikes."""
        if self.kernel == "auto":
            return called(layer, spikes)
        currents: Tensor = layer(spikes)
        return currents

    def _layers(self) -> Iterable[tuple[nn.Linear, LIF]]:
        return cast("Iterable[tuple[nn.Linear, LIF]]", zip(self.linears, self.neurons, strict=True))

    def num_observations(self, inputs: Tensor | SpikeLists) -> int:
        """E, of what comes in."""
        return inputs.shape[0] // (self.steps_per_observation if self.inputs == "spikes" else 1)

    def _given(self, inputs: Tensor | SpikeLists) -> tuple[Tensor, SpikeLists | None]:
        """What the first layer receives, and its lists where these are few; the first is but a shape where they are."""
        if not self.is_fed_spikes:
            assert isinstance(inputs, Tensor)
            return inputs, None
        product, dtype = self.products[0], floating_type(self)
        if isinstance(inputs, Tensor):
            inputs = dense(inputs, dtype)
        if isinstance(inputs, SpikeLists):
            lists = inputs
        elif is_watched() or inputs.device.type != "cpu" or not product.takes_lists(dtype):
            return inputs if self.encoder is None else self.encoder(inputs), None
        elif self.encoder is None:
            return inputs, lists_if_few(inputs.detach().reshape(-1, self.in_features))
        else:
            lists = self.encoder.lists(inputs)
        if product.takes_lists(dtype) and lists.activity <= most_fired():
            return torch.zeros((), dtype=dtype).expand(lists.shape), lists
        return dense(lists, dtype), None

    def _check(self, inputs: Tensor | SpikeLists, state: Tensor | None, reset_mask: Tensor | None) -> None:
        shape, per = tuple(inputs.shape), self.steps_per_observation if self.inputs == "spikes" else 1
        if isinstance(inputs, SpikeLists) and self.inputs != "spikes":
            raise ValueError("a network takes lists of spikes if it is made with inputs='spikes'")
        if len(shape) != 3 or shape[2] != self.in_features or shape[0] < 1 or shape[0] % per:
            steps = "E >= 1" if per == 1 else f"E * {per}"
            raise ValueError(f"inputs must be [{steps}, B, {self.in_features}], got {shape}")
        check_state(state, (shape[1], self.state_size))
        check_mask(reset_mask, (self.num_observations(inputs), shape[1]))


_ONE_BY_ONE = SpikingMLP.forward_with_spikes


def dense(inputs: Tensor | SpikeLists, dtype: torch.dtype) -> Tensor:
    """``[T, B, N]`` of lists; what is dense stays as it is, but for booleans and integers."""
    if isinstance(inputs, Tensor):
        return inputs if inputs.is_floating_point() else inputs.to(dtype)
    spread = inputs.dense(torch.empty(inputs.shape, dtype=dtype if dtype in DTYPES else torch.float32, device="cpu"))
    return spread.to(dtype)


def floating_type(module: nn.Module) -> torch.dtype:
    """The type of the module's first floating parameter; torch's default where every layer hides its own."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.get_default_dtype())


def no_rows(net: nn.Module, num_observations: int, num_outputs: int, num_states: int) -> tuple[Tensor, Tensor]:
    """Outputs ``[E, 0, O]`` and a state ``[0, S]``."""
    like = next(net.parameters())
    return like.new_zeros(num_observations, 0, num_outputs), like.new_zeros(0, num_states)


def check_inputs(inputs: str) -> None:
    """Refuse what is no kind of inputs."""
    if inputs not in get_args(Inputs):
        raise ValueError(f"unknown inputs {inputs!r}: choose one of {', '.join(get_args(Inputs))}")


def check_state(state: Tensor | None, expected: tuple[int, int]) -> None:
    """Refuse a state that is not ``[B, state_size]``."""
    if state is not None and state.shape != expected:
        raise ValueError(f"state must be {expected}, got {tuple(state.shape)}")


def check_mask(mask: Tensor | None, expected: tuple[int, int]) -> None:
    """Refuse a mask that is not ``[E, B]`` bool."""
    if mask is not None and (mask.shape != expected or mask.dtype != torch.bool):
        raise ValueError(f"reset_mask must be bool {expected}, got {mask.dtype} {tuple(mask.shape)}")


def states_of(neurons: Iterable[nn.Module], sizes: Iterable[int]) -> list[int]:
    """How many numbers each layer of so many neurons carries on."""
    return [cast("LIF", layer).states_per_neuron * size for layer, size in zip(neurons, sizes, strict=True)]


def held(neuron: nn.Module, current: Tensor, mask: Tensor | None, num_steps: int) -> tuple[Tensor, Tensor | None]:
    """The first layer's current and mask, repeated for neurons that, unlike a LIF layer, do not hold it themselves."""
    if getattr(neuron, "hold", 1) == num_steps:
        return current, mask
    return current.repeat_interleave(num_steps, dim=0), at_first_step(mask, num_steps)


def dropped(signal: Tensor, share: float) -> Tensor:
    """Spikes ``[T, B, N]`` without those of a share of each row's neurons, the others weighing more."""
    if not share:
        return signal
    kept = torch.rand(signal.shape[1:], device=signal.device) >= share
    return signal * (kept.to(signal.dtype) / (1 - share))


def with_recurrent(
    received: Sequence[tuple[nn.Module, Tensor]],
    neurons: Iterable[nn.Module],
    spikes: Sequence[Tensor],
    state_sizes: Sequence[int],
    state: Tensor | None,
    reset_mask: Tensor | None,
) -> list[tuple[nn.Module, Tensor]]:
    """Layers and what they receive, with the recurrent synapses of each behind it.

    Args:
        received: of all layers, the readout last.
        neurons, spikes: of the spiking ones, spikes ``[E*K, B, N]``.
        state_sizes, state, reset_mask: of the network.
    """
    states: list[Tensor] = [] if state is None else list(state.split(list(state_sizes), dim=1))
    pairs: list[tuple[nn.Module, Tensor]] = []
    for layer, (pair, neuron, fired) in enumerate(zip(received, neurons, spikes, strict=False)):
        pairs.append(pair)
        if isinstance(neuron, Recurrent):
            before = states[layer] if states else fired.new_zeros(fired.shape[1], state_sizes[layer])
            mask = at_first_step(reset_mask, 1 if reset_mask is None else len(fired) // len(reset_mask))
            pairs.append((neuron.synapses, neuron.received(fired, before, mask)))
    return [*pairs, *received[len(spikes) :]]


def scale_weights(layers: Iterable[nn.Module], gain: float, hidden_gain: float) -> None:
    """Scale the initial weights of the first layer by ``gain`` and those of the others by ``hidden_gain``."""
    with torch.no_grad():
        for index, layer in enumerate(layers):
            cast("nn.Linear", layer).weight.mul_(hidden_gain if index else gain)


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": torch.relu}


class MLP(nn.Module):
    """The non-spiking twin: same layers, a pointwise activation, no time and no state.

    Args:
        in_features, hidden_sizes, out_features: as of :class:`SpikingMLP`.
        activation: ``"tanh"`` or ``"relu"``.
        norm: ``"layer"`` normalises what units receive, as :class:`SpikingMLP` its currents.

    Shape:
        inputs ``[E, B, F]`` → outputs ``[E, B, out_features]`` and an empty state ``[B, 0]``.
    """

    state_size = 0

    def __init__(
        self,
        in_features: int,
        hidden_sizes: Sequence[int],
        out_features: int,
        activation: Literal["tanh", "relu"] = "tanh",
        norm: Literal["none", "layer"] = "none",
    ) -> None:
        super().__init__()
        if not hidden_sizes:
            raise ValueError("hidden_sizes must name at least one layer")
        if activation not in _ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}: choose one of {', '.join(_ACTIVATIONS)}")
        self.activation = activation
        self.in_features = in_features
        sizes = [in_features, *hidden_sizes, out_features]
        self.linears = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(sizes))
        self.norms = nn.ModuleList(make_norm(norm, size) for size in hidden_sizes) if norm != "none" else None

    @property
    def weights(self) -> list[nn.Module]:
        """Of all layers."""
        return list(self.linears)

    def forward(
        self, inputs: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return outputs; ``reset_mask`` has nothing to reset."""
        linear, signal = self.layer_inputs(inputs)[-1]
        return _linear(linear, signal), inputs.new_zeros(inputs.shape[1], 0)

    def layer_inputs(
        self, inputs: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> list[tuple[nn.Module, Tensor]]:
        """Every layer with weights, and what it receives."""
        if inputs.dim() != 3 or inputs.shape[2] != self.in_features:
            raise ValueError(f"inputs must be [E, B, {self.in_features}], got {tuple(inputs.shape)}")
        signals, activate = [inputs], _ACTIVATIONS[self.activation]
        for number, linear in enumerate(self.linears[:-1]):
            signals.append(activate(normalised(self.norms, number, _linear(linear, signals[-1]))))
        return list(zip(self.linears, signals, strict=True))


def _linear(layer: nn.Module, signal: Tensor) -> Tensor:
    """What the layer returns, without the detour of a call where that is a linear map and no more."""
    if is_plain(layer, nn.Linear):
        return nn.functional.linear(signal, member(layer, "weight"), member(layer, "bias"))
    output: Tensor = layer(signal)
    return output

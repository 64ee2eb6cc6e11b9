"""Graphs of NIR as networks of this package, ready to run or to train on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import nir
import numpy as np
import torch
from torch import Tensor, nn

from synrl_ray.snn.convolution import ConvLayer, SpikingCNN
from synrl_ray.snn.networks import SpikingMLP
from synrl_ray.snn.neurons import LIF
from synrl_ray.snn.nir.errors import NIRError
from synrl_ray.snn.nir.running import decay_of, dt_of, ends, in_order, pair
from synrl_ray.snn.nir.writing import READOUT, STEPS
from synrl_ray.snn.readouts import Reduction
from synrl_ray.snn.scan import Reset
from synrl_ray.snn.surrogate import Surrogate
from synrl_ray.snn.synaptic import Synaptic

_EXPECTED = "expected linear maps or convolutions and neurons in turn, and an integrator (LI, I) at the end"


def from_nir(
    graph: Any,
    *,
    steps_per_observation: int | None = None,
    readout: Reduction | None = None,
    surrogate: Surrogate | None = None,
) -> SpikingMLP | SpikingCNN:
    """The network that a graph describes.

    Args:
        graph: a chain of ``Affine``, ``Linear`` or ``Conv2d`` nodes, each followed by neurons, that ends in an ``LI``
            or ``I`` node. Neurons are ``LIF``, ``IF``, ``CubaLIF``, or an integrator and a ``Threshold`` with or
            without the ``Scale`` that subtracts it again; see :mod:`synrl_ray.snn.nir`.
        steps_per_observation, readout: needed where the graph's metadata does not say them.
        surrogate: NIR holds none.

    Raises:
        NIRError: for any other graph, or neurons that leak or reset to another potential than zero.
    """
    layers, last = _layers(graph)
    if len({float(value) for value in last.beta.flatten()}) > 1:
        raise NIRError("the readout's neurons have different time constants")
    steps = int(graph.metadata.get(STEPS, 0)) if steps_per_observation is None else steps_per_observation
    if steps < 1:
        raise NIRError("the graph does not say for how many steps an observation is held: pass steps_per_observation")
    neurons = iter([layer.neurons(surrogate, steps if index == 0 else 1) for index, layer in enumerate(layers)])
    options: dict[str, Any] = {
        "neuron": lambda: next(neurons),
        "steps_per_observation": steps,
        "readout_beta": float(last.beta.flat[0]),
        "readout": readout or graph.metadata.get(READOUT, "last"),
    }
    num_outputs = last.weight.shape[0]
    net: SpikingMLP | SpikingCNN
    if layers[0].stride:
        weights, net = _convolutional(graph, layers, num_outputs, options)
    elif any(layer.stride for layer in layers):
        raise NIRError(f"{_EXPECTED}; a convolution follows a linear map")
    else:
        sizes = [layer.weight.shape[0] for layer in layers]
        net = SpikingMLP(layers[0].weight.shape[1], sizes, num_outputs, **options)
        weights = list(net.linears)
    for found, layer in zip([*layers, last], [*weights, net.readout.linear], strict=True):
        gain = torch.from_numpy(found.gain.reshape(-1, *[1] * (found.weight.ndim - 1)))
        linear = cast("nn.Linear", layer)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(found.weight) * gain)
            linear.bias.copy_(torch.from_numpy(found.bias) * gain.flatten())
    return net


@dataclass
class _Layer:
    """A linear map and the neurons behind it."""

    weight: np.ndarray
    bias: np.ndarray
    stride: int = 0
    """Of a convolution."""
    beta: np.ndarray = field(default_factory=lambda: np.zeros(()))
    gain: np.ndarray = field(default_factory=lambda: np.ones(1))
    alpha: np.ndarray | None = None
    threshold: np.ndarray | None = None
    reset: Reset = "zero"

    def neurons(self, surrogate: Surrogate | None, hold: int) -> nn.Module:
        """The layer of neurons."""
        beta, threshold = _shared(self.beta), _shared(cast("np.ndarray", self.threshold))
        if self.alpha is not None:
            return Synaptic(_shared(self.alpha), beta, threshold, surrogate=surrogate, reset=self.reset)
        return LIF(beta, threshold, surrogate=surrogate, reset=self.reset, hold=hold)


class _Chain:
    """The nodes of a graph from its input to its output, one behind the other, and the loops beside them.

    Raises:
        NIRError: if it is no chain.
    """

    def __init__(self, graph: Any) -> None:
        start, end = ends(graph)
        order = in_order(graph, start)
        kinds = ", ".join(type(graph.nodes[name]).__name__ for name in order[1:])
        self.refusal = NIRError(f"{_EXPECTED}, got {kinds}")
        self.graph, self.dt = graph, dt_of(graph)
        self.following: dict[str, list[str]] = {name: [] for name in order}
        for a, b in graph.edges:
            self.following[a].append(b)
        scales = {name for name in order if isinstance(graph.nodes[name], nir.Scale)}
        self.loops: dict[str, list[str]] = {}
        self.names: list[str] = []
        name = start
        while name != end:
            self.loops[name] = [b for b in self.following[name] if b in scales]
            ahead = [b for b in self.following[name] if b not in scales]
            if len(ahead) != 1 or len(self.names) > len(order):
                raise self.refusal
            if self.loops[name] and not isinstance(graph.nodes[name], nir.Threshold):
                raise self.refusal  # reset_of judges a loop of a threshold, and nothing judges another
            (name,) = ahead
            self.names.append(name)
        if len(self.names) + len(scales) + 1 != len(order) or self.following[end]:
            raise self.refusal
        self.names.pop()

    def next_is(self, *kinds: type) -> bool:
        """Whether the next node is of these."""
        return bool(self.names) and isinstance(self.graph.nodes[self.names[0]], kinds)

    def take(self) -> tuple[str, Any]:
        """Name and node."""
        name = self.names.pop(0)
        return name, self.graph.nodes[name]

    def reset_of(self, threshold: str, membrane: str, gain: np.ndarray) -> Reset:
        """What a spike does to a membrane that does not reset by itself."""
        if not self.loops[threshold]:
            return "none"
        scale, *others = self.loops[threshold]
        if others or self.following[scale] != [membrane]:
            raise self.refusal
        nodes = self.graph.nodes
        if not np.allclose(nodes[scale].scale * gain, -nodes[threshold].threshold):
            raise NIRError(f"{scale} leads back from {threshold} and is not its threshold: no reset by subtraction")
        return "subtract"


def _layers(graph: Any) -> tuple[list[_Layer], _Layer]:
    """The layers with neurons, and the readout."""
    chain = _Chain(graph)
    found: list[_Layer] = []
    while chain.names:
        if chain.next_is(nir.Flatten):
            chain.take()
        if not chain.next_is(nir.Affine, nir.Linear, nir.Conv2d):
            raise chain.refusal
        layer = _map_of(chain.take()[1])
        _take_neurons(layer, chain)
        found.append(layer)
    if len(found) < 2 or any((layer.threshold is None) != (layer is found[-1]) for layer in found):
        raise chain.refusal
    return found[:-1], found[-1]


def _take_neurons(layer: _Layer, chain: _Chain) -> None:
    """Take the nodes of a layer's neurons: one or two integrators one behind the other, and what spikes."""
    decays: list[tuple[np.ndarray, np.ndarray]] = []
    name = ""
    while chain.next_is(nir.LI, nir.I):
        name, node = chain.take()
        decays.append(_decays(node, chain.dt))
    if chain.next_is(nir.Threshold) and decays:
        spikes, node = chain.take()
        layer.threshold, layer.reset = np.asarray(node.threshold), chain.reset_of(spikes, name, decays[-1][1])
    elif chain.next_is(nir.LIF, nir.IF, nir.CubaLIF):
        name, node = chain.take()
        if np.any(node.v_reset):
            raise NIRError("neurons must leak and reset to zero")
        if isinstance(node, nir.CubaLIF):
            decays.append(decay_of(node.tau_syn, node.w_in, chain.dt))
        decays.append(_decays(node, chain.dt))
        layer.threshold = np.asarray(node.v_threshold)
    if not 1 <= len(decays) <= 2 or (layer.threshold is None and len(decays) == 2):
        raise chain.refusal
    layer.beta = decays[-1][0]
    layer.alpha = decays[0][0] if len(decays) == 2 else None
    gain = decays[0][1] * decays[-1][1] if len(decays) == 2 else decays[0][1]
    layer.gain = _of_channels(gain) if layer.stride else gain


def _decays(node: Any, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """``beta`` and gain of a membrane."""
    if isinstance(node, nir.I | nir.IF):
        r = np.asarray(node.r, dtype=np.float64)
        return np.ones_like(r), dt * r
    if np.any(node.v_leak):
        raise NIRError("neurons must leak and reset to zero")
    return decay_of(node.tau_mem if isinstance(node, nir.CubaLIF) else node.tau, node.r, dt)


def _map_of(node: Any) -> _Layer:
    weight = np.asarray(node.weight)
    bias = np.zeros(weight.shape[0]) if isinstance(node, nir.Linear) else np.asarray(node.bias)
    if not isinstance(node, nir.Conv2d):
        return _Layer(weight, bias)
    stride, padding = pair(node.stride), node.padding
    fits = (
        weight.shape[2] == weight.shape[3]
        and stride[0] == stride[1]
        and not isinstance(padding, str | bytes)
        and pair(padding) == (0, 0)
        and pair(node.dilation) == (1, 1)
        and int(node.groups) == 1
    )
    if not fits:
        raise NIRError("convolutions must be square, without padding, dilation or groups")
    return _Layer(weight, bias, stride[0])


def _convolutional(
    graph: Any, layers: list[_Layer], num_outputs: int, options: dict[str, Any]
) -> tuple[list[nn.Module], SpikingCNN]:
    *convolutions, hidden = layers
    if hidden.stride or not all(layer.stride for layer in convolutions):
        raise NIRError(f"{_EXPECTED}; behind convolutions there is one linear map before the last one")
    start, _ = ends(graph)
    channels, height, width = (int(size) for size in graph.nodes[start].input_type["input"])
    shape: list[ConvLayer] = [(layer.weight.shape[0], layer.weight.shape[2], layer.stride) for layer in convolutions]
    hidden_size = hidden.weight.shape[0]
    net = SpikingCNN((channels, height, width), num_outputs, shape=shape, hidden_size=hidden_size, **options)
    return [*net.convolutions, net.linear], net


def _of_channels(gain: np.ndarray) -> np.ndarray:
    """One gain for each channel, which weights can take in."""
    flat = gain.reshape(gain.shape[0], -1)
    if np.ptp(flat, axis=1).any():
        raise NIRError("neurons of a channel have different gains")
    return flat[:, 0]


def _shared(values: np.ndarray) -> Tensor:
    """One number where all neurons share it, else ``[N]``."""
    tensor = torch.from_numpy(np.asarray(values, dtype=np.float64)).to(torch.get_default_dtype()).flatten()
    return tensor[0] if bool((tensor == tensor[0]).all()) else tensor

r"""Networks of this package as graphs of NIR's standard nodes.

A scaling of the observations becomes part of the first layer, so that the graph takes them as they come:

.. math:: W \frac{x - \mu}{\sigma} + b = \frac{W}{\sigma} x + \Big(b - \frac{W}{\sigma} \mu\Big)

Legend: N neurons of a layer, whose shape is ``[N]``, or ``[C, H, W]`` behind a convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, cast

import nir
import numpy as np
import torch
from torch import Tensor, nn

from synrl_ray.snn.adaptive import AdaptiveLIF
from synrl_ray.snn.convolution import SpikingCNN
from synrl_ray.snn.networks import SpikingMLP
from synrl_ray.snn.neurons import LIF, LeakyReadout
from synrl_ray.snn.nir.errors import NIRError
from synrl_ray.snn.nir.running import DT
from synrl_ray.snn.norms import RunningNorm
from synrl_ray.snn.readouts import MembraneReadout
from synrl_ray.snn.recurrent import OneToOne, Recurrent
from synrl_ray.snn.synaptic import Synaptic

STEPS = "steps_per_observation"
READOUT = "readout"
Shape = tuple[int, ...]


class Scaling(NamedTuple):
    """What a network's observations are scaled by before it receives them: ``(x - mean) / deviation``."""

    mean: Tensor
    """``[F]``, or one number for all of them."""
    deviation: Tensor
    """``[F]`` or one number, positive."""


def to_nir(net: nn.Module, scaling: Scaling | None = None, num_outputs: int | None = None) -> Any:
    """The network as a NIR graph, whose output is the readout's membrane after every simulation step.

    Args:
        net: a ``SpikingMLP`` or ``SpikingCNN``.
        scaling: of what it receives; the graph takes what it is computed from, since its first layer includes it.
        num_outputs: take the first outputs only, such as an actor's without the value beside them.

    Returns:
        The graph. Its metadata has ``dt`` in seconds, ``steps_per_observation`` and ``readout``: whether the
        observation's output is its ``last``, its highest (``max``) or its ``mean`` membrane.

    Raises:
        NIRError: if NIR cannot say what the network does; the message names the reason and the way out.
    """
    if not isinstance(net, SpikingMLP | SpikingCNN):
        raise NIRError(f"only a SpikingMLP or SpikingCNN is exported, got {type(net).__name__}")
    readout = _Readout.of(net.readout)
    graph = _Drawing()
    norms = _norms(net)
    if isinstance(net, SpikingCNN):
        below, shape = _convolutions(graph, net, norms, scaling)
        weights: Sequence[nn.Module] = [net.linear]
        skipped_to: frozenset[int] = frozenset()
        if any(size != 1 for size in shape[1:]) or len(shape) > 1:
            node = nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1)
            below = graph.add("flatten", node, below)
        scaling = None
    else:
        below = graph.add("input", nir.Input({"input": np.array([net.in_features])}))
        weights, skipped_to = cast("Sequence[nn.Module]", net.linears), net.skipped_to
    first = len(net.neurons) - len(weights)
    emitting = [below]
    for index, layer in enumerate(weights):
        number = first + index
        weights_ = _affine(layer, norms[number], scaling if number == 0 else None)
        affine = graph.add(f"linear_{number}", weights_, emitting[-1])
        if index in skipped_to:
            graph.connect(emitting[-2], affine)
        neuron = net.neurons[number]
        emitting.append(add_neurons(graph, number, neuron, (cast("nn.Linear", layer).out_features,), affine))
    outputs = readout.linear.out_features if num_outputs is None else num_outputs
    affine = graph.add("readout", _affine(readout.linear, num_outputs=outputs), emitting[-1])
    integrated = graph.add("integrator", _integrator(torch.tensor(readout.beta), (outputs,), "the readout"), affine)
    graph.add("output", nir.Output({"output": np.array([outputs])}), integrated)
    metadata = {"dt": DT, STEPS: net.steps_per_observation, READOUT: readout.how}
    return nir.NIRGraph(graph.nodes, graph.edges, metadata=metadata)


class _Drawing:
    """Nodes and edges so far."""

    def __init__(self) -> None:
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []

    def add(self, name: str, node: Any, *sources: str) -> str:
        """A node behind others; its name."""
        self.nodes[name] = node
        for source in sources:
            self.connect(source, name)
        return name

    def connect(self, source: str, target: str) -> None:
        """An edge."""
        self.edges.append((source, target))


class _Readout(NamedTuple):
    linear: nn.Linear
    beta: float
    how: str

    @staticmethod
    def of(readout: nn.Module) -> _Readout:
        """What integrates, how it decays and which of its membranes is the output."""
        if isinstance(readout, LeakyReadout):
            return _Readout(readout.linear, readout.beta, "last")
        if isinstance(readout, MembraneReadout):
            return _Readout(readout.linear, float(readout.integrator.decay), readout.how)
        raise NIRError(f"a {type(readout).__name__} is no integrator: train with readout=last")


def _norms(net: SpikingMLP | SpikingCNN) -> list[RunningNorm | None]:
    """Of each layer of neurons."""
    if net.norms is None:
        return [None] * len(net.neurons)
    if not all(isinstance(norm, RunningNorm) for norm in net.norms):
        raise NIRError("NIR has no normalisation over a layer: train with norm=running, which is part of the weights")
    return [cast("RunningNorm", norm) for norm in net.norms]


def _convolutions(
    graph: _Drawing, net: SpikingCNN, norms: Sequence[RunningNorm | None], scaling: Scaling | None
) -> tuple[str, Shape]:
    below = graph.add("input", nir.Input({"input": np.array(net.in_shape)}))
    for number, (layer, (before, after)) in enumerate(zip(net.convolutions, pairwise(net.map_shapes), strict=True)):
        convolution = cast("nn.Conv2d", layer)
        weight, bias = _weights(convolution, norms[number])
        if scaling is not None and number == 0:
            if scaling.mean.numel() != 1 or scaling.deviation.numel() != 1:
                raise NIRError("a convolution's weights take in one scale for all pixels only")
            # In double precision, as below: over an episode of images some spike hangs on a rounded weight.
            weight = weight.double() / float(scaling.deviation)
            bias = bias.double() - weight.sum((1, 2, 3)) * float(scaling.mean)
        node = nir.Conv2d(
            input_shape=tuple(before[1:]),
            weight=weight.numpy(),
            stride=convolution.stride,
            padding=convolution.padding,
            dilation=convolution.dilation,
            groups=convolution.groups,
            bias=bias.numpy(),
        )
        below = graph.add(f"convolution_{number}", node, below)
        below = add_neurons(graph, number, net.neurons[number], after, below)
    return below, net.map_shapes[-1]


def add_neurons(graph: _Drawing, number: int, neuron: nn.Module, shape: Shape, source: str) -> str:
    """The nodes of a layer of neurons, behind the one that gives it its current; the name of the one that spikes."""
    where = f"layer {number}"
    if isinstance(neuron, Recurrent):
        before = set(graph.nodes)
        spikes = add_neurons(graph, number, neuron.neuron, shape, source)
        receiving = next(name for name in graph.nodes if name not in before)
        weight = neuron.synapses.weight.detach().cpu().numpy().copy()
        back = nir.Scale(weight) if isinstance(neuron.synapses, OneToOne) else nir.Linear(weight)
        graph.connect(graph.add(f"recurrent_{number}", back, spikes), receiving)
        return spikes
    if isinstance(neuron, Synaptic):
        membrane = neuron.membrane
        alpha = neuron.current.decay
        if membrane.reset == "zero" and bool((alpha < 1).all()) and bool((membrane.decay < 1).all()):
            tau_syn, w_in = _time_constant(alpha, shape)
            tau_mem, r = _time_constant(membrane.decay, shape)
            zeros, threshold = np.zeros(shape), _spread(membrane.threshold, shape)
            node = nir.CubaLIF(tau_syn, tau_mem, r, zeros, threshold, v_reset=zeros.copy(), w_in=w_in)
            return graph.add(f"spikes_{number}", node, source)
        source = graph.add(f"current_{number}", _integrator(alpha, shape, where), source)
        neuron = membrane
    if isinstance(neuron, AdaptiveLIF):
        decay, reset = neuron.beta.clamp(0, 1), "subtract"
    elif type(neuron) is LIF:
        decay, reset = neuron.decay, neuron.reset
    else:
        raise NIRError(f"{where} has neurons of {_name_of(neuron)}, which have no counterpart: train with neuron=lif")
    threshold = _spread(neuron.threshold, shape)
    if reset == "zero":
        return graph.add(f"spikes_{number}", _resetting(decay, threshold, where), source)
    membrane_ = graph.add(f"membrane_{number}", _integrator(decay, shape, where), source)
    spikes = graph.add(f"spikes_{number}", nir.Threshold(threshold), membrane_)
    if reset == "subtract":
        graph.connect(graph.add(f"reset_{number}", nir.Scale(-threshold), spikes), membrane_)
    if isinstance(neuron, AdaptiveLIF):
        trace = graph.add(f"trace_{number}", _integrator(neuron.rho.clamp(0, 1), shape, where), spikes)
        kappa = nir.Scale(-_spread(neuron.kappa, shape))
        graph.connect(graph.add(f"adaptation_{number}", kappa, trace), spikes)
    return spikes


def _name_of(neuron: nn.Module) -> str:
    inner = getattr(neuron, "neuron", None)
    return f"snntorch.{type(inner).__name__}" if isinstance(inner, nn.Module) else type(neuron).__name__


def _integrator(beta: Tensor, shape: Shape, where: str) -> Any:
    """A node without spikes: ``LI``, or ``I`` where nothing leaks."""
    if _never_leaks(beta, where):
        return nir.I(r=np.full(shape, 1 / DT))
    tau, r = _time_constant(beta, shape)
    return nir.LI(tau=tau, r=r, v_leak=np.zeros(shape))


def _resetting(beta: Tensor, threshold: np.ndarray, where: str) -> Any:
    """A node whose spikes set it to zero: ``LIF``, or ``IF`` where nothing leaks."""
    zeros = np.zeros(threshold.shape)
    if _never_leaks(beta, where):
        return nir.IF(r=np.full(threshold.shape, 1 / DT), v_threshold=threshold, v_reset=zeros)
    tau, r = _time_constant(beta, threshold.shape)
    return nir.LIF(tau=tau, r=r, v_leak=zeros, v_threshold=threshold, v_reset=zeros.copy())


def _never_leaks(beta: Tensor, where: str) -> bool:
    if bool((beta < 1).all()):
        return False
    if bool((beta < 1).any()):
        raise NIRError(f"{where} has some neurons that leak and some with beta=1, and NIR's nodes have one kind each")
    return True


def _time_constant(beta: Tensor, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    tau = DT / (1 - _spread(beta, shape))
    return tau, tau / DT


def _spread(values: Tensor, shape: Shape) -> np.ndarray:
    """One number for each neuron of a layer, whose own are one for all or ``[N]``."""
    flat = np.broadcast_to(values.detach().double().cpu().numpy(), (int(np.prod(shape)),))
    return flat.reshape(shape).copy()


def _affine(
    layer: nn.Module, norm: RunningNorm | None = None, scaling: Scaling | None = None, num_outputs: int | None = None
) -> Any:
    if not isinstance(layer, nn.Linear):
        raise NIRError(f"a layer's weights are a {type(layer).__name__}, and only linear maps are exported")
    weight, bias = (tensor[:num_outputs] for tensor in _weights(layer, norm))
    if scaling is not None:  # in double precision, for large means cancel
        weight = weight.double() / scaling.deviation.detach().double()
        bias = bias.double() - weight @ scaling.mean.detach().double().expand(weight.shape[1])
    return nir.Affine(weight=weight.numpy().copy(), bias=bias.numpy().copy())


def _weights(layer: nn.Linear | nn.Conv2d, norm: RunningNorm | None) -> tuple[Tensor, Tensor]:
    """Weights and bias, with the normalisation behind them, in double precision then."""
    weight = layer.weight.detach().cpu().contiguous()
    bias = weight.new_zeros(weight.shape[0]) if layer.bias is None else layer.bias.detach().cpu()
    if norm is None:
        return weight, bias
    spread = (norm.variance.double() + norm.epsilon).sqrt()
    scale = norm.weight.detach().double() / spread
    merged = weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))
    return merged, (bias.double() - norm.mean.double()) * scale + norm.bias.detach().double()

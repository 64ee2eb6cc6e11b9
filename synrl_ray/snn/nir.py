r"""Networks to and from NIR, the intermediate representation that neuromorphic simulators and chips read.

A :class:`synrl_ray.snn.SpikingMLP` becomes ``Input → Affine → LIF → … → Affine → LI → Output``. NIR states neurons as
differential equations; with steps of ``dt`` they are integrated by Euler's method,

.. math:: v \leftarrow v + \frac{dt}{\tau}(v_{leak} - v + R I)
    = \beta v + I \quad\text{for } \tau = \frac{dt}{1 - \beta},\; R = \frac{\tau}{dt},\; v_{leak} = 0,

and a spike sets ``v`` to ``v_reset``: NIR knows the reset to zero and no other, so train with ``reset="zero"``. How
many steps an observation is held, and ``dt``, are metadata of the graph. A scaling of the observations becomes part of
the first layer, so that the graph takes them as they come:

.. math:: W \frac{x - \mu}{\sigma} + b = \frac{W}{\sigma} x + \Big(b - \frac{W}{\sigma} \mu\Big)

References:
    Pedersen et al. (2024), "Neuromorphic intermediate representation: A unified instruction set for interoperable
    brain-inspired computing", Nature Communications 15, doi:10.1038/s41467-024-52259-9.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import nir
import numpy as np
import torch
from torch import Tensor, nn

from synrl_ray.snn.networks import SpikingMLP
from synrl_ray.snn.neurons import LIF, LeakyReadout
from synrl_ray.snn.norms import RunningNorm, folded
from synrl_ray.snn.surrogate import Surrogate

DT = 1e-4  # seconds per simulation step, as snntorch exports
_STEPS = "steps_per_observation"


class NIRError(ValueError):
    """A network that NIR cannot express, or a graph that is not one of these networks."""


class Scaling(NamedTuple):
    """What a network's observations are scaled by before it receives them: ``(x - mean) / deviation``."""

    mean: Tensor
    """``[F]``."""
    deviation: Tensor
    """``[F]``, positive."""


def to_nir(net: nn.Module, scaling: Scaling | None = None) -> Any:
    """The network as a NIR graph.

    Args:
        net: the network.
        scaling: of what it receives; the graph takes what it is computed from, since its first layer includes it.

    Raises:
        NIRError: if NIR cannot say what the network does; the message names the reason and the way out.
    """
    if not isinstance(net, SpikingMLP):
        raise NIRError(f"only a SpikingMLP is exported, got {type(net).__name__}")
    if net.is_recurrent:
        raise NIRError("only a chain of layers is exported, this network is recurrent: train with recurrent=none")
    if not net.is_plain_lif:
        raise NIRError("only LIF neurons are exported, this network has others: train with neuron=lif")
    if net.skipped_to:
        raise NIRError("only a chain of layers is exported, this network has skip connections: train with skip=false")
    if net.encoder is not None:
        raise NIRError(
            "NIR takes currents, and this network codes what it receives as spikes: train with encoder=current"
        )
    if not isinstance(net.readout, LeakyReadout):
        raise NIRError(f"NIR's integrator is read at the end, not by its {net.readout.how}: train with readout=last")
    if net.norms is not None and not all(isinstance(norm, RunningNorm) for norm in net.norms):
        raise NIRError("NIR has no normalisation over a layer: train with norm=running, which is part of the weights")
    norms = net.norms or [None] * len(net.linears)
    linears = [
        linear if norm is None else folded(linear, norm) for linear, norm in zip(net.linears, norms, strict=True)
    ]
    modules: list[tuple[str, Any]] = [("input", nir.Input({"input": np.array([net.in_features])}))]
    for i, (linear, neuron) in enumerate(zip(linears, net.neurons, strict=True)):
        assert isinstance(neuron, LIF)
        assert isinstance(linear, nn.Linear)
        if neuron.reset != "zero":
            raise NIRError(f'NIR has no reset by {neuron.reset!r}: its LIF resets to zero. Train with reset="zero"')
        tau, r = _time_constant(neuron.decay, f"layer {i}", linear.out_features)
        modules.append((f"linear_{i}", _affine(linear) if i or scaling is None else _folded(linear, scaling)))
        threshold = np.broadcast_to(neuron.threshold.detach().double().numpy(), tau.shape).copy()
        node = nir.LIF(tau=tau, r=r, v_leak=np.zeros_like(tau), v_threshold=threshold, v_reset=np.zeros_like(tau))
        modules.append((f"lif_{i}", node))
    readout = net.readout
    tau, r = _time_constant(torch.tensor(readout.beta), "the readout", readout.linear.out_features)
    modules.append(("readout", _affine(readout.linear)))
    modules.append(("integrator", nir.LI(tau=tau, r=r, v_leak=np.zeros_like(tau))))
    modules.append(("output", nir.Output({"output": np.array([readout.linear.out_features])})))
    names = [name for name, _ in modules]
    metadata = {"dt": DT, _STEPS: net.steps_per_observation}
    return nir.NIRGraph(dict(modules), list(pairwise(names)), metadata=metadata)


def from_nir(graph: Any, *, steps_per_observation: int | None = None, surrogate: Surrogate | None = None) -> SpikingMLP:
    """The network that a graph describes, ready to run or to train on.

    Args:
        graph: a chain of ``Affine`` or ``Linear`` and ``LIF`` nodes that ends in an ``LI`` node.
        steps_per_observation: needed where the graph's metadata does not say it.
        surrogate: NIR holds none.

    Raises:
        NIRError: for any other graph, or neurons that leak or reset to another potential than zero.
    """
    stages, dt = _stages(graph)
    steps = int(graph.metadata.get(_STEPS, 0)) if steps_per_observation is None else steps_per_observation
    if steps < 1:
        raise NIRError("the graph does not say for how many steps an observation is held: pass steps_per_observation")
    *hidden, last = stages
    readout_beta, _ = _decay(last.neuron, dt)
    if np.ptp(readout_beta) > 0:
        raise NIRError("the readout's neurons have different time constants")
    net = SpikingMLP(
        hidden[0].weight.shape[1],
        [stage.weight.shape[0] for stage in hidden],
        last.weight.shape[0],
        steps_per_observation=steps,
        reset="zero",
        readout_beta=float(readout_beta.flat[0]),
        surrogate=surrogate,
    )
    for i, (stage, linear) in enumerate(zip(stages, [*net.linears, net.readout.linear], strict=True)):
        beta, gain = _decay(stage.neuron, dt)
        assert isinstance(linear, nn.Linear)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(stage.weight * gain.reshape(-1, 1)))
            linear.bias.copy_(torch.from_numpy(stage.bias * gain.reshape(-1)))
        if i < len(hidden):
            hold = steps if i == 0 else 1
            threshold = _scalar_if_shared(stage.neuron.v_threshold)
            net.neurons[i] = LIF(_scalar_if_shared(beta), threshold, reset="zero", hold=hold, surrogate=surrogate)
    return net


def write(
    net: nn.Module,
    path: Path | str,
    observations: Tensor | None = None,
    minimum: float = 0.9999,
    *,
    scaling: Scaling | None = None,
    received: Tensor | None = None,
) -> float | None:
    """Export to a file; with observations, read it back and compare spike by spike.

    Args:
        net: a ``SpikingMLP`` with ``reset="zero"``.
        path: of the file, usually ``*.nir``.
        observations: ``[B, F]``, each presented to the graph from rest.
        minimum: below this agreement the file is removed again and the export refused.
        scaling: as for :func:`to_nir`.
        received: ``[B, F]``, what the network receives in their place; the observations if not given.

    Returns:
        The share of equal spikes, or ``None`` without observations.

    Raises:
        NIRError: if the network cannot be expressed or what was read back does not agree.
    """
    graph = to_nir(net, scaling)
    nir.write(str(path), graph)
    if observations is None:
        return None
    agreement = spike_agreement(net, nir.read(str(path)), observations, received)
    if agreement < minimum:
        Path(path).unlink()
        raise NIRError(f"the exported graph does not do the same: {agreement:.4f} of the spikes agree")
    return agreement


def read(path: Path | str, **options: Any) -> SpikingMLP:
    """The network in a file; options as for :func:`from_nir`."""
    return from_nir(nir.read(str(path)), **options)


@torch.no_grad()
def spike_agreement(net: nn.Module, graph: Any, observations: Tensor, received: Tensor | None = None) -> float:
    """Share of equal spikes of the network and of the graph under its own equations.

    Args:
        net: the network.
        graph: takes the observations.
        observations: ``[B, F]``.
        received: ``[B, F]``, what the network receives in their place; the observations if not given.
    """
    if not isinstance(net, SpikingMLP):
        raise NIRError(f"only a SpikingMLP is compared, got {type(net).__name__}")
    _, _, spikes = net.forward_with_spikes((observations if received is None else received).unsqueeze(0))
    expected, _ = simulate(graph, observations, net.steps_per_observation)
    equal = [(a == b).double().flatten() for a, b in zip(spikes, expected, strict=True)]
    return torch.cat(equal).mean().item()


@torch.no_grad()
def simulate(graph: Any, observations: Tensor, num_steps: int) -> tuple[list[Tensor], Tensor]:
    """Run a graph by Euler's method, node by node and step by step: an implementation of its own, slow and plain.

    Returns:
        Spikes ``[T, B, N]`` of every LIF node, and the integrator's potential after the last step ``[B, O]``.
    """
    stages, dt = _stages(graph)
    dtype = observations.dtype
    potentials = [torch.zeros(observations.shape[0], stage.weight.shape[0], dtype=dtype) for stage in stages]
    spikes: list[list[Tensor]] = [[] for _ in stages[:-1]]
    for _ in range(num_steps):
        signal = observations
        for i, stage in enumerate(stages):
            current = nn.functional.linear(signal, _tensor(stage.weight, dtype), _tensor(stage.bias, dtype))
            beta, gain = _decay(stage.neuron, dt)
            v = potentials[i] * _tensor(beta, dtype) + _tensor(gain, dtype) * current
            if i < len(spikes):
                signal = (v > _tensor(stage.neuron.v_threshold, dtype)).to(dtype)
                v = torch.where(signal > 0, torch.zeros_like(v), v)
                spikes[i].append(signal)
            potentials[i] = v
    return [torch.stack(layer) for layer in spikes], potentials[-1]


@dataclass(frozen=True)
class _Stage:
    weight: np.ndarray
    bias: np.ndarray
    neuron: Any


def _stages(graph: Any) -> tuple[list[_Stage], float]:
    """The chain of linear maps and neurons, checked, and ``dt``."""
    following = dict(graph.edges)
    sources = [name for name, node in graph.nodes.items() if isinstance(node, nir.Input)]
    if len(sources) != 1 or len(following) != len(graph.edges) or len(set(following.values())) != len(graph.edges):
        raise NIRError("only a chain of nodes from one input to one output is read")
    chain: list[Any] = []
    name = sources[0]
    while name in following and len(chain) <= len(graph.nodes):
        name = following[name]
        chain.append(graph.nodes[name])
    kinds = [type(node).__name__ for node in chain]
    stages = []
    for linear, neuron in zip(chain[0:-1:2], chain[1:-1:2], strict=False):
        if not isinstance(linear, (nir.Affine, nir.Linear)):
            break
        bias = linear.bias if isinstance(linear, nir.Affine) else np.zeros(linear.weight.shape[0])
        stages.append(_Stage(np.asarray(linear.weight), np.asarray(bias), neuron))
    is_network = (
        len(stages) >= 2
        and len(chain) == 2 * len(stages) + 1
        and isinstance(chain[-1], nir.Output)
        and all(isinstance(stage.neuron, nir.LIF) for stage in stages[:-1])
        and isinstance(stages[-1].neuron, nir.LI)
    )
    if not is_network:
        raise NIRError(f"expected linear maps and LIF nodes in turn, and an LI node at the end, got {', '.join(kinds)}")
    for stage in stages:
        if np.any(stage.neuron.v_leak) or np.any(getattr(stage.neuron, "v_reset", 0.0)):
            raise NIRError("neurons must leak and reset to zero")
    return stages, float(graph.metadata.get("dt", DT))


def _affine(linear: Any) -> Any:
    return nir.Affine(weight=linear.weight.detach().numpy().copy(), bias=linear.bias.detach().numpy().copy())


def _folded(linear: nn.Linear, scaling: Scaling) -> Any:
    """Weights and bias for observations before their scaling, in double precision: large means cancel."""
    weight = linear.weight.detach().double() / scaling.deviation.double()
    bias = linear.bias.detach().double() - weight @ scaling.mean.double()
    return nir.Affine(weight=weight.numpy(), bias=bias.numpy())


def _time_constant(beta: Tensor, where: str, num_neurons: int) -> tuple[np.ndarray, np.ndarray]:
    decay = np.broadcast_to(beta.detach().double().numpy(), (num_neurons,))
    if np.any(decay >= 1):
        raise NIRError(f"{where} does not leak (beta is 1): NIR's LIF needs a finite time constant")
    tau = DT / (1 - decay)
    return tau, tau / DT


def _decay(neuron: Any, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """``beta`` and the gain of the current, of a step by Euler's method."""
    rate = dt / np.asarray(neuron.tau, dtype=np.float64)
    if np.any(rate > 1):
        raise NIRError(f"a time constant is shorter than a step of {dt:g} s")
    return 1 - rate, rate * np.asarray(neuron.r, dtype=np.float64)


def _scalar_if_shared(values: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(np.asarray(values, dtype=np.float64)).to(torch.get_default_dtype()).flatten()
    return tensor[0] if bool((tensor == tensor[0]).all()) else tensor


def _tensor(values: np.ndarray, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(np.asarray(values)).to(dtype)

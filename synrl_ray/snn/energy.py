"""What a decision costs: synaptic operations, spikes, memory, and an estimate of the energy, for any network here.

The counts follow the definitions of NeuroBench: a synaptic operation is *effective* where both weight and activation
are non-zero; it is an accumulate (AC) where the activation is a spike, otherwise a multiply-accumulate (MAC). Biases
are not synaptic operations. They are counted from what the layers receive and emit, in extra passes, without hooks.
Where skip connections add spikes, each of them is an accumulate. Recurrent synapses receive spikes of the step before,
and accumulate those as the others do.

A count of what this one leaves out is beside it (:mod:`synrl_ray.snn.strict_energy`).

Two things to know when numbers are compared. The observation is held as a constant current, so the first layer's
product is counted once per observation, as it is computed here; hardware that repeats it each step pays K times that.
Where an encoder makes spikes of the observation, the first layer accumulates them as the others do. What encoders and
neurons compute by themselves (receptive fields, currents, adaptations) is not a synaptic operation.
The readout is counted per spike, an AC for each weight that the spike meets.

References:
    Yik et al. (2025), "The neurobench framework for benchmarking neuromorphic computing algorithms and systems",
    Nature Communications 16, doi:10.1038/s41467-025-56739-4.
    Horowitz (2014), "Computing's energy problem (and what we can do about it)", ISSCC,
    doi:10.1109/ISSCC.2014.6757323: 32-bit float in 45 nm, 0.9 pJ an addition and 3.7 pJ a multiplication.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from synrl_ray.snn.readouts import PopulationDecoder
from synrl_ray.snn.recurrent import OneToOne
from synrl_ray.snn.spike_lists import SpikeLists


@dataclass(frozen=True)
class EnergyConstants:
    """Picojoules per operation; the defaults are for 45 nm and 32-bit floats.

    Raises:
        ValueError: for a negative constant.
    """

    mac_pj: float = 4.6
    ac_pj: float = 0.9

    def __post_init__(self) -> None:
        if self.mac_pj < 0 or self.ac_pj < 0:
            raise ValueError(f"energy constants must not be negative, got {self.mac_pj} and {self.ac_pj}")


@dataclass(frozen=True)
class EnergyReport:
    """Means per decision: one observation of one batch entry.

    Args:
        effective_macs, effective_acs: operations where weight and activation are non-zero.
        dense_operations: what the same layers would cost without sparsity, over all simulation steps.
        spikes_per_layer: emitted by each spiking layer; empty for a network without spikes.
        activation_sparsity: share of zeros among what the neurons emit, over all hidden layers.
        membrane_updates: neurons times simulation steps, readout included.
        parameters: number of weights, biases and learned neuron parameters.
        footprint_bytes: of parameters and buffers, and of one batch entry's state.
        energy_pj: synaptic operations times the constants.
        membrane_energy_pj: membrane updates at a MAC each, which the estimate above leaves out, as is usual.
    """

    effective_macs: float
    effective_acs: float
    dense_operations: float
    spikes_per_layer: tuple[float, ...]
    activation_sparsity: float
    membrane_updates: float
    parameters: int
    footprint_bytes: int
    energy_pj: float
    membrane_energy_pj: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a result file."""
        return asdict(self)


class Network(Protocol):
    """What is counted: the networks of this package and their non-spiking twins."""

    state_size: int

    def layer_inputs(
        self, inputs: Any, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> list[tuple[nn.Module, Tensor]]:
        """Every layer with weights, and what it receives."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """As of ``torch.nn.Module``."""

    def buffers(self) -> Iterator[Tensor]:
        """As of ``torch.nn.Module``."""


@torch.no_grad()
def count_energy(
    net: Network,
    inputs: Tensor | SpikeLists,
    state: Tensor | None = None,
    reset_mask: Tensor | None = None,
    constants: EnergyConstants | None = None,
    *,
    spiking_input: bool = False,
) -> EnergyReport:
    """Count what the network does for these observations.

    Args:
        net: a ``SpikingMLP``, ``SpikingCNN``, ``MLP`` or ``CNN``.
        inputs, state, reset_mask: as for its forward pass, ``[E, B, ...]``, or spikes ``[E * K, B, ...]``.
        constants: energy per operation.
        spiking_input: whether what a spiking network's first layer receives are spikes, so that it accumulates too; of
            one that is made for spikes, or codes latencies, it is known.

    Raises:
        ValueError: for input that is not finite or does not fit the network.

    Example:
        >>> from synrl_ray.snn import MLP
        >>> report = count_energy(MLP(4, (8,), 2), torch.ones(1, 3, 4))
        >>> report.effective_macs, report.effective_acs, report.parameters
        (48.0, 0.0, 58)
    """
    constants = constants or EnergyConstants()
    if isinstance(inputs, Tensor) and not bool(torch.isfinite(inputs).all()):
        raise ValueError("input must be finite")
    decisions = num_decisions(net, inputs)
    spiking_input = spiking_input or getattr(net, "is_fed_spikes", False)
    received = net.layer_inputs(inputs, state, reset_mask)
    is_spiking = hasattr(net, "steps_per_observation")
    num_steps = int(getattr(net, "steps_per_observation", 1))
    told = getattr(net, "receives_spikes", None)  # of users' networks, whose layers may receive either

    hidden = received[1:]
    macs = acs = dense = 0.0
    for index, (layer, signal) in enumerate(received):
        dense += dense_operations(layer, signal)
        if is_spiking and (told(signal, counts=spiking_input) if told else index > 0 or spiking_input):
            acs += accumulates(layer, signal)
        else:
            macs += effective_operations(layer, signal)
    if is_spiking:
        emitted = cast("Any", net).forward_with_spikes(inputs, state, reset_mask)[2]
    else:
        emitted = [signal for _, signal in hidden]
    spikes = [signal.sum().item() / decisions for signal in emitted] if is_spiking else []
    zeros = sum((signal == 0).sum().item() for signal in emitted)
    total = sum(signal.numel() for signal in emitted)
    macs, acs, dense = macs / decisions, acs / decisions, dense / decisions
    # what the hidden neurons emit has one entry a neuron and step; readouts of membranes integrate as well
    outputs = getattr(net, "state_sizes", [0])[-1] * num_steps
    updates = total / decisions + outputs if is_spiking else 0.0
    if told:
        updates = float(net.state_size * num_steps)
    memory = sum(t.numel() * t.element_size() for t in (*net.parameters(), *net.buffers()))
    return EnergyReport(
        effective_macs=macs,
        effective_acs=acs,
        dense_operations=dense,
        spikes_per_layer=tuple(spikes),
        activation_sparsity=zeros / total if total else 0.0,
        membrane_updates=updates,
        parameters=sum(p.numel() for p in net.parameters()),
        footprint_bytes=memory + 4 * net.state_size,
        energy_pj=macs * constants.mac_pj + acs * constants.ac_pj,
        membrane_energy_pj=updates * constants.mac_pj,
    )


def num_decisions(net: Network, inputs: Tensor | SpikeLists) -> int:
    """How many observations come in, of all rows."""
    counted = getattr(net, "num_observations", None)
    return int((inputs.shape[0] if counted is None else counted(inputs)) * inputs.shape[1])


def effective_operations(layer: nn.Module, signal: Tensor) -> float:
    """Products of a non-zero weight and a non-zero activation, summed over everything in ``signal``."""
    return _operations(layer, (signal != 0).double(), ignore_zero_weights=True)


def accumulates(layer: nn.Module, spikes: Tensor) -> float:
    """Non-zero weights that spikes meet, summed over everything in ``spikes``; the sum of two spikes counts twice."""
    return _operations(layer, spikes.double(), ignore_zero_weights=True)


def products(layer: nn.Module, active: Tensor) -> float:
    """Weights that activations meet, zero or not, summed over everything in ``active``."""
    return _operations(layer, active.double(), ignore_zero_weights=False)


def dense_operations(layer: nn.Module, signal: Tensor) -> float:
    """All products of a weight and an activation. Padding counts as no activation."""
    return products(layer, torch.ones_like(signal, dtype=torch.float64))


def _operations(layer: nn.Module, active: Tensor, ignore_zero_weights: bool) -> float:
    if not isinstance(layer, (nn.Linear, nn.Conv2d, OneToOne, PopulationDecoder)):
        raise TypeError(f"cannot count the operations of {type(layer).__name__}")
    weight = layer.weight
    connected = (weight != 0).double() if ignore_zero_weights else torch.ones_like(weight, dtype=torch.float64)
    if isinstance(layer, (OneToOne, PopulationDecoder)):  # one synapse for each neuron
        return float(active.flatten(0, -2).sum(0) @ connected)
    if isinstance(layer, nn.Linear):
        return float(active.flatten(0, -2).sum(0) @ connected.sum(0))
    counts = nn.functional.conv2d(
        active.sum(0, keepdim=True), connected, None, layer.stride, layer.padding, layer.dilation, layer.groups
    )
    return float(counts.sum())


def compare(spiking: EnergyReport, twin: EnergyReport) -> str:
    """A table of a spiking network beside its non-spiking twin, per decision.

    Example:
        >>> from synrl_ray.snn import MLP
        >>> report = count_energy(MLP(4, (8,), 2), torch.ones(1, 3, 4))
        >>> compare(report, report).splitlines()[0].split()
        ['per', 'decision', 'spiking', 'non-spiking', 'ratio']
    """
    rows = {
        "effective MACs": (spiking.effective_macs, twin.effective_macs),
        "effective ACs": (spiking.effective_acs, twin.effective_acs),
        "spikes": (sum(spiking.spikes_per_layer), sum(twin.spikes_per_layer)),
        "activation sparsity": (spiking.activation_sparsity, twin.activation_sparsity),
        "membrane updates": (spiking.membrane_updates, twin.membrane_updates),
        "parameters": (spiking.parameters, twin.parameters),
        "footprint (bytes)": (spiking.footprint_bytes, twin.footprint_bytes),
        "energy (pJ)": (spiking.energy_pj, twin.energy_pj),
        "with membranes (pJ)": (
            spiking.energy_pj + spiking.membrane_energy_pj,
            twin.energy_pj + twin.membrane_energy_pj,
        ),
    }
    lines = [f"{'per decision':<20}{'spiking':>14}{'non-spiking':>14}{'ratio':>9}"]
    for name, (ours, theirs) in rows.items():
        ratio = f"{ours / theirs:9.2f}" if theirs else f"{'-':>9}"
        lines.append(f"{name:<20}{ours:>14,.6g}{theirs:>14,.6g}{ratio}")
    return "\n".join(lines)

r"""What a decision costs by a count of what :mod:`synrl_ray.snn.energy` leaves out in a spiking network's favour, too.

That one counts synaptic operations as NeuroBench does. Here

- an observation that is held costs its product in every simulation step,
- membranes cost their updates: a MAC for each decay and each scaled sum of the neuron's equations, in every step;
  a subtracted reset an AC for each spike, a bias an AC for each neuron and step,
- normalisation over a layer costs three MACs and an AC for each current and step: it is added to the sum of all (AC)
  and its square to that of squares (MAC), from which :math:`\mu` and :math:`\sigma` follow, becomes
  :math:`i / \sigma - \mu / \sigma` (MAC) and meets gain and shift (MAC). Each layer, or set of maps, takes six MACs
  more: one for :math:`\mu`, two for the variance, one for :math:`\mu / \sigma`, and the root and its reciprocal as one
  each, for want of a figure. Running moments cost nothing, since they are part of the weights,
- an encoder costs, once for each observation and number, a MAC to scale it (population, latency) or an AC for its
  change and one for each spike that tells of it (delta), and for each of its receptive fields eleven MACs and three
  ACs: the distance (AC), its square (MAC), and the exponential in single precision as the Cephes library has it, ten
  MACs and two ACs,
- a mean over membranes costs an AC for each output and step; its division is part of the weights,
- memory costs each access, of 32-bit words: weights, biases, potentials, inputs and outputs.

Accesses follow Lemaire et al. (2022), equations 3 to 15: a spike reads the weights that it meets, reads and writes the
potentials behind them, and is itself read and written once; potentials are read and written once more in each step. A
layer that multiplies reads its weights once for each product, in a convolution the input, too, and writes its outputs.
Where an activation is zero nothing of it is read, in the twins as well. A current that is normalised is written once
and read twice, and its gain and shift are read; an encoder reads numbers and writes currents or spikes, and for changes
reads and writes what has been told of. Readouts of the highest or mean membrane read and write it in each step. An
access of a memory of :math:`n` bytes costs

.. math:: E(n) = 13.2563 + 8.2816 \cdot 10^{-5}\, n \quad \text{pJ},

their least-squares line through Horowitz' figures for 8 KiB, 32 KiB and 1 MiB of SRAM (10, 20 and 100 pJ). Each array
of weights, potentials or activations is a memory of its own. Comparisons (with a threshold, with a bound), addresses,
control and communication are not counted, nor what is done to observations before a policy and its twin alike, such as
their normalisation. Of a user's network no more is seen than its linear maps, convolutions and state.

References:
    Lemaire, Cordone, Castagnetti, Novac, Courtois & Miramond (2022), "An analytical estimation of spiking neural
    networks energy efficiency", arXiv:2210.13107.
    Horowitz (2014), "Computing's energy problem (and what we can do about it)", ISSCC, doi:10.1109/ISSCC.2014.6757323.
    Moshier (1989), "Methods and programs for mathematical functions", Ellis Horwood: Cephes, ``expf``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from synrl_ray.snn.adaptive import AdaptiveLIF
from synrl_ray.snn.encoders import DeltaCode, LatencyCode, PopulationCode
from synrl_ray.snn.energy import EnergyConstants, Network, accumulates, effective_operations, num_decisions, products
from synrl_ray.snn.neurons import LIF
from synrl_ray.snn.readouts import MembraneReadout
from synrl_ray.snn.recurrent import Recurrent
from synrl_ray.snn.snntorch_layer import SnnTorchLayer
from synrl_ray.snn.spike_lists import SpikeLists
from synrl_ray.snn.synaptic import Synaptic

_WORD = 4  # bytes
_FIELD_MACS, _FIELD_ACS = 11, 3
"""Of a receptive field: ``d = x - m``, ``d * d``, and of ``exp`` three MACs to reduce the range, a square, six of the
polynomial, one added to it and one to the exponent."""
_SNNTORCH_MACS = {"Leaky": 1, "Lapicque": 2, "Synaptic": 2, "Alpha": 3}
_NEURON_OPERATIONS = {
    "Leaky": {"subtract": 4, "zero": 4, "none": 2},
    "Synaptic": {"subtract": 6, "zero": 8, "none": 4},
    "Lapicque": {"subtract": 11, "zero": 11, "none": 9},
    "Alpha": {"subtract": 18, "zero": 24, "none": 16},
}
"""Additions and multiplications of one update, as NeuroBench 2.3 counts them; it has no ``none``, which here is
``subtract`` without the product and the difference of the reset."""


def access_pj(num_bytes: float) -> float:
    """Energy of one access of a memory of that size.

    Example:
        >>> round(access_pj(8 * 1024), 2), round(access_pj(1024 * 1024), 1)
        (13.93, 100.1)
    """
    return 13.2563 + 8.2816e-5 * num_bytes


@dataclass(frozen=True)
class StrictReport:
    """Means per decision.

    Args:
        macs, acs: of synapses, membranes, biases, resets, normalisations, encoders and readouts.
        membrane_macs: those of membranes, which are part of ``macs``.
        neuron_operations: NeuroBench's, of all neurons that spike, which count additions and multiplications singly.
        memory_accesses: of 32-bit words.
        compute_pj, memory_pj: energy of operations, and of accesses.
        energy_pj: both.
    """

    macs: float
    acs: float
    membrane_macs: float
    neuron_operations: float
    memory_accesses: float
    compute_pj: float
    memory_pj: float
    energy_pj: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a result file."""
        return asdict(self)


def macs_of_update(neuron: nn.Module) -> int:
    """Multiply-accumulates that one neuron of a layer takes for one simulation step.

    Example:
        >>> macs_of_update(LIF()), macs_of_update(Synaptic()), macs_of_update(AdaptiveLIF())
        (1, 2, 3)
    """
    if isinstance(neuron, Recurrent):
        return macs_of_update(neuron.neuron)
    if isinstance(neuron, SnnTorchLayer):
        return _SNNTORCH_MACS[type(neuron.neuron).__name__]
    if isinstance(neuron, AdaptiveLIF):
        return 3  # two decays, and kappa times the adaptation
    return int(getattr(neuron, "states_per_neuron", 1))  # a decay for each


def operations_of_update(neuron: nn.Module) -> int:
    """NeuroBench's neuron operations (2.3) of one neuron and simulation step; a reset counts whether it acts or not.

    Example:
        >>> operations_of_update(LIF()), operations_of_update(Synaptic(reset="zero"))
        (4, 8)
    """
    if isinstance(neuron, Recurrent):
        return operations_of_update(neuron.neuron)
    if isinstance(neuron, AdaptiveLIF):
        return 8  # a Leaky's 4, the adaptation's decay and sum, and kappa times it less the threshold
    if isinstance(neuron, SnnTorchLayer):
        return _NEURON_OPERATIONS[type(neuron.neuron).__name__][neuron.neuron.reset_mechanism]
    if isinstance(neuron, Synaptic):
        return _NEURON_OPERATIONS["Synaptic"][neuron.membrane.reset]
    return _NEURON_OPERATIONS["Leaky"][neuron.reset if isinstance(neuron, LIF) else "none"]


class _Account:
    """Operations and accesses so far."""

    def __init__(self) -> None:
        self.macs = self.acs = self.membrane_macs = self.neuron_operations = self.accesses = self.memory_pj = 0.0

    def access(self, number: float, words: float) -> None:
        """So many accesses of a memory of so many words."""
        self.accesses += number
        self.memory_pj += number * access_pj(words * _WORD)


@torch.no_grad()
def count_strictly(
    net: Network,
    inputs: Tensor | SpikeLists,
    state: Tensor | None = None,
    reset_mask: Tensor | None = None,
    constants: EnergyConstants | None = None,
    *,
    spiking_input: bool = False,
    encoder: nn.Module | None = None,
    dense: bool = False,
) -> StrictReport:
    """Count what the network does for these observations; arguments as for
    :func:`synrl_ray.snn.energy.count_energy`.

    Args:
        encoder: a ``PopulationCode`` or ``DeltaCode`` that has made the inputs; that of latencies is the network's own.
        dense: of a network without spikes: count as if no hidden activation were zero, the most that it can cost.

    Raises:
        TypeError: for another encoder, or a layer whose operations are not known.

    Example:
        >>> from synrl_ray.snn import MLP
        >>> report = count_strictly(MLP(4, (8,), 2), torch.ones(1, 3, 4))
        >>> report.macs, report.acs, report.memory_accesses  # weights, biases, inputs of each layer, outputs
        (48.0, 10.0, 80.0)
    """
    constants = constants or EnergyConstants()
    account = _Account()
    is_spiking = hasattr(net, "steps_per_observation")
    num_steps = int(getattr(net, "steps_per_observation", 1))
    told = getattr(net, "receives_spikes", None)
    decisions = num_decisions(net, inputs)
    is_fed = getattr(net, "is_fed_spikes", False)
    spiking_input = spiking_input or is_fed
    received = net.layer_inputs(inputs, state, reset_mask)
    own_encoder = getattr(net, "encoder", None)
    if encoder is not None:
        _encoding(account, encoder, cast("Tensor", inputs), decisions)
    if own_encoder is not None:
        _encoding(account, own_encoder, received[0][1], decisions)
    norms = _layer_norms(net)
    for index, (layer, signal) in enumerate(received):
        active = torch.ones_like(signal) if dense and index else signal
        takes_spikes = is_spiking and (told(signal, counts=spiking_input) if told else index > 0 or spiking_input)
        is_held = index == 0 and not told and not is_fed
        times = num_steps if is_spiking and is_held else 1
        _synapses(account, layer, active, takes_spikes, times)
        outputs = products(layer, torch.ones_like(signal)) / _fan_in(layer) * times
        if getattr(layer, "bias", None) is not None:
            account.acs += outputs
            account.access(outputs, len(cast("Tensor", layer.bias)))
        if layer in norms:
            _normalisation(account, norms[layer], outputs, _num_outputs(layer, signal))
        if not is_spiking:
            account.access(outputs, outputs / decisions)
    if is_spiking:
        _neurons(account, net, inputs, state, reset_mask, num_steps, decisions)
    compute = account.macs * constants.mac_pj + account.acs * constants.ac_pj
    each = (account.macs, account.acs, account.membrane_macs, account.neuron_operations, account.accesses)
    energies = (compute, account.memory_pj, compute + account.memory_pj)
    return StrictReport(*(value / decisions for value in (*each, *energies)))


def _layer_norms(net: Network) -> dict[nn.Module, nn.Module]:
    """What normalises the currents of a layer with weights, where that is not part of them."""
    norms: Iterable[nn.Module] = getattr(net, "norms", None) or ()
    pairs = zip(getattr(net, "weights", ()), norms, strict=False)
    return {layer: norm for layer, norm in pairs if isinstance(norm, nn.LayerNorm | nn.GroupNorm)}


def _normalisation(account: _Account, norm: nn.Module, currents: float, together: float) -> None:
    """Of so many currents, so many of which are normalised together."""
    account.macs += 3 * currents + 6 * currents / together
    account.acs += currents
    account.access(3 * currents, together)
    account.access(2 * currents, cast("Tensor", norm.weight).numel())  # gain, shift


def _encoding(account: _Account, encoder: nn.Module, coded: Tensor, decisions: int) -> None:
    """What makes ``coded`` of observations, once for each of them."""
    width, written = coded.shape[-1], float(coded.sum())  # of spikes
    if isinstance(encoder, PopulationCode):
        features, written = width // encoder.num_neurons, float(coded.numel())
        account.macs += decisions * features + _FIELD_MACS * written
        account.acs += _FIELD_ACS * written
    elif isinstance(encoder, LatencyCode):
        features = width
        account.macs += decisions * features
    elif isinstance(encoder, DeltaCode):
        features = encoder.state_size
        account.acs += decisions * features + written
        account.access(2 * decisions * features, features)  # what has been told: read, written
    else:
        raise TypeError(f"cannot count the operations of {type(encoder).__name__}")
    account.access(decisions * features, features)
    account.access(written, width)


def _synapses(account: _Account, layer: nn.Module, signal: Tensor, takes_spikes: bool, times: int) -> None:
    weights = cast("Tensor", layer.weight).numel()
    words = signal[0].numel() if isinstance(layer, nn.Conv2d) else signal.shape[-1]
    if takes_spikes:
        met, spikes = products(layer, signal) * times, float(signal.sum()) * times
        account.acs += accumulates(layer, signal) * times
        account.access(2 * met, _num_outputs(layer, signal))  # potentials: read, written
        account.access(spikes, words)
    else:
        met = products(layer, signal != 0) * times
        account.macs += effective_operations(layer, signal) * times
        reads = met if isinstance(layer, nn.Conv2d) else float((signal != 0).sum()) * times
        account.access(reads, words)
    account.access(met, weights)


def _neurons(
    account: _Account,
    net: Network,
    inputs: Tensor | SpikeLists,
    state: Tensor | None,
    reset_mask: Tensor | None,
    num_steps: int,
    decisions: int,
) -> None:
    """Updates of membranes, spikes that are written, and resets."""
    layers = cast("Any", net)
    emitted = layers.forward_with_spikes(inputs, state, reset_mask)[2]
    neurons: Iterable[nn.Module] = getattr(layers, "neurons", ())
    sizes = list(getattr(layers, "state_sizes", [net.state_size]))
    updated = num_steps * decisions
    for neuron, fired, size in zip(neurons, emitted, sizes, strict=False):
        account.membrane_macs += macs_of_update(neuron) * fired.shape[-1] * updated
        account.neuron_operations += operations_of_update(neuron) * fired.shape[-1] * updated
        account.access(2 * size * updated, size)
        if _subtracts(neuron):
            account.acs += float(fired.sum())
    account.membrane_macs += sizes[-1] * updated  # the readout; all that is carried where there are no known layers
    account.access(2 * sizes[-1] * updated, sizes[-1])
    readout = getattr(layers, "readout", None)
    if isinstance(readout, MembraneReadout):  # the sum, or the highest so far
        account.acs += sizes[-1] * updated if readout.how == "mean" else 0
        account.access(2 * sizes[-1] * updated, sizes[-1])
    for fired in emitted:
        account.access(float(fired.sum()), fired.shape[-1])
    account.macs += account.membrane_macs


def _subtracts(neuron: nn.Module) -> bool:
    """Whether a spike takes the threshold from the membrane."""
    if isinstance(neuron, Recurrent):
        return _subtracts(neuron.neuron)
    if isinstance(neuron, Synaptic):
        return neuron.membrane.reset == "subtract"
    if isinstance(neuron, SnnTorchLayer):
        return bool(neuron.neuron.reset_mechanism == "subtract")
    return neuron.reset == "subtract" if isinstance(neuron, LIF) else True


def _fan_in(layer: nn.Module) -> float:
    """Products for each output."""
    weight, bias = cast("Tensor", layer.weight), getattr(layer, "bias", None)
    if weight.dim() > 1:
        return weight[0].numel()
    return 1 if bias is None else weight.numel() / len(bias)  # one-to-one synapses; the decoder of a population


def _num_outputs(layer: nn.Module, signal: Tensor) -> float:
    """For one row of a signal."""
    rows = len(signal) if isinstance(layer, nn.Conv2d) else signal[..., 0].numel()
    return products(layer, torch.ones_like(signal)) / _fan_in(layer) / rows

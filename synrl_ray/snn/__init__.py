"""Spiking neurons, surrogate gradients and networks on plain torch tensors. Knows nothing of Ray."""

from synrl_ray.snn.adaptive import AdaptiveLIF
from synrl_ray.snn.convolution import CNN, SpikingCNN
from synrl_ray.snn.networks import MLP, SpikingMLP
from synrl_ray.snn.neurons import LIF, LeakyReadout
from synrl_ray.snn.recurrent import Recurrence, Recurrent
from synrl_ray.snn.scan import Kernel, Reset, lif_scan
from synrl_ray.snn.spike_lists import SpikeLists
from synrl_ray.snn.surrogate import Surrogate, SurrogateName
from synrl_ray.snn.synaptic import Synaptic

__all__ = [
    "CNN",
    "LIF",
    "MLP",
    "AdaptiveLIF",
    "Kernel",
    "LeakyReadout",
    "Recurrence",
    "Recurrent",
    "Reset",
    "SpikeLists",
    "SpikingCNN",
    "SpikingMLP",
    "Surrogate",
    "SurrogateName",
    "Synaptic",
    "lif_scan",
]

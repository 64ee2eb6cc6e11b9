"""Spiking neurons, surrogate gradients and networks on plain torch tensors. Knows nothing of Ray."""

from synrl_ray.snn.networks import MLP, SpikingMLP
from synrl_ray.snn.neurons import LIF, LeakyReadout
from synrl_ray.snn.scan import Reset, lif_scan
from synrl_ray.snn.surrogate import Surrogate, SurrogateName

__all__ = ["LIF", "MLP", "LeakyReadout", "Reset", "SpikingMLP", "Surrogate", "SurrogateName", "lif_scan"]

"""Graphs in files, and whether what lies in one does the same as the network it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import torch
from torch import Tensor, nn

from synrl_ray.snn.convolution import SpikingCNN
from synrl_ray.snn.networks import SpikingMLP
from synrl_ray.snn.nir.errors import NIRError
from synrl_ray.snn.nir.reading import from_nir
from synrl_ray.snn.nir.running import GraphRun, run
from synrl_ray.snn.nir.writing import Scaling, to_nir


def write(
    net: nn.Module,
    path: Path | str,
    observations: Tensor | None = None,
    minimum: float = 0.9999,
    *,
    scaling: Scaling | None = None,
) -> float | None:
    """Export to a file; with observations, read it back and compare spike by spike.

    Args:
        net: a ``SpikingMLP`` or ``SpikingCNN``.
        path: of the file, usually ``*.nir``.
        observations: ``[B, ...]`` that the network receives, each from rest.
        minimum: below this agreement the file is removed again and the export refused.
        scaling: as for :func:`to_nir`; the graph is given what ``observations`` are scaled from.

    Returns:
        The share of equal spikes, or ``None`` without observations.

    Raises:
        NIRError: if the network cannot be expressed or what was read back does not agree.
    """
    nir.write(str(path), to_nir(net, scaling))
    if observations is None:
        return None
    agreement = spike_agreement(net, nir.read(str(path)), observations, scaling)
    if agreement < minimum:
        Path(path).unlink()
        raise NIRError(f"the exported graph does not do the same: {agreement:.4f} of the spikes agree")
    return agreement


def read(path: Path | str, **options: Any) -> SpikingMLP | SpikingCNN:
    """The network in a file; options as for :func:`from_nir`."""
    return from_nir(nir.read(str(path)), **options)


@torch.no_grad()
def spike_agreement(net: nn.Module, graph: Any, observations: Tensor, scaling: Scaling | None = None) -> float:
    """Share of equal spikes of the network and of the graph in ``nir``'s equations, each observation from rest.

    Args:
        net: the network.
        graph: what it was exported to.
        observations: ``[B, ...]`` that the network receives.
        scaling: that the graph has in its first layer.
    """
    if not isinstance(net, SpikingMLP | SpikingCNN):
        raise NIRError(f"only a SpikingMLP or SpikingCNN is compared, got {type(net).__name__}")
    _, _, expected = net.forward_with_spikes(observations.unsqueeze(0))
    given = observations if scaling is None else observations * scaling.deviation + scaling.mean
    found, _, _ = run(GraphRun(graph, observations.dtype), given.unsqueeze(0), hold=net.steps_per_observation)
    return share_of_equal(expected, found)


def share_of_equal(expected: list[Tensor], found: list[Tensor]) -> float:
    """Of the spikes ``[T, B, N]`` of all layers."""
    equal = sum(int(((a > 0) == b).sum()) for a, b in zip(expected, found, strict=True))
    return equal / sum(layer.numel() for layer in expected)

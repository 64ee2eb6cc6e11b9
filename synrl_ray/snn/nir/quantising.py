r"""Weights of few bits, as chips hold them.

Symmetric, with a scale for each output channel:

.. math:: w \mapsto s_o \,\mathrm{round}(w / s_o), \qquad s_o = \frac{\max_i |w_{oi}|}{2^{bits - 1} - 1}

Biases and thresholds keep their precision: they are added in the accumulator, not multiplied. Rounding after training
is what Jacob et al. (2018), "Quantization and training of neural networks for efficient integer-arithmetic-only
inference", arXiv:1712.05877, call post-training quantization; the range is symmetric, and the zero exact.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import nir
import numpy as np

BITS = (2, 16)
"""Fewest and most."""


def quantised(graph: Any, bits: int) -> Any:
    """The graph with rounded weights; the metadata of each node with weights has its ``bits`` and ``scale``.

    Args:
        graph: is not changed.
        bits: of a weight, its sign included.

    Raises:
        ValueError: for too few or too many bits.

    Example:
        >>> graph = nir.NIRGraph.from_list(nir.Linear(np.array([[1.27, 0.004, -0.006]])))
        >>> (layer,) = [node for node in quantised(graph, 8).nodes.values() if isinstance(node, nir.Linear)]
        >>> layer.weight.round(6).tolist(), layer.metadata["scale"].round(6).tolist()
        ([[1.27, 0.0, -0.01]], [0.01])
    """
    least, most = BITS
    if not least <= bits <= most:
        raise ValueError(f"weights have {least} to {most} bits, got {bits}")
    nodes = {name: _rounded(node, bits) for name, node in graph.nodes.items()}
    return nir.NIRGraph(nodes, list(graph.edges), metadata=dict(graph.metadata))


def _rounded(node: Any, bits: int) -> Any:
    if not isinstance(node, nir.Affine | nir.Linear | nir.Conv2d):
        return node
    weight = np.asarray(node.weight, dtype=np.float64)
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    scale = np.where(largest > 0, largest, 1.0) / (2 ** (bits - 1) - 1)
    spread = scale.reshape(-1, *[1] * (weight.ndim - 1))
    found = copy(node)
    found.weight = np.round(weight / spread) * spread
    found.metadata = {**node.metadata, "bits": bits, "scale": scale}
    return found

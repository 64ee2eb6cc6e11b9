"""Graphs of NIR that are chains and still no network."""

import nir
import numpy as np
import pytest

from synrl_ray.snn.nir import NIRError, from_nir


def test_a_readout_alone_is_no_spiking_network():
    one = np.ones(1)
    graph = nir.NIRGraph.from_list(
        nir.Affine(weight=np.ones((1, 1)), bias=np.zeros(1)), nir.LI(tau=4e-4 * one, r=one, v_leak=0 * one)
    )
    with pytest.raises(NIRError, match="expected linear maps and LIF nodes in turn, and an LI node at the end"):
        from_nir(graph, steps_per_observation=2)

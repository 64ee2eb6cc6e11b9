r"""Networks to and from NIR, the intermediate representation that neuromorphic simulators and chips read.

NIR states neurons as differential equations; with steps of ``dt`` they are integrated by Euler's method, which is what
the networks here compute:

.. math:: v \leftarrow v + \frac{dt}{\tau}(v_{leak} - v + R I)
    = \beta v + I \quad\text{for } \tau = \frac{dt}{1 - \beta},\; R = \frac{\tau}{dt},\; v_{leak} = 0

Whatever a layer consists of is put in nodes of NIR's standard (:mod:`synrl_ray.snn.nir.writing`):

=====================  ===============================================================================================
reset to zero          ``LIF``: a spike sets ``v`` to ``v_reset``
reset by subtraction   ``LI → Threshold``, and back ``Scale(-threshold)``: a synapse of each neuron onto itself
no reset               ``LI → Threshold``
a synaptic current     ``CubaLIF``; but by subtraction or without a reset another ``LI`` before them
adaptation             ``LI → Scale(-kappa)`` from the neuron's spikes back to its ``Threshold``
=====================  ===============================================================================================

NIR says nothing of how long a signal takes round a loop. Here, and in NIRTorch, on which the importers of snnTorch and
Norse stand, it is one step, so that the loop computes :math:`u_t = \beta u_{t-1} + i_t - s_{t-1}\theta`, exactly.

References:
    Pedersen et al. (2024), "Neuromorphic intermediate representation: A unified instruction set for interoperable
    brain-inspired computing", Nature Communications 15, doi:10.1038/s41467-024-52259-9.
"""

from synrl_ray.snn.nir.errors import NIRError
from synrl_ray.snn.nir.files import read, spike_agreement, write
from synrl_ray.snn.nir.reading import from_nir
from synrl_ray.snn.nir.running import DT, GraphRun, run
from synrl_ray.snn.nir.writing import Scaling, to_nir

__all__ = ["DT", "GraphRun", "NIRError", "Scaling", "from_nir", "read", "run", "spike_agreement", "to_nir", "write"]

"""Networks whose weights change by evolved Hebbian rules while they act, as plain data (no torch import)."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Interval

from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.policies import ConvLayers
from synrl_ray.settings.types import Fraction, NonNegative, Positive, Sizes, Steps


@settings_class
class HebbianLayers:
    """A network without biases whose rules are evolved, not its weights (Najarro & Risi 2020, arXiv:2007.02686).

    Weights are drawn anew where an episode starts, and change after each decision. See
    :class:`synrl_ray.policies.hebbian.network.HebbianNetwork`, which has the rule.
    """

    hidden_sizes: Sizes = (128, 64)
    """Neurons or units of each hidden layer."""
    conv_layers: ConvLayers | None = None
    """Convolutions before it, for images ``[C, H, W]``: channels, kernel size and stride of each. Their filters are
    evolved as they are, and do not change in an episode."""
    pool: Annotated[int, Interval(ge=1, le=8)] = 2
    """Width of the maximum's windows after each convolution; 1 for none."""
    plastic: bool = True
    """Whether weights change. Without, the weights themselves are evolved: the control of the same network."""
    coefficients: Literal["synapse", "layer"] = "synapse"
    """Whether each synapse has a rule of its own, or each layer one for all of its synapses."""
    initial_weights: NonNegative = 0.1
    """Half of the width of the uniform distribution of the weights at an episode's start."""
    normalise_weights: bool = True
    """Whether each layer's weights are divided by the largest of their absolute values after every change, as the paper
    does for CarRacing; for its quadruped it does not."""


@settings_class
class AnnHebbian(HebbianLayers):
    """Hyperbolic tangents in all layers, as in the paper."""

    kind: Literal["ann"] = "ann"


@settings_class
class SpikingHebbian(HebbianLayers):
    """Leaky integrate-and-fire neurons that start every observation from rest, and whose traces live on.

    Their rule has a further coefficient, of pair-based STDP.
    """

    kind: Literal["spiking"] = "spiking"
    steps_per_observation: Steps = 4
    """Simulation steps for each observation, of 1 ms."""
    beta: Fraction = 0.8
    """Membrane decay per simulation step, of hidden neurons and of the outputs."""
    threshold: Positive = 0.3
    """Firing threshold; a spike takes it from the membrane."""
    tau_plus: Positive = 20.0
    """Time constant of the presynaptic trace, ms."""
    tau_minus: Positive = 20.0
    """Time constant of the postsynaptic trace, ms."""

"""A penalty on firing rates, which losses of several kinds may have."""

from __future__ import annotations

from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.types import Fraction, NonNegative


@settings_class
class RatePenalty:
    """What a loss adds for layers that fire often."""

    rate_penalty: NonNegative = 0.0
    """Weight of a penalty on spikes: in each observation the square of how far each spiking layer's firing rate lies
    above ``rate_target``, mean over layers (an upper bound on a population's activity, as of Zenke & Vogels 2021,
    doi:10.1162/neco_a_01367). With one above 0 networks are trained layer by layer, not as one compiled pass."""
    rate_target: Fraction = 0.05
    """Spikes in each neuron and simulation step that cost nothing; used where ``rate_penalty`` is above 0."""

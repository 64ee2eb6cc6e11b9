"""Settings of plasticity rules as plain data (no torch import). Time constants are in ms; a_* and w_* have no unit."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import Discriminator

from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.types import AsTuple, Fraction, Natural, NonNegative, Positive

TracePairing = Literal["all_to_all", "nearest"]
Dependence = Literal["additive", "multiplicative"]


@settings_class
class WeightBounds:
    """Where weights may lie."""

    w_min: float = 0.0
    """Lowest weight."""
    w_max: float = 1.0
    """Highest weight."""

    def __post_init__(self) -> None:
        """Refuse bounds that cross."""
        if self.w_min >= self.w_max:
            raise ValueError(f"weight bounds cross: w_min = {self.w_min} must be < w_max = {self.w_max}")


@settings_class
class SpikePairs:
    """What all rules of spike-timing-dependent plasticity share."""

    pairing: TracePairing = "all_to_all"
    """Whether a spike adds 1 to its traces, or sets them to 1 so that only the nearest spikes pair."""
    dependence: Dependence = "additive"
    """Additive (hard bounds), or scaled by the distance to the bound (soft bounds)."""


@settings_class
class PairSTDP(SpikePairs):
    """Pair-based STDP. Defaults: Song, Miller & Abbott (2000), doi:10.1038/78829."""

    name: Literal["pair"] = "pair"
    a_plus: NonNegative = 0.005
    """Weight change of a coincidence of pre before post."""
    a_minus: NonNegative = 0.00525
    """Weight change, taken away, of a coincidence of post before pre."""
    tau_plus: Positive = 20.0
    """Time constant of the presynaptic trace, ms."""
    tau_minus: Positive = 20.0
    """Time constant of the postsynaptic trace, ms."""


@settings_class
class TripletSTDP(SpikePairs):
    """Triplet STDP of Pfister & Gerstner (2006), doi:10.1523/JNEUROSCI.1425-06.2006.

    Defaults: their all-to-all minimal model of visual cortex.
    """

    name: Literal["triplet"] = "triplet"
    a2_plus: NonNegative = 0.0
    """Potentiation by pairs."""
    a2_minus: NonNegative = 7.1e-3
    """Depression by pairs."""
    a3_plus: NonNegative = 6.5e-3
    """Potentiation by triplets of two postsynaptic spikes and a presynaptic one."""
    a3_minus: NonNegative = 0.0
    """Depression by triplets of two presynaptic spikes and a postsynaptic one."""
    tau_plus: Positive = 16.8
    """Time constant of the fast presynaptic trace r1, ms."""
    tau_minus: Positive = 33.7
    """Time constant of the fast postsynaptic trace o1, ms."""
    tau_x: Positive = 101.0
    """Time constant of the slow presynaptic trace r2, ms."""
    tau_y: Positive = 114.0
    """Time constant of the slow postsynaptic trace o2, ms."""


STDPConfig = Annotated[PairSTDP | TripletSTDP, Discriminator("name")]


@settings_class
class RewardModulatedSTDP:
    """Three factors: pre, post and a modulator (Izhikevich 2007, doi:10.1093/cercor/bhl152)."""

    stdp: STDPConfig = field(default_factory=PairSTDP)
    """The rule that feeds the eligibility trace."""
    tau_e: Positive = 1000.0
    """Time constant of the eligibility trace, ms; 1 s in Izhikevich (2007), 25 ms in Florian (2007)."""
    lr: NonNegative = 1.0
    """Factor of eligibility times modulator. Florian's trace has 1 / tau_e in it: put it here."""


@settings_class
class RewardPrediction:
    """The running mean that a reward is compared with."""

    rate: Fraction = 0.05
    """Share of the newest reward in the mean; 0 leaves the raw reward."""


@settings_class
class TeacherSignal:
    """Current into the neuron that should fire, which fades out linearly."""

    current: NonNegative = 1.0
    """Current at the start, in units of the membrane."""
    hold_steps: Natural = 0
    """Steps for which it stays there."""
    fade_steps: Natural = 10_000
    """Steps from there to zero; 0 switches it off at once."""
    inhibition: NonNegative = 0.0
    """Current, taken away, of the neurons that should not fire, relative to the target's."""


@settings_class
class ThresholdAdaptation:
    """A threshold that brings its neuron to a target rate."""

    target_rate: Fraction = 0.05
    """Spikes per simulation step."""
    lr: NonNegative = 1e-3
    """Change of the threshold in each simulation step of each environment, per unit of excess rate."""
    threshold_min: float = 0.1
    threshold_max: float = 10.0

    def __post_init__(self) -> None:
        """Refuse bounds that cross."""
        if self.threshold_min >= self.threshold_max:
            raise ValueError(
                f"threshold bounds cross: threshold_min = {self.threshold_min} must be < threshold_max = "
                f"{self.threshold_max}"
            )


@settings_class
class PlasticLayers:
    """Layers of a spiking actor that learn by reward-modulated STDP in the env runners, beside the gradients that train
    all other weights.

    What their weights go through in the env runners is added, once an iteration, to the learner's. The modulator is the
    reward less its running mean, one for each environment.

    Example:
        >>> PlasticLayers(layers=(0, -1)).bounds.w_max
        1.0
    """

    layers: Annotated[tuple[int, ...], AsTuple, MinLen(1)] = (-1,)
    """Which of the actor's layers: 0 is the first, -1 the last, which drives the readout."""
    rule: RewardModulatedSTDP = field(default_factory=RewardModulatedSTDP)
    """How they learn."""
    prediction: RewardPrediction = field(default_factory=RewardPrediction)
    """The running mean that rewards are compared with."""
    bounds: WeightBounds = field(default_factory=lambda: WeightBounds(w_min=-1.0, w_max=1.0))
    """Where their weights may lie."""
    homeostasis: ThresholdAdaptation | None = None
    """Thresholds of the plastic layers' neurons that follow a firing rate, each neuron's own; the readout has none."""

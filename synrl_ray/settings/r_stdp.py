"""Settings of :class:`synrl_ray.policies.local.r_stdp.agent.RStdpAgent` as plain data (no torch import)."""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar, Literal

from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.plasticity import PairSTDP, RewardModulatedSTDP, RewardPrediction, TeacherSignal, WeightBounds
from synrl_ray.settings.policy_kinds import PolicyKind
from synrl_ray.settings.types import Count, Fraction, NonNegative, Positive, Size, Steps


@settings_class
class RStdp:
    """Input neurons to action neurons with winner-take-all, learning by reward-modulated STDP.

    Raises:
        ValueError: for a teacher of anything but place cells.
    """

    name: Literal["r_stdp"] = "r_stdp"
    policy: ClassVar[PolicyKind] = "spiking"
    """What kind of policy it trains."""

    steps_per_observation: Steps = 10
    """Simulation steps for each observation, K."""
    dt: Positive = 1.0
    """Simulation step, ms."""
    encoding: Literal["lif", "poisson", "spikes"] = "lif"
    """Place cells as LIF neurons driven by their activity, the same spikes each time; or as Poisson neurons. With
    ``spikes`` the observation is the input neurons' spikes themselves, ``[K, I]``."""
    place_gain: Positive = 1.2
    """Of a place cell with activity 1: current in each simulation step (``lif``), or spike probability, at most 1
    (``poisson``)."""
    tau_mem: Positive = 10.0
    """Membrane time constant of place cells and action neurons, ms."""
    threshold: Positive = 1.2
    """Of the action neurons; that of place cells is 1."""
    neurons_per_action: Size = 1
    """Output neurons that vote for each action."""
    initial_weight: float = 0.5
    """Mean of the weights at the start."""
    initial_spread: NonNegative = 0.01
    """Half of the width of the uniform distribution of initial weights."""
    bounds: WeightBounds = field(default_factory=WeightBounds)
    """Of the weights from input neurons to action neurons."""
    forgetting_steps: Positive | None = 40_000.0
    """Environment steps in which a weight that nothing changes loses 63 % of its distance to ``initial_weight``, so
    that choices that were certain are questioned again; ``None`` for never."""

    rule: RewardModulatedSTDP = field(
        default_factory=lambda: RewardModulatedSTDP(stdp=PairSTDP(a_plus=1.0, a_minus=0.0), tau_e=10.0, lr=0.05)
    )
    """What changes these weights; ``rule.lr = 0`` switches STDP off."""
    eligibility: bool = True
    """Whether traces live on from one environment step to the next, within an episode; without, a reward meets the
    spikes of its own step only."""
    shuffle_spikes: bool = False
    """Control: the rule sees every neuron's spikes of an observation in random order, as many as there were."""
    modulator: Literal["td_error", "reward_prediction", "reward"] = "td_error"
    """Third factor: the critic's TD error, the reward less its running mean, or the reward."""
    prediction: RewardPrediction = field(default_factory=RewardPrediction)
    """Of ``reward_prediction``."""
    gamma: Fraction = 0.95
    """Discount of an environment step, of the critic."""
    critic_lr: NonNegative = 0.5
    """Share of a TD error that one update takes away, where place cells do not overlap."""

    noise_start: NonNegative = 0.3
    """Standard deviation of the action neurons' current noise in each simulation step, at the start."""
    noise_end: NonNegative = 0.02
    """The same at the end of the schedule, which is linear, and after it."""
    noise_steps: Count = 100_000
    """Environment steps of the schedule."""
    teach: bool = False
    """Whether the teacher signal is on in training; it needs the right actions."""
    teacher: TeacherSignal = field(default_factory=lambda: TeacherSignal(current=0.2, fade_steps=15_000))
    """Strength and schedule, in environment steps, of the current into the neurons of the right action."""

    def __post_init__(self) -> None:
        """Refuse what cannot work together."""
        if self.teach and self.encoding == "spikes":
            raise ValueError("teach = true needs place cells, for the teacher's actions are theirs: take teach = false")

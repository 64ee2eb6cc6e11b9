"""Settings of a spiking Q-table as plain data (no torch import). Times are in ms, weights in units of return."""

from __future__ import annotations

import math
from dataclasses import field
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.plasticity import PairSTDP
from synrl_ray.settings.policy_kinds import PolicyKind
from synrl_ray.settings.q_learning import ActionValues
from synrl_ray.settings.schedules import linear
from synrl_ray.settings.types import Count, Fraction, NonNegative, Positive, Steps

MAX_TRACE_LENGTH = 10_000
_TRACE_LEFT = 1e-6  # of a tag, when it is forgotten


@settings_class
class StdpQ(ActionValues):
    """Q-learning and reward-modulated STDP on the same weights; see :mod:`synrl_ray.policies.local.stdp_q.agent`.

    Raises:
        ValueError: for a number out of its range; a base current too small for a spike within the decision; an
            eligibility trace longer than 10,000 decisions; STDP with soft bounds, since the weights have none.
    """

    name: Literal["stdp_q"] = "stdp_q"
    policy: ClassVar[PolicyKind] = "spiking"
    """What kind of policy it trains."""
    lr_steps: Count = 100_000
    """Environment steps of the step size's schedule."""
    gamma: Fraction = 1.0
    """Discount."""
    epsilon_start: Fraction = 0.15
    """Probability of a random action at the start."""
    epsilon_end: Fraction = 0.15
    """Probability of a random action at the end of its schedule."""
    epsilon_steps: Count = 100_000
    """Environment steps of the probability's schedule."""
    steps_per_observation: Annotated[Steps, Ge(2)] = 10
    """K, simulation steps of a decision: the state's spike in the first, membranes integrate in the others."""
    dt: Positive = 1.0
    """Simulation step, ms."""
    beta: Fraction = 0.9
    """Decay of the membrane in each simulation step."""
    base_current: Positive = 0.2
    """Current of an action neuron whose weight is the mean of its state's; in units of the threshold."""
    gain: Positive = 0.1
    """Current for each unit of return above the mean, in units of the threshold."""
    stdp: PairSTDP = field(default_factory=lambda: PairSTDP(a_plus=1.0, a_minus=1.0))
    """The rule that feeds the eligibility trace; the amplitudes are shares of ``stdp_weight``."""
    stdp_weight: NonNegative = 0.1
    """Factor of the STDP term at the start; 0 leaves Q-learning."""
    stdp_weight_end: NonNegative = 0.0
    """The same at the end of its schedule."""
    stdp_steps: Count = 40_000
    """Environment steps of the schedule."""
    tau_e: NonNegative = 95.0
    """Time constant of the eligibility trace, ms; 0 for none: then only the present decision's spikes count."""
    trace: Literal["accumulating", "replacing"] = "accumulating"
    """Whether a decision that comes again adds to its tag in the trace, or replaces it."""
    cut_at_exploration: bool = False
    """Forget the trace before a random action that is not the greedy one, as Watkins does."""
    modulator: Literal["td_error", "reward"] = "td_error"
    """Third factor of the STDP term."""
    shuffle_spikes: bool = False
    """Ablation: spikes of every neuron are moved to random simulation steps of the decision before STDP sees them."""

    def __post_init__(self) -> None:
        """Refuse what cannot work together."""
        membrane = self.base_current * sum(self.beta**step for step in range(self.steps_per_observation - 1))
        if membrane <= 1.001:
            raise ValueError(
                f"base_current = {self.base_current} brings the membrane to {membrane:.3g} of the threshold in "
                f"{self.steps_per_observation - 1} simulation steps: take more than "
                f"{1.001 * self.base_current / membrane:.3g}"
            )
        if self.trace_length > MAX_TRACE_LENGTH:
            raise ValueError(
                f"tau_e = {self.tau_e:g} ms lasts more than {MAX_TRACE_LENGTH} decisions of "
                f"{self.decision_time:g} ms: take a shorter one"
            )
        if self.stdp.dependence != "additive":
            raise ValueError(f"stdp.dependence must be additive, got {self.stdp.dependence!r}: weights have no bounds")

    @property
    def decision_time(self) -> float:
        """Duration of a decision, ms."""
        return self.steps_per_observation * self.dt

    @property
    def trace_decay(self) -> float:
        """What is left of the eligibility trace after a decision; corresponds to gamma times lambda of Q(lambda)."""
        return math.exp(-self.decision_time / self.tau_e) if self.tau_e else 0.0

    @property
    def trace_length(self) -> int:
        """Decisions after which less than a millionth of a tag is left, at most one more than are allowed."""
        length = -math.log(_TRACE_LEFT) * self.tau_e / self.decision_time
        return max(1, math.ceil(min(length, MAX_TRACE_LENGTH + 1)))

    def stdp_weight_at(self, env_steps: int) -> float:
        """Factor of the STDP term after so many environment steps."""
        return linear(self.stdp_weight, self.stdp_weight_end, self.stdp_steps, env_steps)

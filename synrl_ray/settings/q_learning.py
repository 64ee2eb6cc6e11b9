"""Settings of Q-learning on a table as plain data (no torch import)."""

from __future__ import annotations

from typing import ClassVar, Literal

from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.policy_kinds import PolicyKind
from synrl_ray.settings.schedules import linear
from synrl_ray.settings.types import Count, Fraction, Rate


@settings_class
class EpsilonGreedy:
    """Random actions, whose probability is linear in the environment steps of the run and stays at its end."""

    epsilon_start: Fraction = 1.0
    """Probability of a random action at the start."""
    epsilon_end: Fraction = 0.1
    """Probability of a random action at the end of its schedule."""
    epsilon_steps: Count = 200_000
    """Environment steps of the probability's schedule."""

    def epsilon_at(self, env_steps: int) -> float:
        """Probability of a random action after so many environment steps."""
        return linear(self.epsilon_start, self.epsilon_end, self.epsilon_steps, env_steps)


@settings_class
class ActionValues(EpsilonGreedy):
    """What learners of action values by TD errors share.

    Schedules are linear in the environment steps of the run, and stay at their ends.
    """

    lr: Rate = 1.0
    """Step size at the start; 1 takes each target as it is, which suits environments without chance."""
    lr_end: Rate | None = None
    """Step size at the end of its schedule; where not given, it stays."""
    lr_steps: Count = 1_000_000
    """Environment steps of the step size's schedule."""
    gamma: Fraction = 0.99
    """Discount."""
    initial_value: float = 0.0
    """Every action value at the start, in units of return; above the true values it makes the agent explore."""

    @property
    def final_lr(self) -> float:
        """Step size at the end of its schedule."""
        return self.lr if self.lr_end is None else self.lr_end

    def lr_at(self, env_steps: int) -> float:
        """Step size after so many environment steps."""
        return linear(self.lr, self.final_lr, self.lr_steps, env_steps)


@settings_class
class QLearning(ActionValues):
    """Tabular Q-learning (Watkins & Dayan 1992, doi:10.1007/BF00992698) with epsilon-greedy exploration."""

    name: Literal["q_learning"] = "q_learning"
    policy: ClassVar[PolicyKind] = "tabular"
    """What kind of policy it trains."""

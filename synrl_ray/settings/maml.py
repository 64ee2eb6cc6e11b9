"""Settings of meta-learning as plain data (no torch import)."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Gt, Interval, Lt

from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.types import Count, Fraction, InnerSteps, Natural, NonNegative, Positive

Order = Literal["second", "first"]
LearnedRates = Literal["none", "layer", "parameter"]
EngineName = Literal["vmap", "learn2learn"]
QueryStatistics = Literal["queries", "support"]
OuterLoss = Literal["policy_gradient", "ppo"]
PolicyOrder = Literal["second", "first", "reptile"]


@settings_class
class InnerUpdates:
    """How learners adapt to a task."""

    inner_lr: Positive = 0.01
    """Learning rate of the inner steps; where it is learned, its start."""
    inner_steps: InnerSteps = 1
    """Gradient steps on a task."""
    anil: bool = False
    """Only the last layer adapts (Raghu et al. 2020, arXiv:1909.09157)."""


@settings_class
class Maml(InnerUpdates):
    """Model-agnostic meta-learning (Finn, Abbeel & Levine 2017, arXiv:1703.03400) and its usual extensions."""

    order: Order = "second"
    """Whether meta-gradients pass through the inner gradients; ``"first"`` takes those as constants (FOMAML)."""
    first_order_until: Natural = 0
    """Meta-iterations of first order before those of second order (derivative-order annealing of MAML++)."""
    learn_inner_lr: LearnedRates = "none"
    """Inner rates as meta-parameters, one for each tensor of parameters or one for each number in them (Meta-SGD,
    Li et al. 2017, arXiv:1707.03141). As there, nothing keeps them positive."""
    multi_step_loss: bool = False
    """Add the query losses after each inner step, weighted (MAML++, Antoniou et al. 2019, arXiv:1810.09502)."""
    multi_step_iterations: Count = 1000
    """Meta-iterations over which those weights move from equal ones to the last step's loss alone."""
    query_statistics: QueryStatistics = "queries"
    """Whose mean and variance batch norm takes where queries are judged: those of all queries of the task together, as
    in MAML, which is transductive: an answer then depends on what else is asked; or those of the support set, which
    takes up to half as much time and memory again."""
    engine: EngineName = "vmap"
    """``"vmap"`` adapts all tasks of a chunk in one computation, ``"learn2learn"`` one after another: the reference."""
    chunk_size: Count | None = None
    """Tasks in one computation; ``None`` is the whole meta-batch. The result is the same: fewer need less memory and,
    where convolutions fill the caches with their maps, less time."""
    compile: bool = False
    """Compile the computation of a chunk (engine ``"vmap"``; minutes at the first call). What torch cannot
    compile runs as it is, with a warning."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict one another."""
        if self.first_order_until and self.order == "first":
            raise ValueError("first_order_until is for order='second': order='first' never becomes second order")
        if self.compile and self.engine != "vmap":
            raise ValueError(f"compile=true needs engine='vmap', got {self.engine!r}")
        if self.query_statistics == "support" and self.engine != "vmap":
            raise ValueError(f"query_statistics='support' needs engine='vmap', got {self.engine!r}")
        if self.compile and self.multi_step_loss:
            raise ValueError("compile=true would compile anew whenever the weights of multi_step_loss change")


@settings_class
class MamlRl(InnerUpdates):
    """MAML of policies: inner steps of policy gradient on episodes that are played in between (Finn et al. 2017)."""

    inner_lr: Positive = 3.0
    """Learning rate of the inner steps; where it is learned, its start."""
    learn_inner_lr: bool = True
    """Inner rates as meta-parameters, one for each tensor of parameters and each inner step; the last one serves any
    step after it. Nothing keeps them positive."""
    inner_steps: Annotated[int, Interval(ge=0, le=1_000)] = 3
    """Gradient steps on a task, each on new episodes. With 0 the same outer loss trains one policy for all tasks, which
    is domain randomisation, a control."""
    order: PolicyOrder = "second"
    """Whether meta-gradients pass through the inner gradients; ``"first"`` takes those as constants (FOMAML), and
    ``"reptile"`` moves the initial policy towards the adapted ones (Nichol et al. 2018, arXiv:1803.02999)."""
    episodes: Annotated[int, Interval(ge=2, le=10_000)] = 40
    """Of each task before each inner step, and again to judge what a step has made of the policy."""
    gae_lambda: Fraction = 0.95
    """Decay of the advantages' traces (Schulman et al. 2016, arXiv:1506.02438)."""
    outer: OuterLoss = "policy_gradient"
    """What judges an adapted policy on its own episodes; ``"ppo"`` takes several meta-steps on the same ones."""
    ppo_clip: Annotated[float, Gt(0), Lt(1)] = 0.2
    """How far PPO lets the ratio of probabilities move from 1 (Schulman et al. 2017, arXiv:1707.06347)."""
    ppo_epochs: Count = 3
    """PPO's meta-steps on the episodes of a meta-batch."""
    early_weight: NonNegative = 0.3
    """Weight of the outer losses after inner steps before the last, whose weight is 1."""
    entropy: NonNegative = 0.03
    """Bonus for the entropy of adapted policies where they go."""
    exploration: NonNegative = 0.3
    """Bonus for the entropy, in all states, of the initial policy. Its episodes are what adaptation learns from, but
    the meta-gradient does not pass through which of them are played (Stadie et al. 2018, arXiv:1803.01118, do that):
    without a bonus the initial policy becomes deterministic and finds few goals."""
    exploration_decay: Fraction = 0.3
    """Factor of that bonus for the policy after each inner step."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict one another."""
        if self.order == "reptile" and (self.learn_inner_lr or not self.inner_steps):
            raise ValueError(
                "order='reptile' has no gradient for inner rates: set learn_inner_lr=false, inner_steps>=1"
            )

r"""One decision of a layer of action neurons: the first spike wins.

The input neuron of state s fires once, in simulation step 0. One step later its synapses open currents that last for
the rest of the decision, less the mean of them (feed-forward inhibition), plus a base current:

.. math::
    i_a = i_0 + g\,\big(w_{sa} - \langle w_{sb} \rangle_b\big), \qquad
    u_{a,k} = \beta\, u_{a,k-1} + i_a, \qquad u_{a,0} = 0, \quad k = 1 \ldots K-1

with threshold 1. The neuron that is first above it fires, and its spike inhibits the whole layer until the decision
ends; of several that cross in the same step the highest membrane fires. Membranes are ordered as currents are at every
step, and currents as weights: the winner is the argmax of the weights, the lower action where they are equal. What the
spike adds is its time: the further the winner's weight is above the mean, the earlier it fires.

The largest weight is never below the mean, so with a base current that reaches the threshold by itself there is a
spike in every decision.

Legend: K simulation steps, N rows, A actions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from synrl_ray.plasticity.pairing import initial_state, stdp_factors
from synrl_ray.settings.plasticity import PairSTDP
from synrl_ray.settings.stdp_q import StdpQ
from synrl_ray.snn.scan import lif_scan
from synrl_ray.snn.surrogate import Surrogate

EXPLORATION_CURRENT = 0.1
"""By how much noise lifts a neuron above the largest current, in units of the threshold."""


class Decision(NamedTuple):
    """What the layer did."""

    winner: Tensor
    """``[N]``, actions"""
    pre_spikes: Tensor
    """``[K, N, 1]``: of the one input neuron that fires in each row"""
    post_spikes: Tensor
    """``[K, N, A]``"""


def action_currents(weights: Tensor, config: StdpQ) -> Tensor:
    """Currents into the action neurons, in units of the threshold: ``[N, A]`` → ``[N, A]``."""
    return config.base_current + config.gain * (weights - weights.mean(dim=1, keepdim=True))


def exploration_current(currents: Tensor, actions: Tensor) -> Tensor:
    """Currents ``[N, A]`` with those of ``actions [N]`` lifted above all others."""
    lifted = currents.max(dim=1, keepdim=True).values + EXPLORATION_CURRENT
    return currents.scatter(1, actions.unsqueeze(1), lifted)


def decide(currents: Tensor, config: StdpQ) -> Decision:
    """Integrate the membranes until the first spike; the equations stand at the top of the module.

    Args:
        currents: into the action neurons, in units of the threshold.
        config: K and beta.

    Shape:
        currents ``[N, A]``.

    Example:
        >>> decision = decide(action_currents(torch.tensor([[0.0, 3.0], [1.0, 1.0]]), StdpQ()), StdpQ())
        >>> decision.winner.tolist()
        [1, 0]
        >>> decision.post_spikes.sum(dim=2).argmax(dim=0).tolist()  # the nearer the weights, the later
        [4, 7]
    """
    scale = currents.new_tensor([config.beta, 1.0])
    spikes, membranes = lif_scan(
        currents.unsqueeze(0), torch.zeros_like(currents), beta=scale[0], threshold=scale[1], surrogate=Surrogate(),
        reset="none", hold=config.steps_per_observation - 1,
    )  # fmt: skip
    rows = torch.arange(currents.shape[0], device=currents.device)
    fires = spikes.amax(dim=2)
    # Without a spike, which only weights beyond float precision could bring about, the highest membrane decides.
    first = torch.where(fires.amax(dim=0) > 0, fires.argmax(dim=0), fires.shape[0] - 1)
    winner = membranes[first, rows].argmax(dim=1)
    pre = currents.new_zeros(config.steps_per_observation, currents.shape[0], 1)
    post = currents.new_zeros(config.steps_per_observation, *currents.shape)
    pre[0] = 1
    post[first + 1, rows, winner] = spikes[first, rows, winner]
    return Decision(winner, pre, post)


def shuffled(decision: Decision, generator: torch.Generator) -> Decision:
    """The same numbers of spikes at random simulation steps, drawn for every neuron and row by itself."""

    def shuffle(spikes: Tensor) -> Tensor:
        order = torch.rand(spikes.shape, generator=generator, dtype=spikes.dtype).argsort(dim=0)
        return spikes.gather(0, order)

    return Decision(decision.winner, shuffle(decision.pre_spikes), shuffle(decision.post_spikes))


def decision_stdp(decision: Decision, rule: PairSTDP, dt: float) -> Tensor:
    """Pair STDP of the winner's synapse over one decision, ``[N]``, spike traces starting from zero.

    The losers are inhibited before they fire, so that all other synapses have no pair.
    """
    pre, post = decision.pre_spikes, decision.post_spikes
    state = initial_state(rule, post.shape[1], 1, post.shape[2], post.dtype, post.device)
    factors, _ = stdp_factors(pre, post, state, rule, dt)
    changes = factors.pre_trace * factors.post_gain - factors.pre_gain * factors.post_trace
    return changes.sum(dim=0).gather(1, decision.winner.unsqueeze(1)).squeeze(1)

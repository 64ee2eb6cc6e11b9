"""Spikes of place cells, and action neurons that compete: the fast part of
:mod:`synrl_ray.policies.local.r_stdp.agent`.

Legend: K simulation steps, N environments, I place cells, A actions, M neurons of each action, O = A * M.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synrl_ray.snn.encoders import rate
from synrl_ray.snn.scan import Reset, lif_scan
from synrl_ray.snn.surrogate import Surrogate

_NO_GRADIENT = Surrogate("straight_through", 1.0)


def place_spikes(activities: Tensor, num_steps: int, gain: float, beta: float) -> Tensor:
    r"""Spikes of place cells that are LIF neurons with a threshold of 1, driven by their activity, from rest.

    .. math:: u_t = \beta u_{t-1} + g\,f - s_{t-1}, \qquad s_t = \Theta(u_t - 1)

    So the more active cell fires earlier and more often, and one with :math:`g f \le 1 - \beta` never does.

    Args:
        activities: of place cells, f.
        num_steps: K.
        gain: g, current in each simulation step of a cell with activity 1.
        beta: membrane decay per simulation step.

    Shape:
        activities ``[N, I]`` → ``[K, N, I]``.

    Example:
        >>> place_spikes(torch.tensor([[1.0, 0.4]]), 4, gain=0.75, beta=1.0)[:, 0].T.tolist()
        [[0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """
    spikes, _ = _scan(gain * activities.unsqueeze(0), beta, 1.0, "subtract", hold=num_steps)
    return spikes


def poisson_spikes(activities: Tensor, num_steps: int, gain: float, generator: torch.Generator) -> Tensor:
    """Spikes ``[K, N, I]`` with probability ``gain * activities`` in each simulation step, at most 1."""
    return rate((gain * activities).clamp(0, 1), num_steps, generator)


def winner_take_all(current: Tensor, num_actions: int, beta: float, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    r"""LIF neurons of which the first to fire decides, from rest.

    .. math:: u_t = \beta u_{t-1} + i_t, \qquad t^* = \min \{ t : \max_o u_{to} > \theta \}, \qquad
              o^* = \arg\max_o u_{t^* o}

    Lateral inhibition is strong and at once: after the first spike the whole layer, the winner too, is silent until
    the next observation. So there is one spike for each observation, the presynaptic spikes before it are those that
    caused it, and no reset is ever needed. If no membrane has reached the threshold by the last step, the neuron with
    the highest one fires then, so that there always is a decision and a spike that learning can work on.

    Args:
        current: of each neuron; neurons ``a * M`` to ``(a + 1) * M - 1`` belong to action a.
        num_actions: A.
        beta: membrane decay per simulation step.
        threshold: firing threshold.

    Shape:
        current ``[K, N, O]`` → spikes ``[K, N, O]``, actions ``[N]`` of int64, and ``[N]`` of bool: whether the
        threshold was reached.

    Example:
        >>> current = torch.tensor([[[0.6, 0.4]], [[0.6, 0.4]], [[0.0, 0.9]]])
        >>> spikes, actions, decided = winner_take_all(current, num_actions=2, beta=1.0, threshold=1.0)
        >>> spikes[:, 0].T.tolist(), actions.tolist(), decided.tolist()
        ([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [0], [True])
    """
    num_steps, num_envs, num_neurons = current.shape
    _, membranes = _scan(current, beta, threshold, "none")
    above = membranes.amax(dim=2) > threshold
    decided = above.any(dim=0)
    # argmax gives the first of equals: the step of the first spike
    first = torch.where(decided, above.to(torch.uint8).argmax(dim=0), num_steps - 1)
    envs = torch.arange(num_envs, device=current.device)
    winner = membranes[first, envs].argmax(dim=1)
    spikes = torch.zeros_like(current)
    spikes[first, envs, winner] = 1.0
    return spikes, winner // (num_neurons // num_actions), decided


def shuffled_in_time(spikes: Tensor, generator: torch.Generator) -> Tensor:
    """Each neuron's spikes ``[K, N, O]`` in random order, as many as there were."""
    order = torch.rand(spikes.shape, generator=generator, device=spikes.device).argsort(dim=0)
    return spikes.gather(0, order)


def _scan(current: Tensor, beta: float, threshold: float, reset: Reset, hold: int = 1) -> tuple[Tensor, Tensor]:
    return lif_scan(
        current,
        current.new_zeros(current.shape[1:]),
        beta=torch.tensor(beta, dtype=current.dtype, device=current.device),
        threshold=torch.tensor(threshold, dtype=current.dtype, device=current.device),
        surrogate=_NO_GRADIENT,
        reset=reset,
        hold=hold,
    )

r"""Exact values of many gridworlds at once by dynamic programming in float64: no sampling noise.

With h steps to go, of a policy and of the best one,

.. math:: V_h(s) = \langle r(s, a) + \gamma V_{h-1}(s') \rangle_a, \qquad
          V^*_h(s) = \max_a r(s, a) + \gamma V^*_{h-1}(s'), \qquad V_0 = V^*_0 = 0

The best action may depend on the steps that are left, so the optimum bounds every policy. Values are those of the
rewards without shaping, unless others are given. ``tabular_values`` has the same for one task, without discount.

Legend: M tasks, S states, A = 4 actions.

References:
    Sutton & Barto (2018), Reinforcement Learning: An Introduction, 2nd edition, chapter 4.
"""

from __future__ import annotations

from torch import Tensor

from synrl_ray.envs.gridworld import Gridworlds
from synrl_ray.errors import UserError


def optimal_action_values(grids: Gridworlds, discount: float = 1.0, reward: Tensor | None = None) -> Tensor:
    """Best expected returns after each action, with the whole horizon to go.

    Args:
        grids: the tasks.
        discount: of the return, in (0, 1].
        reward: ``[M, S, 4]``, other rewards than ``grids.task_reward``.

    Returns:
        ``[M, S, 4]`` of float64, in units of reward.

    Raises:
        UserError: for a discount out of range, or rewards of another shape.
    """
    reward = _checked_reward(grids, discount, reward)
    action_values = reward
    for _ in range(grids.horizon - 1):
        action_values = reward + discount * _ahead(grids, action_values.amax(dim=-1))
    return action_values


def optimal_values(grids: Gridworlds, discount: float = 1.0, reward: Tensor | None = None) -> Tensor:
    """The best expected return of each task over its first states, ``[M]``.

    Arguments and errors are those of :func:`optimal_action_values`.

    Example:
        >>> import numpy as np
        >>> grids = Gridworlds.from_cells(np.ones((3, 3), bool), [(2, 2)], [(0, 0)], horizon=10)
        >>> optimal_values(grids)
        tensor([0.9600], dtype=torch.float64)
    """
    return (grids.initial * optimal_action_values(grids, discount, reward).amax(dim=-1)).sum(dim=-1)


def policy_state_values(
    grids: Gridworlds, probabilities: Tensor, discount: float = 1.0, reward: Tensor | None = None
) -> Tensor:
    """Expected returns of a policy from each state, with the whole horizon to go.

    Args:
        grids: the tasks.
        probabilities: ``[M, S, 4]``, the distribution of actions in each state.
        discount, reward: as in :func:`optimal_action_values`.

    Returns:
        ``[M, S]`` of float64, in units of reward.

    Raises:
        UserError: as :func:`optimal_action_values`, and for probabilities that are no distributions.
    """
    reward = _checked_reward(grids, discount, reward)
    if probabilities.shape != reward.shape:
        problem = f"probabilities of actions have the shape {list(probabilities.shape)}"
        raise UserError(problem, f"{list(reward.shape)} are needed, [M, S, 4]")
    chosen = probabilities.to(reward.dtype)
    if not ((chosen >= 0).all() and ((chosen.sum(dim=-1) - 1).abs() < 1e-6).all()):
        raise UserError("probabilities of actions are no distributions", "each state's sum to 1 and are not negative")
    expected = (chosen * reward).sum(dim=-1)
    values = expected
    for _ in range(grids.horizon - 1):
        values = expected + discount * (chosen * _ahead(grids, values)).sum(dim=-1)
    return values


def policy_values(
    grids: Gridworlds, probabilities: Tensor, discount: float = 1.0, reward: Tensor | None = None
) -> Tensor:
    """The expected return of a policy in each task over its first states, ``[M]``; see :func:`policy_state_values`."""
    return (grids.initial * policy_state_values(grids, probabilities, discount, reward)).sum(dim=-1)


def regret(grids: Gridworlds, probabilities: Tensor, discount: float = 1.0) -> Tensor:
    """By how much a policy falls short of the optimum in each task, ``[M]``, without shaping.

    Arguments and errors are those of :func:`policy_state_values`. Up to rounding it is not negative.
    """
    return optimal_values(grids, discount) - policy_values(grids, probabilities, discount)


def _ahead(grids: Gridworlds, values: Tensor) -> Tensor:
    """``[M, S]`` → ``[M, S, 4]``: the value of where each action leads."""
    return values.gather(1, grids.next_state.flatten(1)).view_as(grids.next_state)


def _checked_reward(grids: Gridworlds, discount: float, reward: Tensor | None) -> Tensor:
    if not 0 < discount <= 1:
        raise UserError(f"discount={discount} is no discount", "choose one in (0, 1]")
    if reward is None:
        return grids.task_reward
    if reward.shape != grids.task_reward.shape:
        problem = f"rewards have the shape {list(reward.shape)}"
        raise UserError(problem, f"{list(grids.task_reward.shape)} are needed, [M, S, 4]")
    return reward.double()

"""Episodes of many gridworlds at once, in arrays with time first.

Legend: T environment steps, M tasks, E episodes, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from synrl_ray.envs.gridworld import NUM_ACTIONS, Gridworlds
from synrl_ray.errors import NonFiniteError, UserError

GridworldPolicy = Callable[[Tensor], Tensor]
"""Observations ``[M, E, D]`` → logits of actions ``[M, E, 4]``, or actions ``[M, E]`` of int64."""


@dataclass(frozen=True, eq=False)
class GridworldRollout:
    """One episode in each column, from its first step. Nothing is attached to a graph.

    Once an episode has ended, its rewards are 0 and its observations stay those of the goal; ``valid`` leaves these
    rows out.

    Attributes:
        observations: ``[T, M, E, D]`` of float32, before each step.
        actions: ``[T, M, E]`` of int64.
        rewards: ``[T, M, E]`` of float32, with shaping where there is any.
        task_rewards: ``[T, M, E]`` of float32, without it.
        terminated: ``[T, M, E]`` of bool, true for the step that reached the goal.
        valid: ``[T, M, E]`` of bool, true for the steps of the episode, the last one included.
        truncated: ``[M, E]`` of bool: the goal was not reached; a return is to be bootstrapped from
            ``last_observations``.
        last_observations: ``[M, E, D]``, after the last step.
        log_probs: ``[T, M, E]`` of the policy's dtype, of the actions that were taken; ``None`` where it gave actions.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    task_rewards: Tensor
    terminated: Tensor
    valid: Tensor
    truncated: Tensor
    last_observations: Tensor
    log_probs: Tensor | None

    def task_returns(self, discount: float = 1.0) -> Tensor:
        """Sums of discounted rewards without shaping, ``[M, E]``."""
        steps = torch.arange(len(self.task_rewards), device=self.task_rewards.device)
        return torch.tensordot(discount ** steps.to(self.task_rewards.dtype), self.task_rewards, dims=1)


@torch.no_grad()
def play(
    grids: Gridworlds,
    policy: GridworldPolicy,
    num_episodes: int,
    generator: torch.Generator | None = None,
    horizon: int | None = None,
) -> GridworldRollout:
    """Play E episodes of each task.

    Args:
        grids: the tasks.
        policy: is called once for each environment step, with all tasks and episodes; logits are sampled from.
        num_episodes: E.
        generator: of first states and of actions, on the tasks' device.
        horizon: another one than the tasks'.

    Raises:
        UserError: if there is no step or episode, or the policy's answer has another shape, dtype or range.
        NonFiniteError: if an action was sampled from logits with NaN or infinity.

    Example:
        >>> import numpy as np
        >>> grids = Gridworlds.from_cells(np.ones((3, 3), bool), goals=[(2, 2)], horizon=50)
        >>> played = play(grids, lambda seen: torch.zeros(*seen.shape[:2], 4), num_episodes=100)
        >>> played.rewards.shape
        torch.Size([50, 1, 100])
    """
    horizon = grids.horizon if horizon is None else horizon
    if horizon < 1:
        raise UserError(f"horizon={horizon} leaves no step", "choose 1 or more")
    states = [grids.reset(num_episodes, generator)]
    observations, actions, logits = [grids.observe(states[0])], [], []
    for _ in range(horizon):
        answer = policy(observations[-1])
        if answer.is_floating_point():
            _check_shape(answer, (*states[0].shape, NUM_ACTIONS))
            logits.append(answer)
            answer = _sample(answer, generator)
        else:
            _check_actions(answer, states[0])
        actions.append(answer)
        states.append(grids.next_state.take(grids.rows(states[-1], answer)))
        observations.append(grids.observe(states[-1]))
    before, acted = torch.stack(states[:-1]), torch.stack(actions)
    _, rewards, terminated = grids.step(before, acted)
    task_rewards = grids.task_reward.take(grids.rows(before, acted))
    return GridworldRollout(
        observations=torch.stack(observations[:-1]),
        actions=acted,
        rewards=rewards.float(),
        task_rewards=task_rewards.float(),
        terminated=terminated,
        valid=before != grids.goals[:, None],
        truncated=states[-1] != grids.goals[:, None],
        last_observations=observations[-1],
        log_probs=_log_probs(torch.stack(logits), acted) if logits else None,
    )


def _sample(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    """Gumbel's trick: the largest of logits with Gumbel noise is a draw from their softmax."""
    uniform = torch.rand(logits.shape, generator=generator, device=logits.device)
    return (logits - (-uniform.log()).log()).argmax(dim=-1)


def _log_probs(logits: Tensor, actions: Tensor) -> Tensor:
    chosen = logits.log_softmax(dim=-1).gather(-1, actions[..., None]).squeeze(-1)
    if not chosen.isfinite().all():
        raise NonFiniteError("the log-probability of an action", "episodes in gridworlds")
    return chosen


def _check_shape(answer: Tensor, shape: tuple[int, ...]) -> None:
    if answer.shape != shape:
        kind = "logits" if answer.is_floating_point() else "actions"
        wanted = "logits [M, E, 4] or actions [M, E]"
        raise UserError(f"the policy gave {kind} of shape {list(answer.shape)}", f"{wanted}; here {list(shape)}")


def _check_actions(actions: Tensor, states: Tensor) -> None:
    _check_shape(actions, tuple(states.shape))
    if actions.dtype != torch.int64 or actions.min() < 0 or actions.max() >= NUM_ACTIONS:
        problem = f"the policy gave actions of {actions.dtype} from {int(actions.min())} to {int(actions.max())}"
        raise UserError(problem, f"actions are of int64, from 0 to {NUM_ACTIONS - 1}")

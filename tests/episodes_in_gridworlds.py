"""Episodes of many gridworlds, played step by step: what exact values and visits are held against."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor

from synrl_ray.envs.gridworld import Gridworlds


def play(grids: Gridworlds, policy: Callable[[Tensor], Tensor], num_episodes: int, seed: int) -> SimpleNamespace:
    """E episodes of M tasks, ``[T, M, E]``; the policy gives logits ``[M, E, 4]`` of observations ``[M, E, D]``."""
    generator = torch.Generator().manual_seed(seed)
    states, observations, actions = [grids.reset(num_episodes, generator)], [], []
    for _ in range(grids.horizon):
        observations.append(grids.observe(states[-1]))
        chances = policy(observations[-1]).softmax(-1)
        drawn = torch.multinomial(chances.flatten(0, 1), 1, generator=generator)
        actions.append(drawn.view(states[-1].shape))
        states.append(grids.step(states[-1], actions[-1])[0])
    before, acted = torch.stack(states[:-1]), torch.stack(actions)
    return SimpleNamespace(
        observations=torch.stack(observations),
        last_observations=grids.observe(states[-1]),
        terminated=grids.step(before, acted)[2],
        task_rewards=grids.task_reward.take(grids.rows(before, acted)),
    )

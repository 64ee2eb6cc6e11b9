"""How well policies adapt to tasks that were held out, by the returns of episodes that they are not adapted on.

Legend: M tasks, S inner steps.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from synrl_ray.meta.environment_tasks import EnvironmentDistribution
from synrl_ray.meta.maml_trajectories import TrajectoryPolicy
from synrl_ray.meta.sizes import numbers_per_task, tasks_at_once
from synrl_ray.meta.tasks import Split

_STREAM = 2**20
"""Of the random numbers of all judgements: a task's episodes begin alike, however often it was adapted to."""


@dataclass(frozen=True, eq=False)
class ReturnJudgement:
    """Of each task, after 0 … S inner steps; means over as many episodes as an inner step has.

    Args:
        greedy: return of always taking the likeliest action ``[M, S + 1]``.
        stochastic: return of the policy as it is ``[M, S + 1]``.
        env_steps: that adaptation has taken so far ``[M, S + 1]``.
    """

    greedy: Tensor
    stochastic: Tensor
    env_steps: Tensor


def judge_returns(
    maml: TrajectoryPolicy, tasks: EnvironmentDistribution, split: Split, num_tasks: int, num_steps: int
) -> ReturnJudgement:
    """Adapt to the first M tasks of a split, the same ones with the same random numbers for every policy.

    Raises:
        NonFiniteError: if a policy is; it names the task's seed.
    """
    decisions = maml.config.episodes * tasks.settings.horizon
    at_once = tasks_at_once(numbers_per_task(maml.model, decisions, env_steps=decisions))
    parts = []
    for first in range(0, num_tasks, at_once):
        with closing(tasks.sample(split, range(first, min(first + at_once, num_tasks)))) as batch:
            experience = maml.play(batch, num_steps=num_steps, judged=False)
            taken = torch.stack([torch.zeros(len(batch)), *(played.env_steps for played in experience.support)], 1)
            returns = [
                torch.stack(
                    [
                        torch.from_numpy(maml.episodes(batch, policy, _STREAM, greedy=greedy).returns.mean(axis=1))
                        for policy in experience.policies
                    ],
                    1,
                )
                for greedy in (True, False)
            ]
            parts.append((*returns, taken.cumsum(1)))
    return ReturnJudgement(*map(torch.cat, zip(*parts, strict=True)))

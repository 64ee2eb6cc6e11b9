"""How well policies adapt to gridworlds that were held out: their exact regret, as a share of the optimal return.

Legend: M tasks, S inner steps, N states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synrl_ray.envs.gridworld import NUM_ACTIONS, Gridworlds
from synrl_ray.envs.gridworld_values import optimal_values, policy_values
from synrl_ray.meta.gridworld_batch import PlayedGridworlds
from synrl_ray.meta.maml_rl import MamlPolicy
from synrl_ray.meta.sizes import numbers_per_task, tasks_at_once
from synrl_ray.meta.tasks import Split


@dataclass(frozen=True, eq=False)
class PolicyJudgement:
    """Of each task, after 0 … S inner steps.

    Args:
        greedy: regret of always taking the likeliest action ``[M, S + 1]``, over the optimal return.
        stochastic: regret of the policy as it is ``[M, S + 1]``, over the optimal return.
        env_steps: that adaptation has taken so far ``[M, S + 1]``.
    """

    greedy: Tensor
    stochastic: Tensor
    env_steps: Tensor


def judge_policies(
    maml: MamlPolicy, tasks: PlayedGridworlds, split: Split, num_tasks: int, num_steps: int
) -> PolicyJudgement:
    """Adapt to the first M tasks of a split, the same ones with the same random numbers for every policy.

    Raises:
        NonFiniteError: if a policy is; it names the task's seed.
    """
    parts = []
    grids = tasks.sample(split, [0]).grids
    most_steps = maml.config.episodes * grids.horizon
    at_once = tasks_at_once(numbers_per_task(maml.model, grids.num_states, env_steps=most_steps))
    for first in range(0, num_tasks, at_once):
        batch = tasks.sample(split, range(first, min(first + at_once, num_tasks)))
        experience = maml.play(batch, num_steps=num_steps, judged=False)
        env_steps = torch.stack([torch.zeros(len(batch)), *(played.env_steps for played in experience.support)], 1)
        probabilities = [log_probs.double().softmax(-1) for log_probs in experience.policies]
        parts.append(
            PolicyJudgement(
                relative_regret(batch.grids, [greedy(p) for p in probabilities]),
                relative_regret(batch.grids, probabilities),
                env_steps.cumsum(1),
            )
        )
    return PolicyJudgement(
        torch.cat([part.greedy for part in parts]),
        torch.cat([part.stochastic for part in parts]),
        torch.cat([part.env_steps for part in parts]),
    )


def relative_regret(grids: Gridworlds, policies: Sequence[Tensor]) -> Tensor:
    """The share of the optimal return that policies ``[M, N, 4]`` fall short of, ``[M, len(policies)]``."""
    optimum = optimal_values(grids)
    return torch.stack([(optimum - policy_values(grids, policy)) / optimum for policy in policies], 1)


def greedy(probabilities: Tensor) -> Tensor:
    """The likeliest action of each state with probability 1; of equal ones, the first."""
    return torch.nn.functional.one_hot(probabilities.argmax(-1), NUM_ACTIONS).double()

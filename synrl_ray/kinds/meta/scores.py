"""The result of a meta-learner's scores on tasks.

Legend: M tasks, S inner steps.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from synrl_ray.results import Adaptation, Interval, Result

SCORES = ("regret", "accuracy", "mean_return", "loss")
"""What learners are judged by; the first of them that is known is the one that counts."""


class TaskScores(NamedTuple):
    """Of each task, after 0 … S inner steps."""

    by_name: Mapping[str, Tensor]
    """``[M, S + 1]`` each."""
    env_steps: Tensor | None = None
    """That adaptation has taken so far, ``[M, S + 1]``."""


def numbered(identities: Sequence[Hashable]) -> list[int]:
    """The number of the first task that is equal to each."""
    first = {identity: i for i, identity in reversed(list(enumerate(identities)))}
    return [first[identity] for identity in identities]


def result_of(
    found: TaskScores,
    policy: str,
    experiment: str | None,
    protocol: dict[str, Any],
    *,
    untrained: TaskScores | None = None,
    over: str = "test tasks",
    copies: Sequence[int] | None = None,
) -> Result:
    """The result of scores; those that count are of the protocol's number of inner steps.

    Intervals are 1.96 standard errors over tasks, as is usual for few-shot learning (Finn et al. 2017). Equal tasks are
    one: what they have in common makes their mean no surer.

    Args:
        found: of the learner.
        policy, experiment: what was judged.
        protocol: how.
        untrained: of the learner as it was made.
        over: what the tasks are.
        copies: for each task a number that equal ones have in common; all differ by default.
    """
    at = protocol["inner_steps"]
    doubles = {name: values.double() for name, values in found.by_name.items()}
    means = {name: tuple(values.mean(0).tolist()) for name, values in doubles.items()}
    errors = {name: tuple((1.96 * standard_error(values, copies)).tolist()) for name, values in doubles.items()}
    distinct = "" if copies is None or len(set(copies)) == len(copies) else "distinct "
    control = {} if untrained is None else untrained.by_name
    return Result(
        experiment=experiment,
        policy=policy,
        score=next(name for name in SCORES if name in doubles),
        figures={name: mean[at] for name, mean in means.items()},
        intervals=tuple(
            Interval(
                of=name,
                low=means[name][at] - errors[name][at],
                high=means[name][at] + errors[name][at],
                method="1.96 standard errors",
                over=distinct + over,
            )
            for name in means
        ),
        protocol=protocol,
        adaptation=Adaptation(
            by_step=means,
            errors=errors,
            tasks={name: tuple(values[:, at].tolist()) for name, values in doubles.items()},
            copies=tuple(copies) if distinct and copies else None,
            env_steps=None if found.env_steps is None else tuple(found.env_steps.double().mean(0).tolist()),
            untrained={name: tuple(values.double().mean(0).tolist()) for name, values in control.items()},
        ),
    )


def standard_error(values: Tensor, copies: Sequence[int] | None) -> Tensor:
    r"""Of the mean over tasks ``[M, S + 1]``, with G groups of equal ones:

    .. math:: \frac{1}{M} \sqrt{\frac{G}{G - 1} \sum_g \Big(\sum_{i \in g} (x_i - \bar x)\Big)^2}

    Where all differ, or none do, it is the deviation over :math:`\sqrt{M}`.
    """
    count = len(values) if copies is None else len(set(copies))
    if copies is None or count in (1, len(values)):
        return values.std(0) / len(values) ** 0.5
    groups = torch.unique(torch.tensor(copies), return_inverse=True)[1]
    summed = torch.zeros(count, values.shape[1], dtype=values.dtype).index_add(0, groups, values - values.mean(0))
    return (summed.square().sum(0) * count / (count - 1)).sqrt() / len(values)

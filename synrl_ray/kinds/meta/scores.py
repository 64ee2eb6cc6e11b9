"""The result of a meta-learner's scores on tasks.

Legend: M tasks, S inner steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

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


def result_of(
    found: TaskScores,
    policy: str,
    experiment: str | None,
    protocol: dict[str, Any],
    *,
    untrained: TaskScores | None = None,
    over: str = "test tasks",
) -> Result:
    """The result of scores; those that count are of the protocol's number of inner steps.

    Intervals are 1.96 standard errors over tasks, as is usual for few-shot learning (Finn et al. 2017).

    Args:
        found: of the learner.
        policy, experiment: what was judged.
        protocol: how.
        untrained: of the learner as it was made.
        over: what the tasks are.
    """
    at = protocol["inner_steps"]
    doubles = {name: values.double() for name, values in found.by_name.items()}
    means = {name: tuple(values.mean(0).tolist()) for name, values in doubles.items()}
    errors = {name: tuple((1.96 * values.std(0) / len(values) ** 0.5).tolist()) for name, values in doubles.items()}
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
                over=over,
            )
            for name in means
        ),
        protocol=protocol,
        adaptation=Adaptation(
            by_step=means,
            errors=errors,
            tasks={name: tuple(values[:, at].tolist()) for name, values in doubles.items()},
            env_steps=None if found.env_steps is None else tuple(found.env_steps.double().mean(0).tolist()),
            untrained={name: tuple(values.double().mean(0).tolist()) for name, values in control.items()},
        ),
    )

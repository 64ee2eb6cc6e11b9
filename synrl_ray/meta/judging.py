"""How well a learner adapts to tasks that it has not seen: figures with intervals, for ``result.json``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from synrl_ray.meta.maml import MamlModel, TaskMetrics
from synrl_ray.meta.sizes import numbers_per_task, tasks_at_once
from synrl_ray.meta.tasks import Split, TaskBatch, TaskDistribution


def judge(maml: MamlModel, tasks: TaskDistribution, split: Split, num_tasks: int, inner_steps: int) -> TaskMetrics:
    """Query losses ``[M, S + 1]``, and accuracies, on the first M tasks of a split: the same ones for every learner."""
    at_once = _at_once(maml, tasks.sample(split, [0]))
    return _joined(
        [
            maml.evaluate(tasks.sample(split, range(first, min(first + at_once, num_tasks))), inner_steps)
            for first in range(0, num_tasks, at_once)
        ]
    )


def judge_all(maml: MamlModel, batch: TaskBatch, inner_steps: int) -> TaskMetrics:
    """The same on given tasks."""
    return _joined([maml.evaluate(part, inner_steps) for part in batch.chunks(_at_once(maml, batch))])


def figures(metrics: TaskMetrics) -> dict[str, Any]:
    """Means over tasks after each number of inner steps; the score is that after all of them.

    Intervals are 1.96 standard errors over tasks, as is usual for few-shot learning (Finn et al. 2017).
    """
    found: dict[str, Any] = {}
    for name, values in (("loss", metrics.query_loss), ("accuracy", metrics.query_accuracy)):
        if values is not None:
            found |= described(name, values, values.shape[1] - 1)
    return found


def described(name: str, values: Tensor, score_at: int) -> dict[str, Any]:
    """Means over tasks of values ``[M, S + 1]`` after 0 … S inner steps, with their intervals.

    Args:
        name: of the score; that of the columns begins with it.
        values: of each task.
        score_at: the number of inner steps whose mean is the score.
    """
    means = values.double().mean(0).tolist()
    errors = (1.96 * values.double().std(0) / len(values) ** 0.5).tolist()
    score, error = means[score_at], errors[score_at]
    return {
        f"{name}_by_step": means,
        f"{name}_by_step_error95": errors,
        name: score,
        f"{name}_ci95": [score - error, score + error],
    }


def _at_once(maml: MamlModel, batch: TaskBatch) -> int:
    """How many of such tasks fit into one computation."""
    num_samples, pixels = max(batch.support_x.shape[1], batch.query_x.shape[1]), math.prod(batch.support_x.shape[3:])
    return tasks_at_once(numbers_per_task(maml.model, num_samples, pixels=pixels))


def _joined(parts: Sequence[TaskMetrics]) -> TaskMetrics:
    right = [part.query_accuracy for part in parts if part.query_accuracy is not None]
    return TaskMetrics(
        torch.cat([part.support_loss for part in parts]),
        torch.cat([part.query_loss for part in parts]),
        torch.cat(right) if right else None,
    )

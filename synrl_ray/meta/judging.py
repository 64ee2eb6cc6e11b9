"""How well a learner adapts to tasks that it has not seen: the scores of each task."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from synrl_ray.meta.maml import MamlModel, TaskMetrics
from synrl_ray.meta.sizes import numbers_per_task, samples_at_once, tasks_at_once
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


def scores_of(metrics: TaskMetrics) -> dict[str, Tensor]:
    """What each task is judged by, ``[M, S + 1]``: after 0 … S inner steps."""
    found = {"loss": metrics.query_loss}
    return found if metrics.query_accuracy is None else found | {"accuracy": metrics.query_accuracy}


def _at_once(maml: MamlModel, batch: TaskBatch) -> int:
    """How many of such tasks fit into one computation."""
    pixels = math.prod(batch.support_x.shape[3:])
    num_samples = samples_at_once(maml.by_support, batch.support_x.shape[1], batch.query_x.shape[1])
    return tasks_at_once(numbers_per_task(maml.model, num_samples, pixels=pixels))


def _joined(parts: Sequence[TaskMetrics]) -> TaskMetrics:
    right = [part.query_accuracy for part in parts if part.query_accuracy is not None]
    return TaskMetrics(
        torch.cat([part.support_loss for part in parts]),
        torch.cat([part.query_loss for part in parts]),
        torch.cat(right) if right else None,
    )

"""Omniglot's 20 official one-shot runs as tasks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synrl_ray.data.omniglot import EVALUATION_FREE
from synrl_ray.data.omniglot_runs import NUM_RUNS, WAYS, OneShotRuns
from synrl_ray.errors import UserError
from synrl_ray.meta.losses import CrossEntropy
from synrl_ray.meta.tasks import TaskBatch
from synrl_ray.settings.meta import AnyTasks, OmniglotTasks


def official_tasks(runs: OneShotRuns) -> TaskBatch:
    """One task for each run, 20 ways and 1 shot; its seed is the run's number from 0.

    Shape:
        support and query ``[20, 20, 1, 28, 28]``, float32 in 0 … 1; labels ``[20, 20]`` int64.
    """
    return TaskBatch(
        _inputs(runs.support),
        torch.arange(WAYS).expand(NUM_RUNS, -1),
        _inputs(runs.query),
        torch.from_numpy(runs.labels),
        CrossEntropy(),
        tuple(range(NUM_RUNS)),
    )


def require_fit(tasks: AnyTasks, trained_on: str) -> None:
    """Whether a learner of these tasks, trained on the set of that name, may be judged by the official runs.

    Raises:
        UserError: if it is for other tasks, or has been trained on characters of the evaluation set, which the runs
            are made of.
    """
    found = None
    match tasks:
        case OmniglotTasks(ways=ways, shots=shots):
            if (ways, shots) != (WAYS, 1):
                found = f"{ways} ways and shots={shots}"
        case _:
            found = tasks.name
    if found is not None:
        raise UserError(
            f"the official runs have {WAYS} ways and 1 shot, the learner is for {found}",
            f"train omniglot-maml with --set ways={WAYS} shots=1",
        )
    if trained_on not in EVALUATION_FREE:
        raise UserError(
            f"the learner was trained on {trained_on}, which may have the characters of the official runs",
            f"train with --set data={EVALUATION_FREE[0]}",
        )


def _inputs(images: NDArray[np.uint8]) -> Tensor:
    """``[20, 20, 28, 28]`` → ``[20, 20, 1, 28, 28]``."""
    return torch.from_numpy(images).float().div_(255).unsqueeze(2)

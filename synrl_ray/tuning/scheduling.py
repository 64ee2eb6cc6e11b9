"""Which trials go on: all, those of the upper ranks at every rung, or a population that copies its best.

Time is the progress of a trial in percent, so that it does not matter what a run counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, PopulationBasedTraining, TrialScheduler

from synrl_ray.experiment import Choice
from synrl_ray.tuning.space import as_json, draw_one, within
from synrl_ray.tuning.study import Study
from synrl_ray.tuning.trials import Trial

_TIME, _SCORE = "progress", "score"
_REDUCTION = 3


def make_scheduler(study: Study, trials: Sequence[Trial]) -> TrialScheduler:
    """The study's scheduler.

    Args:
        study: which one.
        trials: what earlier sessions have seen.

    Raises:
        UserError: see :meth:`Study.perturbed`.
    """
    interval = evaluation_interval(study)
    if study.scheduler == "asha":
        scheduler = AsyncHyperBandScheduler(
            time_attr=_TIME,
            metric=_SCORE,
            mode="max",
            max_t=100,
            grace_period=max(1, math.floor(interval)),
            reduction_factor=_REDUCTION,
        )
        _remember(scheduler, trials)
        return scheduler
    if study.scheduler == "pbt":
        return _population(study, interval)
    return FIFOScheduler()


def evaluation_interval(study: Study) -> float:
    """What lies between two evaluations, in percent of a run."""
    return 100 * min(1.0, study.kind.evaluation_share(study.run.experiment))


class _Population(PopulationBasedTraining):
    """Takes first settings from the study's source. Tune refuses that, since a search that learns would be misled by
    trials that change their settings; the source of a population draws at random and learns nothing."""

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Add a trial, whose settings have come from wherever."""
        super().on_trial_add(SimpleNamespace(search_alg=None), trial)


def _population(study: Study, interval: float) -> PopulationBasedTraining:
    experiment, space = study.run.experiment, study.perturbed()
    generator = np.random.default_rng(study.run.seed)

    def mutation(path: str) -> Any:
        bounds = space[path]
        if isinstance(bounds, Choice):
            return [as_json(option) for option in bounds.options]
        return lambda: draw_one(experiment, path, bounds, generator)

    def keep_inside(config: dict[str, Any]) -> dict[str, Any]:
        return config | {path: within(experiment, path, bounds, config[path]) for path, bounds in space.items()}

    return _Population(
        time_attr=_TIME,
        metric=_SCORE,
        mode="max",
        perturbation_interval=interval / 2,  # at every evaluation: they are a little less than an interval apart, too
        hyperparam_mutations={path: mutation(path) for path in space},
        custom_explore_fn=keep_inside,  # factors of 0.8 and 1.2 know no bounds
        log_config=False,
    )


def _remember(scheduler: TrialScheduler, trials: Sequence[Trial]) -> None:
    """Tell a new scheduler what trials of earlier sessions had at its rungs, so that new ones are compared to them."""
    for trial in trials:
        stand_in: Any = SimpleNamespace(trial_id=f"earlier {trial.name}")
        controller: Any = None
        scheduler.on_trial_add(controller, stand_in)
        for progress, score in zip(trial.progress, (score for _, score in trial.curve), strict=True):
            scheduler.on_trial_result(controller, stand_in, {_TIME: progress, _SCORE: score})

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
from synrl_ray.tuning.trainable import INDEX
from synrl_ray.tuning.trials import Trial, unfinished

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
        return _Asha(
            trials,
            time_attr=_TIME,
            metric=_SCORE,
            mode="max",
            max_t=100,
            grace_period=max(1, math.floor(interval)),
            reduction_factor=_REDUCTION,
        )
    if study.scheduler == "pbt":
        return _population(study, interval)
    return FIFOScheduler()


def evaluation_interval(study: Study) -> float:
    """What lies between two evaluations, in percent of a run."""
    return 100 * min(1.0, study.kind.evaluation_share(study.run.experiment))


class _Asha(AsyncHyperBandScheduler):
    """Knows what trials of earlier sessions had at its rungs: new ones are compared to them, and one that goes on is
    not judged again at rungs that it has passed."""

    def __init__(self, trials: Sequence[Trial], **settings: Any) -> None:
        super().__init__(**settings)
        going_on = unfinished(trials)
        self._going_on = {trial.index: trial for trial in going_on}
        for trial in trials:
            if trial.index not in self._going_on:
                stand_in = SimpleNamespace(trial_id=f"earlier {trial.name}")
                super().on_trial_add(None, stand_in)
                self._replay(stand_in, trial)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Add a trial, with what it had in earlier sessions."""
        super().on_trial_add(tune_controller, trial)
        if (earlier := self._going_on.get(trial.config[INDEX])) is not None:
            self._replay(trial, earlier)

    def _replay(self, trial: Any, earlier: Trial) -> None:
        for progress, (_, score) in zip(earlier.progress, earlier.curve, strict=True):
            self.on_trial_result(None, trial, {_TIME: progress, _SCORE: score})


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

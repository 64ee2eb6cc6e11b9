"""Where the settings of the next trial come from: the ranges at random, or Optuna's model of what has been seen."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from ray.tune.search import Searcher

from synrl_ray.experiment import Choice, LogUniform
from synrl_ray.settings.search import is_whole
from synrl_ray.tuning.space import as_json, draw, within
from synrl_ray.tuning.study import Study
from synrl_ray.tuning.trainable import INDEX
from synrl_ray.tuning.trials import Trial, unfinished

_ATTEMPTS = 1000


class Proposer(Protocol):
    """Proposes settings."""

    def propose(self, index: int) -> dict[str, Any]:
        """Settings of the trial with that number."""

    def tell(self, index: int, score: float | None) -> None:
        """What has become of it; ``None`` for a failure."""


class RandomProposer:
    """Draws from the ranges. A trial's settings depend on the study's seed and the trial's number alone."""

    def __init__(self, study: Study, trials: Sequence[Trial]) -> None:
        self.study, self.seen = study, {_key(trial.settings) for trial in trials}

    def propose(self, index: int) -> dict[str, Any]:
        """Settings that no trial has had; small choices may leave none, see :attr:`Study.num_trials`."""
        generator = np.random.default_rng([self.study.run.seed, index])
        for _ in range(_ATTEMPTS):
            settings = draw(self.study.run.experiment, self.study.space, generator)
            if _key(settings) not in self.seen:
                break
        self.seen.add(_key(settings))
        return settings

    def tell(self, index: int, score: float | None) -> None:
        """Nothing is learned from it."""


class OptunaProposer:
    """Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), which learns from finished trials."""

    def __init__(self, study: Study, trials: Sequence[Trial]) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = study
        self.distributions = {path: self._distribution(path) for path in study.space}
        sampler = optuna.samplers.TPESampler(seed=study.run.seed + len(trials), constant_liar=True)
        self.optuna = optuna.create_study(direction="maximize", sampler=sampler)
        self.asked: dict[int, Any] = {}
        for trial in trials:
            if trial.state in ("finished", "stopped") and trial.score is not None:
                parameters = {path: self._coded(path, value) for path, value in trial.settings.items()}
                self.optuna.add_trial(
                    optuna.trial.create_trial(params=parameters, distributions=self.distributions, value=trial.score)
                )

    def propose(self, index: int) -> dict[str, Any]:
        """What the model expects to be good."""
        self.asked[index] = self.optuna.ask(self.distributions)
        return {path: self._value(path, code) for path, code in self.asked[index].params.items()}

    def tell(self, index: int, score: float | None) -> None:
        """Learn from a trial."""
        import optuna

        if index not in self.asked:  # of an earlier session: it counts from the next one on
            return
        if score is None:
            self.optuna.tell(self.asked[index], state=optuna.trial.TrialState.FAIL)
        else:
            self.optuna.tell(self.asked[index], score)

    def _distribution(self, path: str) -> Any:
        from optuna import distributions

        bounds = self.study.space[path]
        if isinstance(bounds, Choice):  # by number: Optuna's categories are plain values, settings may be sizes
            return distributions.CategoricalDistribution(range(len(bounds.options)))
        logarithmic = isinstance(bounds, LogUniform)
        if is_whole(self.study.run.experiment, path):
            return distributions.IntDistribution(math.ceil(bounds.low), math.floor(bounds.high), log=logarithmic)
        return distributions.FloatDistribution(bounds.low, bounds.high, log=logarithmic)

    def _value(self, path: str, code: Any) -> Any:
        bounds = self.study.space[path]
        if isinstance(bounds, Choice):
            return as_json(bounds.options[code])
        return within(self.study.run.experiment, path, bounds, code)

    def _coded(self, path: str, value: Any) -> Any:
        bounds = self.study.space[path]
        return [as_json(option) for option in bounds.options].index(value) if isinstance(bounds, Choice) else value


class TrialSource(Searcher):
    """Hands Tune the trials: first those that an earlier session has left unfinished, then new ones.

    Args:
        study: what is searched.
        trials: those that there are; new ones are appended.
    """

    def __init__(self, study: Study, trials: list[Trial]) -> None:
        super().__init__(metric="score", mode="max")
        self.study, self.trials = study, trials
        self.proposer = make_proposer(study, trials)
        self.waiting = unfinished(trials)
        self.by_tune: dict[str, Trial] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next trial's configuration."""
        if self.waiting:
            trial = self.waiting.pop(0)
        elif len(self.trials) < self.study.num_trials:
            trial = Trial(index=len(self.trials), settings=self.proposer.propose(len(self.trials)))
            self.trials.append(trial)
        else:
            return str(Searcher.FINISHED)
        self.by_tune[trial_id] = trial
        return {INDEX: trial.index, **trial.settings}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Pass on what has become of a trial."""
        score = None if error or result is None else result.get("score")
        self.proposer.tell(self.by_tune[trial_id].index, score)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study's folder has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see :meth:`save`."""


def make_proposer(study: Study, trials: Sequence[Trial]) -> Proposer:
    """The study's proposer, with what earlier sessions have found."""
    return OptunaProposer(study, trials) if study.search == "optuna" else RandomProposer(study, trials)


def _key(settings: dict[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)

"""What a search is, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any, Literal, get_args

from synrl_ray.errors import UserError
from synrl_ray.experiment import AnyExperiment, Choice
from synrl_ray.kinds import kind_of
from synrl_ray.overrides import apply_overrides
from synrl_ray.running.kind import Kind
from synrl_ray.running.spec import RunSpec
from synrl_ray.tuning.space import Space, as_json, num_combinations

Scheduler = Literal["asha", "pbt", "none"]
Search = Literal["random", "optuna"]
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a search is. Its ranges are the ``search_space`` of the run's experiment."""

    run: RunSpec
    """What every trial trains, but for the searched settings."""
    samples: int
    scheduler: Scheduler = "asha"
    search: Search = "random"
    max_concurrent: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings that differ from the experiment's file, as JSON; a part of ``best.json``."""

    @property
    def space(self) -> Space:
        """The searched settings and their ranges."""
        return dict(self.run.experiment.search_space)

    @property
    def kind(self) -> Kind[Any]:
        """Of its trials."""
        return kind_of(self.run.experiment)

    @property
    def num_trials(self) -> int:
        """How many trials there are: the samples, or all combinations where choices have fewer."""
        return int(min(self.samples, num_combinations(self.space)))

    def perturbed(self) -> Space:
        """What population-based training changes in a running trial: settings of the algorithm.

        Those of the network and of the environment belong to the weights and are copied with them.

        Raises:
            UserError: if there are none, or the population has one trial only.
        """
        if self.num_trials < 2:
            raise UserError("a population has more than one trial", "write for instance --samples 8")
        space = {path: bounds for path, bounds in self.space.items() if path.startswith("algorithm.")}
        if not space:
            raise UserError("--scheduler pbt changes settings of the algorithm only", "search some, or take asha")
        return space

    def require_installed(self) -> None:
        """Raise :class:`UserError` if the search needs a package that is not there."""
        if self.search == "optuna" and find_spec("optuna") is None:
            raise UserError("--search optuna needs the package optuna", "pip install 'synrl-ray[tune]'")

    def experiments(self) -> list[AnyExperiment]:
        """The run's experiment, and what it is with each option of a choice: all that its trials may import is there.

        Raises:
            UserError: for an option that does not fit the others' settings.
        """
        choices = [  # of any setting: not the environment alone names a module
            {path: as_json(option)}
            for path, bounds in self.space.items()
            if isinstance(bounds, Choice)
            for option in bounds.options
        ]
        return [self.run.experiment, *(self.trial(choice).experiment for choice in choices)]

    def require_searched(self, settings: dict[str, Any]) -> None:
        """Refuse settings that no trial of this study can have had.

        Raises:
            UserError: for values that settings do not take.
            ValueError: for other settings than are searched, or what is no option of a choice.
        """
        if settings.keys() != self.space.keys():
            raise ValueError(f"a trial has the settings {', '.join(settings) or 'none'}, not those that are searched")
        for path, bounds in self.space.items():
            if isinstance(bounds, Choice) and settings[path] not in [as_json(option) for option in bounds.options]:
                raise ValueError(f"a trial has {path}={settings[path]!r:.40}, which is no option")
        self.trial(settings)

    def trial(self, settings: dict[str, Any]) -> RunSpec:
        """The run of a trial.

        Raises:
            UserError: if the settings do not fit one another.
        """
        return replace(self.run, experiment=apply_overrides(self.run.experiment, (), settings))

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "format": _FORMAT,
            "samples": self.samples,
            "scheduler": self.scheduler,
            "search": self.search,
            "max_concurrent": self.max_concurrent,
            "settings": self.settings,
            "run": self.run.to_json(),
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> Study:
        """Inverse of :meth:`to_json`.

        Raises:
            KeyError, TypeError, ValueError: if the data are not a study's.
        """
        if data.get("format") != _FORMAT:
            raise ValueError(f"format {data.get('format')!r} is not known")
        scheduler, search = data["scheduler"], data["search"]
        if scheduler not in get_args(Scheduler) or search not in get_args(Search):
            raise ValueError(f"{scheduler} with {search} is not known")
        most = data["max_concurrent"]
        return Study(
            run=RunSpec.from_json(data["run"]),
            samples=int(data["samples"]),
            scheduler=scheduler,
            search=search,
            max_concurrent=None if most is None else int(most),
            settings=dict(data["settings"]),
        )

"""What ``synrl tune`` prints at its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from synrl_ray.commands import command
from synrl_ray.files import named
from synrl_ray.running.again import chosen_algorithm, experiment_words
from synrl_ray.running.spec import RunSpec
from synrl_ray.tuning.score import WORST
from synrl_ray.tuning.session import SearchOutcome

_MOST_ROWS = 20
_ANY_WIDTH = 10_000
_console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


def as_result(outcome: SearchOutcome) -> dict[str, Any]:
    """The outcome for machines."""
    return {
        "experiment": outcome.study.run.experiment.id,
        "policy": outcome.study.run.policy,
        "folder": str(outcome.folder),
        "best": outcome.best.to_json(),
        "config": outcome.settings,
        "trials": [trial.to_json() for trial in outcome.trials],
    }


def print_search(outcome: SearchOutcome) -> None:
    """A table of the trials, best first, the best configuration, and what to do next."""
    study, trials, best = outcome.study, outcome.trials, outcome.best
    ranked = sorted(trials, key=lambda trial: (trial.state != "failed", trial.rank), reverse=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("trial", justify="right")
    table.add_column(best.score_name, justify="right")
    table.add_column(study.kind.unit.words, justify="right")
    table.add_column("state")
    for path in study.space:
        table.add_column(path.removeprefix("algorithm."), justify="right")
    for trial in ranked[:_MOST_ROWS]:
        score = "-" if trial.score is None or trial.score <= WORST else f"{trial.score:.6g}"
        settings = [_shown(trial.settings[path]) for path in study.space]
        table.add_row(str(trial.index), score, f"{trial.steps:,}", trial.state, *settings)
    _console.print()
    whole = Measurement.get(_console, _console.options.update(max_width=_ANY_WIDTH), table).maximum
    # A narrow terminal breaks lines, where the table would leave parts of them out.
    Console(highlight=False, markup=False, emoji=False, width=whole).print(table)
    if len(ranked) > _MOST_ROWS:
        _console.print(f"… and {len(ranked) - _MOST_ROWS} more in trials.jsonl")
    for trial in trials:
        if trial.error:
            _console.print(f"Trial {trial.index} failed: {trial.error}")
    _console.print(f"\nBest          trial {best.index}: " + "  ".join(_pairs(best.settings)))
    _console.print(f"Files         {outcome.folder}/  (best.json, trials.jsonl, tuning.png, trials/)")
    _console.print(f"Train it      {_train_it(outcome.folder, study.run)}")


def _train_it(folder: Path, run: RunSpec) -> str:
    """The command that trains what was found, beside the study: the usual folder may hold other runs."""
    words = ["train", *experiment_words(run.experiment)]
    words += ["--policy", run.policy] if run.policy != run.experiment.policies[0] else []
    words += ["--num-workers", str(run.num_workers)] if run.num_workers else []
    words += ["--gpus-per-learner", f"{run.gpus_per_learner:g}"] if run.gpus_per_learner else []
    folder = named(folder)
    beside = folder.with_name(f"{folder.name}-best")
    words += ["--set", *chosen] if (chosen := chosen_algorithm(run.experiment)) else []
    return command(*words, "--config", folder / "best.json", "--seeds", "5", "--run-dir", beside)


def _pairs(settings: dict[str, Any]) -> list[str]:
    return [f"{path}={_shown(value)}" for path, value in settings.items()]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)

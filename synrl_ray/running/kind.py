"""What the engine trains, and what the command knows of a kind of run: the two interfaces that a kind implements.

The engine is handed a :class:`Kind` and knows none of them; ``synrl_ray.kinds`` has the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from synrl_ray.envs.registration import foreign_module
from synrl_ray.errors import UserError
from synrl_ray.experiment import AnyExperiment, Environment
from synrl_ray.policies.description import Description
from synrl_ray.results import Result
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.parallel_evaluation import Columns, Judging
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from synrl_ray.evaluation.episodes import BatchPolicy

E = TypeVar("E", bound=AnyExperiment)


@dataclass(frozen=True)
class Measured:
    """One iteration's outcome."""

    steps: int
    """Units trained so far, over the whole run."""
    episodes: int
    """Episodes that ended in this iteration; 0 where there are none."""
    row: dict[str, float | None]
    """Columns for ``metrics.jsonl``."""
    notices: tuple[str, ...] = ()
    """What went wrong and was mended, to be said once."""


class Trainer(Protocol):
    """A training in progress, without knowledge of folders and progress.

    ``row`` columns of an evaluation start with ``evaluation_``.
    """

    total: int
    """Units at which training ends."""
    interval: int
    """Units between evaluations; checkpoints are written there too."""

    def train_once(self) -> Measured:
        """Train one iteration."""

    def evaluate(self) -> Columns:
        """Judge the policy during training; columns for the row."""

    def snapshot(self) -> Judging | None:
        """What judges the policy as it is now in another process; ``None`` where evaluations are made in between."""

    def note_evaluation(self, columns: Columns) -> None:
        """Hear of what that has given."""

    def distributions(self) -> Mapping[str, np.ndarray]:
        """Values whose histograms are worth a look in TensorBoard; none, as a rule."""

    def is_solved(self, row: dict[str, Any]) -> bool:
        """Whether a row's evaluation allows training to end early."""

    def optimizers(self) -> Sequence[Any]:
        """Torch's optimizers of this process; none where nothing is learned by gradients."""

    def save(self, path: Path) -> None:
        """Write a checkpoint into a new folder."""

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint."""

    def export(self, folder: Path) -> None:
        """Write the policy's files."""

    def close(self) -> None:
        """Release what training holds; the policy stays."""

    def finish(self, folder: RunFolder, position: Position) -> Result:
        """Judge by the experiment's protocol, write result and pictures."""


class Unit(NamedTuple):
    """What a kind of run counts."""

    column: str
    """Of ``metrics.jsonl``."""
    words: str
    short: str
    """For a progress bar."""


ENV_STEPS = Unit("env_steps", "environment steps", "steps")


class Shown(NamedTuple):
    """A figure that the progress display shows."""

    column: str
    """Of ``metrics.jsonl``."""
    label: str
    result: str | None = None
    """The figure of the result that is shown at the end."""
    unless: str | None = None
    """A column, where there is which this one says nothing."""


class Score(NamedTuple):
    """A figure of an evaluation during training by which a search ranks runs."""

    column: str
    """Of ``metrics.jsonl``."""
    sign: int
    """-1 where less is better."""
    words: str


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What ``synrl evaluate`` was asked for; ``None`` where nothing was said."""

    episodes: int | None = None
    seed: int | None = None
    video: Path | None = None
    shots: int | None = None
    support_statistics: bool = False
    official_runs: bool = False
    trust: bool = False
    """Whether the modules of environment and network may be imported, though the folder is not this user's."""

    def __post_init__(self) -> None:
        """Refuse numbers that are too small, before anything is read."""
        for name, least in (("episodes", 1), ("seed", 0), ("shots", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"{option(name)} {value} is too small", f"it is at least {least}")

    def given(self) -> list[str]:
        """The names of what was said something of, but for trust, which goes with everything."""
        names = [field.name for field in fields(self) if field.name != "trust"]
        return [name for name in names if getattr(self, name) is not None and getattr(self, name) is not False]


def option(name: str) -> str:
    """An option as it is written in a command."""
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What can be seen of a policy from within, for a report."""

    parameters: int | None
    """Numbers that are learned for its decisions; ``None`` where it is not loaded."""
    weights: Mapping[str, np.ndarray]
    """Name → values, where there are several in a layer or a table."""
    spikes: tuple[np.ndarray, ...] = ()
    """Of each spiking layer ``[T, N]`` in the first decisions of a greedy episode, the input's side first."""
    steps_per_decision: int = 1
    """Simulation steps of ``spikes`` in each decision."""
    note: str = ""
    """Why something is not there."""


class Player(NamedTuple):
    """What is watched at play."""

    policy: BatchPolicy
    """Shows its spikes as ``last_spikes``, where it has any."""
    environment: Environment
    seed: int
    """Of the first episode."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a training command has produced."""

    result: Result
    folder: Path
    """Where result and learning curve are."""
    runs: tuple[Path, ...]
    """The folders of the runs."""
    spec: RunSpec
    """What the first of them is."""


def _no_export(
    description: Description, out: Path, trust: bool, num_observations: int, bits: int | None
) -> dict[str, Any]:
    raise UserError(f"{description.folder} holds {description.format.holds}", "only networks' policies are exported")


def _no_player(description: Description, options: EvaluationOptions) -> Player:
    raise UserError(f"{description.folder} holds {description.format.holds}", "only what acts can be watched")


def _nothing_inside(description: Description, trust: bool, plays: bool) -> Inside:
    return Inside(parameters=None, weights={})


def _no_environment(experiment: Any) -> None:
    return None


def _no_modules(experiment: Any) -> tuple[str, ...]:
    return ()


def _unchanged(experiment: Any) -> Any:
    return experiment


def no_learners(experiment: Any, num_workers: int, num_learners: int) -> int:
    """None, and :class:`UserError` where any are asked for."""
    if num_learners:
        remedy = "it is for PPO, A2C, REINFORCE, IMPALA and PQN: leave it out"
        raise UserError(f"--num-learners means nothing for {experiment.id}", remedy)
    return 0


def _no_gradients(spec: RunSpec) -> None:
    return None


def _fixed_end(experiment: Any, steps: int) -> Any:
    raise UserError(f"{experiment.id} cannot end elsewhere once it has begun", "leave --stop-steps out")


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[E]):
    """A kind of run: all that the command needs of it. It has no state, and travels by the names of its functions.

    Each folder of ``synrl_ray.kinds`` has one. E is the type of its experiments.
    """

    name: str
    """Its folder's, and the ``kind`` of its experiments."""
    unit: Unit = ENV_STEPS
    """What its runs count."""
    shown: tuple[Shown, ...]
    """What the progress display shows."""
    scores: tuple[Score, ...]
    """What a search ranks by: the first of them that an evaluation has."""
    pickles: bool = False
    """Whether its checkpoints are pickles, which can execute anything when they are loaded."""
    evaluation_options: frozenset[str] = frozenset()
    """Those of :class:`EvaluationOptions` that mean something for it."""

    check: Callable[[RunSpec], None]
    """Raises :class:`UserError` if the run cannot work. Ray need not run."""
    start: Callable[[RunSpec], Trainer]
    """Starts a training; Ray is running."""
    evaluation_share: Callable[[E], float]
    """What lies between two evaluations, as a share of a run."""
    combine: Callable[[Sequence[Result], RunSpec], Result]
    """The result of several seeds together."""
    figures: Callable[[Sequence[RunFolder]], dict[str, Figure]]
    """File name → picture of one or several seeds, the learning curves first; none before there is anything to draw."""
    print_outcome: Callable[[Outcome], None]
    """Says what one or several trainings have given, and what to try next."""
    evaluate: Callable[[Description, EvaluationOptions], Result]
    """Judges again what a folder holds, without Ray and without changing it; raises :class:`UserError` for a damaged
    folder, or one that asks for what is not trusted or not there. Other options than its own are refused before."""
    print_evaluation: Callable[[Result], None]
    """Says what :attr:`evaluate` has found."""
    export: Callable[[Description, Path, bool, int, int | None], dict[str, Any]] = _no_export
    """Writes the policy as a NIR graph. The last arguments are whether the module of its environment is trusted, on how
    many observations the graph is compared with the policy, and to how many bits weights are rounded, if they are."""
    player: Callable[[Description, EvaluationOptions], Player] = _no_player
    """Who plays for ``synrl watch``, of the options with seed and trust only; raises :class:`UserError` as
    :attr:`evaluate`."""
    inside: Callable[[Description, bool, bool], Inside] = _nothing_inside
    """Looks into what a folder holds, for a report; the last arguments are whether modules that it names are trusted,
    and whether an episode is begun for its spikes. Raises :class:`UserError` for a damaged folder."""
    environment: Callable[[E], Environment | None] = _no_environment
    """The environment that is trained in, if there is one."""
    own_modules: Callable[[E], Iterable[str]] = _no_modules
    """The modules that are imported for what users bring beside the environment, such as a network of their own."""
    with_data: Callable[[E], E] = _unchanged
    """The experiment with what it reads by name found and written down, for a run to keep to."""
    with_end: Callable[[E, int], E] = _fixed_end
    """The experiment of a run that has begun, with another end and the same schedules, where that can be had."""
    learners: Callable[[E, int, int], int] = no_learners
    """Learners in processes of their own, from the numbers of workers and learners that are asked for; raises
    :class:`UserError` where it can have none."""
    learning_processes: Callable[[RunSpec], int | None] = _no_gradients
    """How many of a run's processes beside the trainer's compute gradients, each on a GPU where it is to; 0 where the
    trainer does it, ``None`` where there are no gradients."""

    @property
    def acts(self) -> bool:
        """Whether what it trains can be watched."""
        return self.player is not _no_player

    def modules(self, experiments: Iterable[E]) -> list[str]:
        """What they ask to import, each once; of environments not modules of this project, Gymnasium and ale-py."""
        experiments = list(experiments)
        environments = [found for e in experiments if (found := self.environment(e)) is not None]
        of_environments = {module for e in environments if (module := foreign_module(e.id, e.kwargs)) is not None}
        return sorted(of_environments.union(*map(self.own_modules, experiments)))

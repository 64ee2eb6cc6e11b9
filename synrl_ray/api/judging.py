"""Judging from Python, and writing a policy for others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synrl_ray.api.places import policy_folder
from synrl_ray.errors import UserError
from synrl_ray.evaluation.result_figure import result_figure
from synrl_ray.files import located
from synrl_ray.kinds import kind_of_policy
from synrl_ray.kinds.evaluating import evaluate_folder
from synrl_ray.policies.description import damage_of, read_description
from synrl_ray.policies.packing import is_packed
from synrl_ray.policies.packing import pack as pack_files
from synrl_ray.results import Result, read_result
from synrl_ray.running.card import CARD_FILE, card
from synrl_ray.running.kind import EvaluationOptions, Kind
from synrl_ray.running.run_folder import CONFIG, RunFolder
from synrl_ray.running.storage import is_url

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Judged:
    """What a policy, a classifier or a meta-learner is worth."""

    result: Result
    """Figures, their intervals, and how they came about."""
    kind: Kind[Any]
    """Of the run that has made it."""

    def __repr__(self) -> str:
        return f"Judged({self.result})"

    def table(self) -> list[dict[str, Any]]:
        """A row for each figure, with its interval; such as a data frame takes."""
        return self.result.table()

    def plot(self) -> Figure:
        """Returns of the episodes, scores by inner steps, or confusions, whichever there are."""
        return result_figure(self.result)


def evaluate(
    run_dir: str | Path,
    /,
    *,
    episodes: int | None = None,
    seed: int | None = None,
    video: str | Path | None = None,
    shots: int | None = None,
    support_statistics: bool = False,
    official_runs: bool = False,
    trust: bool = False,
) -> Judged:
    """Judge what a run has trained, on seeds that training never uses; as ``synrl evaluate`` does. Ray is not needed.

    Args:
        run_dir: a run's folder, one under ``experiments/results``, or the URL of a copy; or a packed policy.
        episodes: how many; the experiment's protocol by default.
        seed: of the first episode's environment.
        video: write one episode to this .mp4 or .gif file.
        shots: samples (of each class) from which a meta-learner adapts.
        support_statistics: normalise a meta-learner's queries by their support set, so that none depends on another.
        official_runs: judge a learner of Omniglot, 20 ways and 1 shot, by the set's 20 official one-shot runs.
        trust: import the modules of the policy's environment and network, though this user has not made the run here.

    Raises:
        UserError: for a damaged folder, an environment that cannot be made or is not trusted, or an option that means
            nothing for what the folder holds.
    """
    film = None if video is None else located(Path(video))
    options: dict[str, Any] = {"episodes": episodes, "seed": seed, "video": film, "shots": shots}
    options |= {"support_statistics": support_statistics, "official_runs": official_runs, "trust": trust}
    EvaluationOptions(**options)  # what is wrong by itself is said before anything is read or fetched
    with policy_folder(str(run_dir)) as folder:
        description = read_description(folder)
        result = evaluate_folder(description, **options)
        if is_url(str(run_dir)) or is_packed(run_dir):  # not the folder that it was fetched or unpacked into
            result = replace(result, run=str(run_dir))
    return Judged(result, kind_of_policy(description))


def pack(run_dir: str | Path, /, out: str | Path, *, licence: str | None = None) -> int:
    """Write one file for sharing: policy, card, result and settings; :func:`load_policy` and ``evaluate`` take it.

    Args:
        run_dir: a run's folder, or one under ``experiments/results``.
        out: the file, which ends in ``.synrl``.
        licence: under which the policy is shared, for the card.

    Returns:
        Its size, bytes.

    Raises:
        UserError: if there is no policy, or no result, or the file has another name or is there.
    """
    folder = located(Path(run_dir))
    result = read_result(folder)
    if result is None:
        raise UserError(f"there is no result.json in {folder}", "name the folder of a run that has finished")
    spec = RunFolder(folder).spec() if (folder / CONFIG).exists() else None
    with damage_of(folder / "result.json"):
        text = card(result, spec, licence)
    return pack_files(folder, located(Path(out)), {CARD_FILE: text})

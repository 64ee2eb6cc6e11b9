"""``synrl evaluate --check``: whether results are what their policies give.

A folder of results holds ``result.json`` and ``policy.json``, as ``experiments/results/EXPERIMENT/POLICY`` does. Where
``seed0``, ``seed1``, … lie in it, each holds one seed's result, and its policy where that is small. What ``synrl train
--seeds N`` leaves is such a folder without a policy, with the runs of its seeds beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from synrl_ray.errors import UserError
from synrl_ray.kinds import kind_of, kind_of_policy
from synrl_ray.kinds.evaluating import evaluate_folder
from synrl_ray.policies.description import DESCRIPTION_FILE, damage_of, read_description
from synrl_ray.results import RESULT_FILE, Result, differences, read_result
from synrl_ray.running.run_folder import CONFIG, RunFolder


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What came out for one folder."""

    folder: Path
    policies: int
    """How many were judged again."""
    seeds: int
    """Whose results were put together again; 0 where these are not there."""
    differences: tuple[str, ...]
    """What is not as it is recorded, each on a line."""

    @property
    def summary(self) -> str:
        """In a line."""
        together = f", {self.seeds} seeds put together again" if self.seeds else ""
        said = "differs" if self.differences else "agrees"
        policies = "policy" if self.policies == 1 else "policies"
        return f"{said} ({self.policies} {policies} judged again{together})"


class Disagreement(UserError):
    """A result is not what its policies give."""

    exit_code = 1


def check_folder(folder: Path, *, trust: bool = False) -> None:
    """Say of each result in a folder, or below it, whether its policies give it.

    Raises:
        Disagreement: if one does not.
        UserError: see :func:`audit`.
    """
    wrong = total = 0
    for found in audit(folder, trust=trust, tell=_tell):
        total, wrong = total + 1, wrong + bool(found.differences)
        print(f"{found.folder}: {found.summary}", flush=True)
        for line in found.differences:
            print(f"  {line}", flush=True)
    if wrong:
        raise Disagreement(f"{wrong} of {total} results are not what their policies give", "the lines above name what")


def _tell(judged: Path) -> None:
    print(f"judging {judged} again", file=sys.stderr, flush=True)


def audit(folder: Path, *, trust: bool = False, tell: Callable[[Path], None] | None = None) -> Iterator[Audit]:
    """Judge again what lies in a folder of results, or in the folders below it.

    Args:
        folder: of one result, or of many.
        trust: as in :func:`~synrl_ray.kinds.evaluating.evaluate_folder`.
        tell: called with the folder of each policy before it is judged again, which may take minutes.

    Raises:
        UserError: if there is no result, or something is damaged.
    """
    if (folder / RESULT_FILE).exists():
        yield _audit_one(folder, trust, tell)
        return
    places = sorted(path.parent for path in folder.rglob(RESULT_FILE))
    if not places:
        raise UserError(f"there is no {RESULT_FILE} in {folder}", "name a folder under experiments/results, or a run's")
    parts = {seed for place in places for seed in _seeds_of(place)}  # a seed's is part of that of all seeds
    for place in places:
        if place not in parts:
            yield _audit_one(place, trust, tell)


def _audit_one(folder: Path, trust: bool, tell: Callable[[Path], None] | None) -> Audit:
    def judged_again(place: Path, result: Result) -> Result:
        if tell is not None:
            tell(place)
        return _judged_again(place, result, trust)

    recorded = _result_of(folder)
    places = _seeds_of(folder)
    seeds = {place: _result_of(place) for place in places}
    found, policies = [], 0
    for place, result in seeds.items():
        if (place / DESCRIPTION_FILE).exists():
            policies += 1
            found += [f"{place.name}: {line}" for line in differences(result, judged_again(place, result))]
    if seeds:
        found += differences(recorded, _together(places[0], list(seeds.values())))
    if not policies:  # there is the first seed's, in the folder itself
        policies = 1
        one = next(iter(seeds.values())) if seeds else _of_first_seed(recorded, folder)
        found += differences(one, judged_again(folder, one))
    return Audit(folder=folder, policies=policies, seeds=len(seeds), differences=tuple(found))


def _seeds_of(folder: Path) -> list[Path]:
    """Folders of the seeds that the result of a folder is made of; empty for a run's."""
    found = (path.parent for path in folder.glob(f"seed*/{RESULT_FILE}"))
    within = sorted(found, key=lambda path: (len(path.name), path.name))  # seed2 before seed10, as they were combined
    if within or (folder / DESCRIPTION_FILE).exists():
        return within
    result = _result_of(folder)
    several = result.seeds if len(result.seeds) > 1 else ()
    return [folder.resolve().parent / f"{result.policy}-seed{seed}" for seed in several]


def _result_of(folder: Path) -> Result:
    result = read_result(folder)
    if result is None:
        raise UserError(f"there is no {RESULT_FILE} in {folder}", "name a folder of a finished run or of results")
    return result


def _judged_again(folder: Path, recorded: Result, trust: bool) -> Result:
    """With as many episodes or tasks as are recorded, and from the same seed, whatever is usual today."""
    options = kind_of_policy(read_description(folder)).evaluation_options
    count = recorded.protocol.get("episodes", recorded.protocol.get("test_tasks"))
    known = {"episodes": count, "seed": recorded.protocol.get("first_seed")}
    with damage_of(folder / RESULT_FILE):
        if any(value is not None and type(value) is not int for value in known.values()):
            raise ValueError("its protocol has numbers that are not whole")
    return evaluate_folder(folder, trust=trust, **{name: value for name, value in known.items() if name in options})


def _together(first: Path, seeds: list[Result]) -> Result:
    """The seeds' results as they are put together today."""
    if len(seeds) == 1:
        return seeds[0]
    spec = RunFolder.open(first).spec() if (first / CONFIG).exists() else None
    if spec is None:
        raise UserError(f"there is no {CONFIG} in {first}", "restore it")
    with damage_of(first.parent, "restore the results of its seeds"):
        return kind_of(spec.experiment).combine(seeds, spec)


def _of_first_seed(recorded: Result, folder: Path) -> Result:
    """What a result of several seeds says of the first of them."""
    if not recorded.per_seed:
        return recorded
    with damage_of(folder / RESULT_FILE):
        figures = {name: values[0] for name, values in recorded.per_seed.items()}
    return Result(
        experiment=recorded.experiment,
        policy=recorded.policy,
        score=next(iter(figures)),
        figures=figures,
        protocol=recorded.protocol,
        training=recorded.training[:1],
    )

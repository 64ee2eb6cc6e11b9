"""What results of policies that are judged by episodes share, of one seed and of several, and their learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from synrl_ray.evaluation.curves import Curve, EvaluationCurve, learning_curve
from synrl_ray.evaluation.episodes import EvaluationResult
from synrl_ray.evaluation.statistics import bootstrap_difference, iqm, stratified_bootstrap_interval, summarise
from synrl_ray.experiment import Environment
from synrl_ray.kinds.result import BOOTSTRAP, column, combined, title_of
from synrl_ray.results import Episodes, Interval, Result
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLED = "sampled_"
"""What the names of figures of drawn actions begin with."""

ZEROED = "zeroed_"
"""What the names of figures of a policy begin with whose state is that of an episode's start at every decision."""

GAIN = "gain_iqm"
"""Figure, after such a beginning: the interquartile mean of those returns less that of the greedy ones."""


def statistics_of(seeds: Sequence[Episodes], prefix: str = "") -> tuple[dict[str, float | None], Interval]:
    """Figures of one seed's episodes, or of several seeds' together, and the interval of their interquartile mean.

    That holds the trained policies fixed: it covers the chance of their episodes, not that of their training.
    """
    summary = summarise([each.returns for each in seeds])
    digests = [each.digests for each in seeds]
    figures = {
        "return_mean": summary.mean,
        "return_std": summary.std,
        "return_iqm": summary.iqm,
        "return_min": summary.minimum,
        "return_max": summary.maximum,
        "episodes": summary.num_episodes,
        "distinct_episodes": None if None in digests else len({one for each in digests for one in each or ()}),
    }
    low, high = summary.ci95
    over = "episodes" if len(seeds) == 1 else "episodes, stratified by seed"
    interval = Interval(of=f"{prefix}return_iqm", low=low, high=high, method=BOOTSTRAP, over=over)
    return {f"{prefix}{name}": value for name, value in figures.items()}, interval


def judged(
    experiment: str | None,
    policy: str,
    environment: Environment,
    greedy: EvaluationResult,
    sampled: EvaluationResult | None = None,
    zeroed: EvaluationResult | None = None,
    **more: Any,
) -> Result:
    """The result of a policy's episodes.

    Args:
        experiment, policy: what was judged.
        environment: in which.
        greedy, sampled, zeroed: the episodes.
        more: further fields of :class:`~synrl_ray.results.Result`; figures are added to those of the episodes.
    """
    prepared = environment.preprocessing
    every = {"greedy": greedy, "sampled": sampled, "zeroed": zeroed}
    kept = {way: None if found is None else found.recorded() for way, found in every.items()}
    figures, intervals = _of_all([kept["greedy"]], [kept["sampled"]], [kept["zeroed"]])
    return Result(
        experiment=experiment,
        policy=policy,
        **{"score": "return_iqm"} | more | kept | {"figures": figures | more.get("figures", {})},
        intervals=intervals,
        protocol={**greedy.protocol, **({"preprocessing": asdict(prepared)} if prepared else {})},
    )


def combined_episodes(results: Sequence[Result], spec: RunSpec, **more: Any) -> Result:
    """The result of several seeds: statistics over all their episodes, stratified by seed.

    Args:
        results: one for each seed.
        spec: of the first of them.
        more: further fields; figures, intervals and columns for each seed are added to those of the episodes.
    """
    figures, intervals = _of_all(*([getattr(r, way) for r in results] for way in ("greedy", "sampled", "zeroed")))
    means = [f"{prefix}return_mean" for prefix in ("", SAMPLED, ZEROED)]
    each = {name: column(results, name) for name in means if name in figures}
    fields = {"score": "return_iqm", "protocol": _joint_protocol([r.protocol for r in results])} | more
    fields["figures"] = figures | more.get("figures", {})
    fields["intervals"] = (*intervals, *more.get("intervals", ()))
    fields["per_seed"] = each | more.get("per_seed", {})
    return combined(results, spec, **fields)


def _of_all(
    greedy: Sequence[Episodes | None], sampled: Sequence[Episodes | None], zeroed: Sequence[Episodes | None]
) -> tuple[dict[str, float | None], tuple[Interval, ...]]:
    """Statistics of the greedy episodes, and of the drawn and the zeroed ones where all seeds have them."""
    known = [episodes for episodes in greedy if episodes is not None]
    if len(known) < len(greedy):
        raise ValueError("a seed's result has no episodes")
    figures, interval = statistics_of(known)
    intervals = [interval]
    for prefix, seeds in ((SAMPLED, sampled), (ZEROED, zeroed)):
        others = [episodes for episodes in seeds if episodes is not None]
        if len(others) == len(greedy):
            more, other = statistics_of(others, prefix)
            gain, sure = _gain(prefix, known, others)
            figures |= more | gain
            intervals += [other, sure]
    return figures, tuple(intervals)


def _gain(
    prefix: str, greedy: Sequence[Episodes], others: Sequence[Episodes]
) -> tuple[dict[str, float | None], Interval]:
    """By how much the interquartile mean of other episodes lies above that of the greedy ones, and its interval."""
    before, after = ([each.returns for each in seeds] for seeds in (greedy, others))
    low, high = bootstrap_difference(before, after)
    over = "episodes" if len(greedy) == 1 else "episodes, stratified by seed"
    gain = iqm([value for seed in after for value in seed]) - iqm([value for seed in before for value in seed])
    name = f"{prefix}{GAIN}"
    return {name: gain}, Interval(of=name, low=low, high=high, method=BOOTSTRAP, over=over)


def _joint_protocol(protocols: Sequence[Any]) -> dict[str, Any]:
    """The first seed's, with the cut episodes of all."""
    if "episodes_cut" not in protocols[0]:
        return dict(protocols[0])
    return {**protocols[0], "episodes_cut": sum(protocol["episodes_cut"] for protocol in protocols)}


def time_shares(rows: Sequence[dict[str, Any]]) -> dict[str, float] | None:
    """Which shares of the run's seconds the environments, the policy (in sampling) and the learner took.

    Seconds of several env runners are added up: they are seconds of all processes, more than have passed on the clock.
    ``None`` for rows that do not tell.
    """
    names = ("environment", "policy", "learner")
    seconds = [sum(row.get(f"seconds_{name}") or 0.0 for row in rows) for name in names]
    total = sum(seconds)
    return {name: round(part / total, 4) for name, part in zip(names, seconds, strict=True)} if total else None


def steps_to_return(folder: RunFolder, target: Any) -> int | None:
    """Environment steps at the first greedy evaluation that reached a target's ``mean_return``; ``None`` if none did,
    or there is no target."""
    rows = () if target is None else folder.metrics("env_steps", "evaluation_return_mean")
    return next((int(row["env_steps"]) for row in rows if row["evaluation_return_mean"] >= target.mean_return), None)


def return_curve(folders: Sequence[RunFolder], target: float | None = None) -> Figure:
    """The returns of one or several seeds of an experiment against environment steps."""
    return learning_curve([_curve(folder) for folder in folders], title=title_of(folders), target=target)


def _curve(folder: RunFolder) -> Curve:
    trained = folder.metrics("env_steps", "return_mean")
    columns = ("env_steps", *(f"evaluation_return_{name}" for name in ("mean", "low", "high")))
    points = [tuple(row[column] for column in columns) for row in folder.metrics(*columns)]
    final = folder.result()
    if final is not None and final.greedy is not None:
        steps, returns = final.training[0].steps, final.greedy.returns
        points = [point for point in points if point[0] != steps]
        points.append((steps, np.mean(returns), *stratified_bootstrap_interval(returns, np.mean)))
    return Curve(
        label=folder.spec().policy,
        env_steps=[row["env_steps"] for row in trained],
        returns=[row["return_mean"] for row in trained],
        evaluations=EvaluationCurve(*map(list, zip(*points, strict=True))) if points else None,
    )

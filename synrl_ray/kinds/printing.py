"""What the commands print of runs whose policies are judged by episodes, and the console of all kinds."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from typing import Any

from rich.console import Console

from synrl_ray.commands import command
from synrl_ray.envs.make import make_environment
from synrl_ray.envs.registration import foreign_module
from synrl_ray.errors import UserError
from synrl_ray.evaluation.playing import render_modes
from synrl_ray.experiment import Environment
from synrl_ray.kinds.episodes import GAIN, SAMPLED, ZEROED
from synrl_ray.results import Result
from synrl_ray.running.kind import Outcome

console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


def print_training(result: Result) -> None:
    """One run's length."""
    (trained,) = result.training
    console.print(
        f"\n{result.experiment} ({result.policy}, seed {trained.seed}): {trained.steps:,} environment steps in "
        f"{trained.wall_seconds:.0f} s, {trained.steps_per_second:,.0f} steps/s"
    )


def print_seeds(result: Result, figure: str, heading: str, shape: str, target: str | None) -> None:
    """A row for each of several seeds.

    Args:
        result: of all of them.
        figure: each seed's score.
        heading: of the scores.
        shape: how they are formatted.
        target: what was to be reached, in words.
    """
    console.print(f"\n{result.experiment} ({result.policy}), seeds {', '.join(map(str, result.seeds))}")
    console.print(f"seed   steps     seconds   {heading:<15} steps to target")
    for trained, score in zip(result.training, result.per_seed[figure], strict=True):
        when = "-" if trained.steps_to_target is None else f"{trained.steps_to_target:,}"
        shown = "-" if score is None else format(score, shape)
        console.print(f"{trained.seed:<6} {trained.steps:<9,} {trained.wall_seconds:<9.1f} {shown:<15} {when}")
    if target is not None and result.target is not None:
        count = len(result.training)
        console.print(
            f"\n{result.target.in_training} of {count} seeds reached {target}, "
            f"{result.target.at_end} of {count} end there"
        )


def print_returns(result: Result) -> None:
    """Return with its interval, of greedy and of drawn actions, and the protocol."""
    figures, protocol = result.figures, result.protocol
    _print_iqm("Return IQM ", result, "return_iqm")
    console.print(
        f"Return mean   {figures['return_mean']:.1f} ± {figures['return_std']:.1f}  "
        f"(lowest {figures['return_min']:.1f}, highest {figures['return_max']:.1f})"
    )
    if f"{SAMPLED}return_iqm" in figures:
        _print_iqm("Drawn IQM  ", result, f"{SAMPLED}return_iqm", "; the same environments, actions drawn")
        _print_gain(result, SAMPLED, "drawn actions earn", "greedy and drawn differ beyond chance")
    if f"{ZEROED}return_iqm" in figures:
        _print_iqm("Zeroed IQM ", result, f"{ZEROED}return_iqm", "; its state as at the start before every decision")
        _print_gain(result, ZEROED, "without its state it earns", "what it remembers counts beyond chance")
    count, distinct = result.figure("episodes"), figures.get("distinct_episodes")
    if distinct is not None and distinct < count:
        console.print(f"Distinct      {distinct:.0f} of {count:.0f} greedy episodes; the others are copies")
    longest = protocol.get("time_limit") or protocol.get("cut_after")
    limit = f", at most {longest:,} steps each" if longest else ""
    interval = result.interval("return_iqm")
    over = "" if interval is None else f"; interval: bootstrap of the IQM over {interval.over}"
    console.print(
        f"Protocol      {count:.0f} greedy episodes of {protocol['environment']}{limit}, "
        f"environment seeds from {protocol['first_seed']}{over}"
    )
    if protocol.get("episodes_cut"):
        console.print(
            f"Cut           {protocol['episodes_cut']} of {count:.0f} episodes had not ended after "
            f"{protocol['cut_after']:,} steps; the environment sets no time limit"
        )


def _print_gain(result: Result, prefix: str, what: str, meaning: str) -> None:
    """Whether other episodes do better or worse than the greedy ones, beyond the chance of the episodes."""
    gain, sure = result.figures.get(f"{prefix}{GAIN}"), result.interval(f"{prefix}{GAIN}")
    if gain is None or sure is None or sure.low <= 0 <= sure.high:
        return
    console.print(
        f"Differ        {what} {abs(gain):.1f} {'more' if gain > 0 else 'less'}"
        f"  (95 % interval {sure.low:+.1f} to {sure.high:+.1f}): {meaning}"
    )


def _print_iqm(label: str, result: Result, figure: str, more: str = "") -> None:
    interval = result.interval(figure)
    bounds = "" if interval is None else f"  (95 % interval {interval.low:.1f} to {interval.high:.1f}{more})"
    console.print(f"{label}   {result.figures[figure]:.1f}{bounds}")


def print_judged(result: Result) -> None:
    """What was judged again."""
    console.print(f"{result.run}: {result.policy} policy on {result.protocol['environment']}")


def print_film(result: Result) -> None:
    """Where the video is, if there is one."""
    if result.video is not None:
        cut = "" if result.video.cut_after is None else f"  (its first {result.video.cut_after:,} steps)"
        console.print(f"Video         {result.video.path}{cut}")


def print_episode_files(outcome: Outcome, environment: Environment) -> None:
    """Where the files are, and what can be made of them."""
    run = outcome.runs[0]
    looks = [f"Judge again   {command('evaluate', run)}"]
    if _can_be_filmed(environment):
        film = command("evaluate", run, "--video", run / "episode.mp4")
        looks = [f"Look at it    {command('watch', run)}", f"Film it       {film}"]
    print_files(outcome, "learning_curve.png", "policy", *looks)


def print_files(outcome: Outcome, pictures: str, trained: str, *looks: str) -> None:
    """Where the files are, and what can be made of them; what was trained lies in one run's folder only."""
    files = f"result.json, {pictures}" + ("" if len(outcome.runs) > 1 else f", {trained}")
    console.print(f"\nFiles         {outcome.folder}/  ({files})")
    for look in looks:
        console.print(look)
    console.print(f"Report        {command('report', *outcome.runs, '--out', 'report.html')}")
    console.print(f"Share it      {command('pack', outcome.runs[0], '--out', 'policy.synrl')}")


def _can_be_filmed(environment: Environment) -> bool:
    """Whether the environment says that it renders pictures; a module is not imported to be asked.

    A run that has ended is shown without a look at who made it.
    """
    if foreign_module(environment.id, environment.kwargs) not in (None, *sys.modules):
        return False
    with suppress(UserError), closing(make_environment(environment.id, environment.kwargs)) as env:
        return "rgb_array" in render_modes(env)
    return False


def print_export(outcome: Mapping[str, Any]) -> None:
    """What was written, and how far it agrees with the policy."""
    episodes = "1 episode" if outcome["episodes"] == 1 else f"{outcome['episodes']:,} episodes"
    console.print(f"{outcome['file']}: {outcome['observations']:,} observations of {episodes}, from raw ones on")
    for name, found in (("nir's equations", outcome["nir"]), ("snnTorch, NIRTorch", outcome["snntorch"])):
        shares = found
        if isinstance(found, Mapping):
            shares = (
                f"{found['spikes']:.4f} of the spikes agree, {found['actions']:.4f} of the actions, and "
                f"{found['played']:.4f} of those played in single precision"
            )
        console.print(f"{name:<19} {shares}")
    if "normaliser" in outcome:
        console.print(f"Observations are normalised {outcome['normaliser']}")
    if "bits" in outcome:
        console.print(
            f"{outcome['bits']}-bit weights: greedy return {outcome['return_rounded']:.1f}, before "
            f"{outcome['return']:.1f} (means of {outcome['judged']} episodes)"
        )

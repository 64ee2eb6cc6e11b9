"""What the commands print of runs whose policies are judged by episodes, and the console of all kinds."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from synrl_ray.commands import command
from synrl_ray.envs.make import make_environment
from synrl_ray.errors import UserError
from synrl_ray.experiment import Environment
from synrl_ray.running.kind import Outcome

console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


def print_training(result: dict[str, Any]) -> None:
    """One run's length."""
    steps, seconds = result["env_steps"], result["wall_seconds"]
    console.print(
        f"\n{result['experiment']} ({result['policy']}, seed {result['seed']}): "
        f"{steps:,} environment steps in {seconds:.0f} s, {result['env_steps_per_second']:,.0f} steps/s"
    )


def print_seeds(result: dict[str, Any], column: str, heading: str, shape: str, target: str | None) -> None:
    """A row for each of several seeds.

    Args:
        result: of all of them.
        column: the key of each seed's score.
        heading: of the scores.
        shape: how they are formatted.
        target: what was to be reached, in words.
    """
    console.print(f"\n{result['experiment']} ({result['policy']}), seeds {', '.join(map(str, result['seeds']))}")
    console.print(f"seed   steps     seconds   {heading:<15} steps to target")
    names = ("seeds", "env_steps", "wall_seconds", column, "env_steps_to_target")
    for seed, steps, seconds, score, reached in zip(*(result[name] for name in names), strict=True):
        when = "-" if reached is None else f"{reached:,}"
        shown = "-" if score is None else format(score, shape)
        console.print(f"{seed:<6} {steps:<9,} {seconds:<9.1f} {shown:<15} {when}")
    if target is not None:
        count = len(result["seeds"])
        console.print(
            f"\n{result['seeds_that_reached_target']} of {count} seeds reached {target}, "
            f"{result['seeds_that_end_at_target']} of {count} end there"
        )


def print_returns(result: dict[str, Any]) -> None:
    """Return with its interval, and the protocol."""
    low, high = result["return_ci95"]
    protocol = result["protocol"]
    console.print(f"Return IQM    {result['return_iqm']:.1f}  (95 % interval {low:.1f} to {high:.1f})")
    console.print(
        f"Return mean   {result['return_mean']:.1f} ± {result['return_std']:.1f}  "
        f"(lowest {result['return_min']:.1f}, highest {result['return_max']:.1f})"
    )
    longest = protocol.get("time_limit") or protocol.get("cut_after")
    limit = f", at most {longest:,} steps each" if longest else ""
    console.print(
        f"Protocol      {result['evaluation_episodes']} greedy episodes of {protocol['environment']}{limit}, "
        f"environment seeds from {protocol['first_seed']}; interval: stratified bootstrap of the IQM"
    )
    if protocol.get("episodes_cut"):
        console.print(
            f"Cut           {protocol['episodes_cut']} of {result['evaluation_episodes']} episodes had not ended after "
            f"{protocol['cut_after']:,} steps; the environment sets no time limit"
        )


def print_judged(result: dict[str, Any]) -> None:
    """What was judged again."""
    console.print(f"{result['run']}: {result['policy']} policy on {result['protocol']['environment']}")


def print_film(result: dict[str, Any]) -> None:
    """Where the video is, if there is one."""
    if "video" in result:
        cut = f"  (its first {result['video_cut_after']:,} steps)" if "video_cut_after" in result else ""
        console.print(f"Video         {result['video']}{cut}")


def print_episode_files(outcome: Outcome, environment: Environment) -> None:
    """Where the files are, and how to look at an episode."""
    print_files(outcome, "learning_curve.png", "policy")
    run = outcome.runs[0]
    film: list[str | Path] = ["--video", run / "episode.mp4"] if _can_be_filmed(environment) else []
    console.print(f"Look at it    {command('evaluate', run, *film)}")


def print_files(outcome: Outcome, pictures: str, trained: str) -> None:
    """Where the files are; what was trained lies in one run's folder only."""
    files = f"result.json, {pictures}" + ("" if len(outcome.runs) > 1 else f", {trained}")
    console.print(f"\nFiles         {outcome.folder}/  ({files})")


def _can_be_filmed(environment: Environment) -> bool:
    """Whether the environment says that it renders pictures."""
    with suppress(UserError), closing(make_environment(environment.id, environment.kwargs)) as env:
        return "rgb_array" in (env.metadata.get("render_modes") or ())
    return False

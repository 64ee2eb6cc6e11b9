"""What the commands print at their end."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from synrl_ray.commands import command
from synrl_ray.envs.make import make_environment
from synrl_ray.errors import UserError
from synrl_ray.running.again import twin_command
from synrl_ray.running.seeds import Outcome
from synrl_ray.running.spec import RunSpec

_console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


def print_outcome(outcome: Outcome) -> None:
    """Score, where the files are, and what to try next."""
    result, several = outcome.result, len(outcome.runs) > 1
    if _is_meta(result):
        _print_meta(result)
        _console.print(f"\nFiles         {outcome.folder}/  (result.json, picture" + (")" if several else ", learner)"))
        _console.print(f"Judge again   {command('evaluate', outcome.runs[0])}")
        return
    if "accuracy" in result:
        _print_accuracy(result)
        _console.print(f"\nFiles         {outcome.folder}/  (result.json, pictures" + (")" if several else ", policy)"))
        _console.print(f"Judge again   {command('evaluate', outcome.runs[0])}")
        return
    if several:
        _print_seeds(result)
    else:
        steps, seconds = result["env_steps"], result["wall_seconds"]
        _console.print(
            f"\n{result['experiment']} ({result['policy']}, seed {result['seed']}): "
            f"{steps:,} environment steps in {seconds:.0f} s, {result['env_steps_per_second']:,.0f} steps/s"
        )
    print_score(result)
    files = "result.json, learning_curve.png" + ("" if several else ", policy")
    _console.print(f"\nFiles         {outcome.folder}/  ({files})")
    run = outcome.runs[0]
    film: list[str | Path] = ["--video", run / "episode.mp4"] if _can_be_filmed(outcome.spec) else []
    _console.print(f"Look at it    {command('evaluate', run, *film)}")
    if not several and (twin := twin_command(outcome.spec, run)) is not None:
        _console.print(f"Compare       {twin}")


def _can_be_filmed(spec: RunSpec) -> bool:
    """Whether the environment says that it renders pictures."""
    environment = getattr(spec.experiment, "environment", None)
    if environment is None:
        return False
    with suppress(UserError), closing(make_environment(environment.id, environment.kwargs)) as env:
        return "rgb_array" in (env.metadata.get("render_modes") or ())
    return False


def print_evaluation(result: dict[str, Any]) -> None:
    """The score of ``synrl evaluate``."""
    if _is_meta(result):
        _print_meta(result)
        return
    if "accuracy" in result:
        _console.print(f"{result['run']}: {result['policy']} classifier")
        _print_accuracy(result)
        return
    _console.print(f"{result['run']}: {result['policy']} policy on {result['protocol']['environment']}")
    print_score(result)
    if "video" in result:
        cut = f"  (its first {result['video_cut_after']:,} steps)" if "video_cut_after" in result else ""
        _console.print(f"Video         {result['video']}{cut}")


def print_score(result: dict[str, Any]) -> None:
    """Return with its interval, and the protocol."""
    low, high = result["return_ci95"]
    protocol = result["protocol"]
    if "algorithm" in result:
        _print_regret(result)
    _console.print(f"Return IQM    {result['return_iqm']:.1f}  (95 % interval {low:.1f} to {high:.1f})")
    _console.print(
        f"Return mean   {result['return_mean']:.1f} ± {result['return_std']:.1f}  "
        f"(lowest {result['return_min']:.1f}, highest {result['return_max']:.1f})"
    )
    longest = protocol.get("time_limit") or protocol.get("cut_after")
    limit = f", at most {longest:,} steps each" if longest else ""
    _console.print(
        f"Protocol      {result['evaluation_episodes']} greedy episodes of {protocol['environment']}{limit}, "
        f"environment seeds from {protocol['first_seed']}; interval: stratified bootstrap of the IQM"
    )
    if protocol.get("episodes_cut"):
        _console.print(
            f"Cut           {protocol['episodes_cut']} of {result['evaluation_episodes']} episodes had not ended after "
            f"{protocol['cut_after']:,} steps; the environment sets no time limit"
        )
    if result.get("energy"):
        _print_energy(result["energy"])


def _print_regret(result: dict[str, Any]) -> None:
    """The exact score of an agent of local learning, where there is one."""
    if result.get("regret") is not None:
        _console.print(
            f"Regret        {result['regret']:.4f}  (exact: greedy policy {result['value']:.4f}, "
            f"best policy {result['optimum']:.4f}, over {result['num_first_states']:.0f} first states)"
        )
    elif result.get("regret_ci95") is not None:
        low, high = result["regret_ci95"]
        _console.print(f"Regret IQM    {result['regret_iqm']:.4f}  (95 % interval over seeds {low:.4f} to {high:.4f})")
    if result.get("success_rate") is not None:
        ratio = (
            ""
            if result["path_ratio"] is None
            else f"  (exact; moves over the shortest path {result['path_ratio']:.3f})"
        )
        _console.print(f"Success       {result['success_rate']:.1%} of start cells{ratio}")
    elif result.get("success_rate_ci95") is not None:
        low, high = result["success_rate_ci95"]
        _console.print(
            f"Success IQM   {result['success_rate_iqm']:.1%}  (95 % interval over seeds {low:.1%} to {high:.1%})"
        )
    steps, seconds = result.get("env_steps_to_target"), result.get("seconds_to_target")
    if isinstance(steps, int):
        _console.print(f"Target        reached after {steps:,} environment steps, {seconds:.2f} s")


def _print_energy(energy: dict[str, Any]) -> None:
    own, twin = energy["policy"], energy["matched_ann"]
    _console.print(
        f"Energy        {own['energy_pj'] / 1000:.2f} nJ a decision ({own['effective_macs']:,.0f} MACs, "
        f"{own['effective_acs']:,.0f} ACs, {own['activation_sparsity']:.0%} of activations zero); "
        f"a non-spiking network of the same layers {twin['energy_pj'] / 1000:.2f} nJ"
    )


def _print_accuracy(result: dict[str, Any]) -> None:
    low, high = result["accuracy_ci95"]
    protocol = result["protocol"]
    if "wall_seconds" in result:
        seconds = result["wall_seconds"] if isinstance(result["wall_seconds"], list) else [result["wall_seconds"]]
        _console.print(f"\n{result['experiment']} ({result['policy']}), {', '.join(f'{s:.0f} s' for s in seconds)}")
    for seed, accuracy in zip(result.get("seeds", ()), result.get("accuracy_per_seed", ()), strict=True):
        _console.print(f"Seed {seed}        {accuracy:.2%}")
    _console.print(f"Accuracy      {result['accuracy']:.2%}  (95 % interval {low:.2%} to {high:.2%})")
    digits = ", ".join(map(str, protocol["classes"]))
    _console.print(f"Protocol      {protocol['data']}, {protocol['test_images']:,} images of the digits {digits}")


def _is_meta(result: dict[str, Any]) -> bool:
    return "test_tasks" in result["protocol"]


def _print_meta(result: dict[str, Any]) -> None:
    """How well a learner adapts."""
    protocol = result["protocol"]
    _console.print(f"\n{result['experiment']} ({result['policy']} learner)")
    if isinstance(result.get("wall_seconds"), float):
        _console.print(
            f"Training      {result['meta_iterations']:,} meta-iterations in {result['wall_seconds']:.0f} s, "
            f"{1000 * result['seconds_per_meta_iteration']:.1f} ms each"
        )
    for name, label, shape in _META_SCORES:
        if name not in result:
            continue
        low, high = result[f"{name}_ci95"]
        steps = ", ".join(f"{value:{shape}}" for value in result[f"{name}_by_step"])
        _console.print(
            f"{label:<13} {result[name]:{shape}}  (95 % interval {low:{shape}} to {high:{shape}}; "
            f"after 0, 1, … inner steps: {steps})"
        )
    if "untrained" in result:
        name, label, shape = next(score for score in _META_SCORES if score[0] in result["untrained"])
        steps = ", ".join(f"{value:{shape}}" for value in result["untrained"][f"{name}_by_step"])
        _console.print(f"Untrained     {steps}  ({label.lower()} of a new network after 0, 1, … inner steps)")
    if isinstance(result.get("env_steps_by_step"), list):
        used = result["env_steps_by_step"][protocol["inner_steps"]]
        _console.print(
            f"Adaptation    {used:,.0f} environment steps on a task, {protocol['episodes_per_step']} episodes a step"
        )
    trained_on = f" (trained on {protocol['trained_on']})" if "trained_on" in protocol else ""
    _console.print(
        f"Protocol      {protocol['test_tasks']} test tasks of {protocol['data']}, {protocol['tasks']}{trained_on}, "
        f"{protocol['inner_steps']} inner steps; interval: {protocol['interval']}"
    )


_META_SCORES = (
    ("regret", "Regret", ".1%"),
    ("regret_stochastic", "Not greedy", ".1%"),
    ("accuracy", "Accuracy", ".2%"),
    ("loss", "Loss", ".4f"),
)


def _print_seeds(result: dict[str, Any]) -> None:
    _console.print(f"\n{result['experiment']} ({result['policy']}), seeds {', '.join(map(str, result['seeds']))}")
    column, heading, shape = next(score for score in _SEED_SCORES if score[0] in result)
    _console.print(f"seed   steps     seconds   {heading:<15} steps to target")
    rows = zip(
        result["seeds"],
        result["env_steps"],
        result["wall_seconds"],
        result[column],
        result["env_steps_to_target"],
        strict=True,
    )
    for seed, steps, seconds, score, reached in rows:
        target = "-" if reached is None else f"{reached:,}"
        shown = "-" if score is None else format(score, shape)
        _console.print(f"{seed:<6} {steps:<9,} {seconds:<9.1f} {shown:<15} {target}")
    if "target" in result:
        count, target = len(result["seeds"]), result["target"]
        wanted = (
            " and ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in target.items())
            if isinstance(target, dict)
            else f"{target:g}"
        )
        _console.print(
            f"\n{result['seeds_that_reached_target']} of {count} seeds reached {wanted}, "
            f"{result['seeds_that_end_at_target']} of {count} end there"
        )


_SEED_SCORES = (
    ("success_rate_per_seed", "success rate", ".1%"),
    ("regret_per_seed", "exact regret", ".4f"),
    ("return_mean_per_seed", "greedy return", ".1f"),
)

"""How an evolved policy is judged: by episodes, beside its controls, and by changes that it has never met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from synrl_ray.evaluation.episodes import EvaluationResult
from synrl_ray.experiment import Environment
from synrl_ray.kinds.acting import Judging, evaluate_in
from synrl_ray.kinds.episodes import judged
from synrl_ray.policies.hebbian.policy import HebbianPolicy
from synrl_ray.results import Result

HELD_OUT = "held_out"


def held_out_environment(environment: Environment, changed: Mapping[str, Any]) -> Environment | None:
    """The environment with these keyword arguments instead of its own; ``None`` without any."""
    return replace(environment, kwargs={**environment.kwargs, **changed}) if changed else None


def judge(policy: HebbianPolicy, judging: Judging, experiment: str | None, held_out: Environment | None) -> Result:
    """Play episodes, and as many with each control, from the same environment seeds and initial weights.

    ``zeroed`` are those of a plastic policy whose weights stay what they are where the episode starts; ``shuffled``
    those in which the synapses of a layer have each other's rules, or weights.
    """
    seed, settings = judging.first_seed, policy.layout.settings
    ways = {"": policy.anew(seed)}
    if not settings.plastic or settings.coefficients == "synapse":  # else all synapses of a layer have one rule
        ways["shuffled"] = policy.shuffled(seed)
    if settings.plastic:
        ways["zeroed"] = policy.anew(seed, learns=False)
    played = {way: _played(each, judging.environment, judging) for way, each in ways.items()}
    figures = _figures("shuffled", played["shuffled"]) if "shuffled" in played else {}
    if held_out is not None:
        played[""].protocol[HELD_OUT] = dict(held_out.kwargs)
        for way, name in (("", HELD_OUT), ("zeroed", f"{HELD_OUT}_zeroed")):
            if way in ways:
                again = ways[way].anew(seed, learns=way != "zeroed")
                figures |= _figures(name, _played(again, held_out, judging))
    return judged(
        experiment, policy.kind, judging.environment, played[""], zeroed=played.get("zeroed"), figures=figures
    )


def _played(policy: HebbianPolicy, environment: Environment, judging: Judging) -> EvaluationResult:
    return evaluate_in(policy, environment, episodes=judging.episodes, seed=judging.first_seed)


def _figures(way: str, played: EvaluationResult) -> dict[str, float | None]:
    summary = played.summary()
    return {f"{way}_return_mean": summary.mean, f"{way}_return_iqm": summary.iqm}

"""An evolved policy, judged again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from synrl_ray.kinds.acting import Judging
from synrl_ray.kinds.evolution.judging import HELD_OUT, judge
from synrl_ray.policies.description import Description, damage_of
from synrl_ray.policies.hebbian.policy import load_hebbian_policy
from synrl_ray.results import Result
from synrl_ray.running.kind import EvaluationOptions, Inside


def evaluate(description: Description, options: EvaluationOptions) -> Result:
    """Episodes with and without plasticity, and with changes that were held out."""
    policy = load_hebbian_policy(description)
    judging = Judging.asked(policy, description, options, kind="evolution")
    film = judging.film(policy.anew(judging.first_seed), options.video)
    found = judge(policy, judging, description.get("experiment"), _held_out(description))
    return replace(found, run=str(description.folder), video=film)


def inside(description: Description, trust: bool, plays: bool) -> Inside:
    """What has been evolved, by its parts; nothing in its files is imported."""
    policy = load_hebbian_policy(description)
    weights = {name.replace("_", " "): part for name, part in policy.layout.split(policy.genome).items()}
    return Inside(parameters=policy.layout.num_genes, weights=weights)


def _held_out(description: Description) -> Mapping[str, Any]:
    with damage_of(description.file):
        changed = description.get(HELD_OUT, {})
        if not isinstance(changed, dict):
            raise ValueError(f"{HELD_OUT} is no JSON object")
    return changed

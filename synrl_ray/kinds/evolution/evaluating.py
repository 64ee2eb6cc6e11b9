"""An evolved policy, judged again."""

from __future__ import annotations

from dataclasses import replace

from synrl_ray.kinds.acting import Judging, admitted_environment
from synrl_ray.kinds.evolution.judging import HELD_OUT, judge
from synrl_ray.policies.description import Description
from synrl_ray.policies.hebbian.policy import HebbianPolicy, load_hebbian_policy
from synrl_ray.results import Result
from synrl_ray.running.kind import EvaluationOptions, Inside, Player


def evaluate(description: Description, options: EvaluationOptions) -> Result:
    """Episodes with and without plasticity, and with changes that were held out."""
    policy, judging = _asked(description, options)
    film = judging.film(policy.anew(judging.first_seed), options.video)
    elsewhere = None
    if description.get(HELD_OUT):
        elsewhere = admitted_environment(policy, description, trust=options.trust, changed=HELD_OUT)
    found = judge(policy, judging, description.get("experiment"), elsewhere)
    return replace(found, run=str(description.folder), video=film)


def player(description: Description, options: EvaluationOptions) -> Player:
    """The policy, from the weights of the protocol's first episode."""
    policy, judging = _asked(description, options)
    return judging.player(policy.anew(judging.first_seed))


def inside(description: Description, trust: bool, plays: bool) -> Inside:
    """What has been evolved, by its parts; nothing in its files is imported."""
    policy = load_hebbian_policy(description)
    weights = {name.replace("_", " "): part for name, part in policy.layout.split(policy.genome).items()}
    return Inside(parameters=policy.layout.num_genes, weights=weights)


def _asked(description: Description, options: EvaluationOptions) -> tuple[HebbianPolicy, Judging]:
    policy = load_hebbian_policy(description)
    return policy, Judging.asked(policy, description, options, kind="evolution")

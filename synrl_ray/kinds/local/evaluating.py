"""A trained agent of local learning, judged again."""

from __future__ import annotations

from dataclasses import replace

from synrl_ray.kinds.acting import Judging
from synrl_ray.kinds.local.exact import exact_judge
from synrl_ray.kinds.local.result import distributions_of, judge
from synrl_ray.policies.description import Description
from synrl_ray.policies.local.policy import LocalPolicy, load_local_policy
from synrl_ray.results import Result
from synrl_ray.running.kind import EvaluationOptions, Inside, Player


def evaluate(description: Description, options: EvaluationOptions) -> Result:
    """Exact regret where it can be known, and greedy episodes."""
    policy, judging = _asked(description, options)
    film = judging.film(policy, options.video)
    found = judge(policy, judging, description.get("experiment"), exact_judge(judging.environment))
    return replace(found, run=str(description.folder), video=film)


def inside(description: Description, trust: bool, plays: bool) -> Inside:
    """Its plastic weights, which are all that it has learned; nothing in its files is imported."""
    agent = load_local_policy(description).agent
    weights = distributions_of(agent, None)
    return Inside(parameters=sum(each.size for each in weights.values()), weights=weights)


def player(description: Description, options: EvaluationOptions) -> Player:
    """The agent."""
    policy, judging = _asked(description, options)
    return judging.player(policy)


def _asked(description: Description, options: EvaluationOptions) -> tuple[LocalPolicy, Judging]:
    policy = load_local_policy(description)
    return policy, Judging.asked(policy, description, options, kind="local")

"""A trained agent of local learning, judged again."""

from __future__ import annotations

from typing import Any

from synrl_ray.kinds.acting import Judging, evaluate_in
from synrl_ray.kinds.episodes import judgement_of
from synrl_ray.kinds.local.exact import exact_judge
from synrl_ray.kinds.local.result import exact_fields
from synrl_ray.policies.description import Description
from synrl_ray.policies.local.policy import load_local_policy
from synrl_ray.running.kind import EvaluationOptions


def evaluate(description: Description, options: EvaluationOptions) -> dict[str, Any]:
    """Exact regret where it can be known, and greedy episodes."""
    policy = load_local_policy(description)
    judging = Judging.asked(policy, description, options, kind="local")
    film = judging.film(policy, options.video)
    outcome = evaluate_in(policy, judging.environment, episodes=judging.episodes, seed=judging.first_seed)
    return {
        "experiment": description.get("experiment"),
        "policy": policy.kind,
        "run": str(description.folder),
        "algorithm": policy.settings.name,
        **exact_fields(exact_judge(judging.environment), policy),
        **judgement_of(outcome, judging.environment),
        "env_steps": outcome.env_steps,
        "env_steps_per_second": round(outcome.env_steps / max(outcome.seconds, 1e-9), 1),
        **film,
    }

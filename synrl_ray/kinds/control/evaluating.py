"""A trained policy, judged again."""

from __future__ import annotations

from dataclasses import replace

from synrl_ray.kinds.acting import Judging
from synrl_ray.kinds.control.result import judge
from synrl_ray.policies.description import Description
from synrl_ray.policies.policy import Policy, load_network_policy
from synrl_ray.policies.recording import SpikeWatcher
from synrl_ray.results import Result
from synrl_ray.running.imports import admit_network
from synrl_ray.running.kind import EvaluationOptions, Player


def evaluate(description: Description, options: EvaluationOptions) -> Result:
    """Greedy episodes, drawn ones where its run's ``config.json`` says that it is trained to draw, and the energy."""
    policy, judging = _asked(description, options)
    film = judging.film(SpikeWatcher(policy), options.video)
    draws = judging.experiment is not None and judging.experiment.algorithm.draws_actions
    found = judge(policy, judging, description.get("experiment"), draws=draws)
    return replace(found, run=str(description.folder), video=film)


def player(description: Description, options: EvaluationOptions) -> Player:
    """The policy, which shows its spikes."""
    policy, judging = _asked(description, options)
    return judging.player(SpikeWatcher(policy))


def _asked(description: Description, options: EvaluationOptions) -> tuple[Policy, Judging]:
    policy = load_network_policy(admit_network(description, trust=options.trust))
    return policy, Judging.asked(policy, description, options, kind="control")

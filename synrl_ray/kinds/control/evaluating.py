"""A trained policy, judged again."""

from __future__ import annotations

from typing import Any

from synrl_ray.evaluation.episodes import evaluate_policy
from synrl_ray.kinds.acting import Judging, factory_of
from synrl_ray.kinds.control.result import ENERGY_DECISIONS
from synrl_ray.kinds.episodes import describe, protocol_of
from synrl_ray.policies.description import Description
from synrl_ray.policies.energy import decision_energy
from synrl_ray.policies.layers import rows_at_once
from synrl_ray.policies.policy import load_network_policy
from synrl_ray.policies.recording import ObservationRecorder, SpikeWatcher
from synrl_ray.running.kind import EvaluationOptions

_ENVIRONMENTS_AT_ONCE = 32
"""Fewer where much is computed for each of them."""


def evaluate(description: Description, options: EvaluationOptions) -> dict[str, Any]:
    """Greedy episodes, and the energy of their decisions."""
    policy = load_network_policy(description)
    judging = Judging.asked(policy, description, options, kind="control")
    film = judging.film(SpikeWatcher(policy), options.video)
    numbers = policy.network.numbers_per_observation
    recorder = ObservationRecorder(policy, rows_at_once(numbers, ENERGY_DECISIONS))
    outcome = evaluate_policy(
        recorder,
        factory_of(judging.environment),
        episodes=judging.episodes,
        seed=judging.first_seed,
        max_parallel=rows_at_once(numbers, _ENVIRONMENTS_AT_ONCE),
    )
    return {
        "experiment": description.get("experiment"),
        "policy": policy.config.kind,
        "run": str(description.folder),
        **describe(outcome.summary()),
        "env_steps": outcome.env_steps,
        "env_steps_per_second": round(outcome.env_steps / max(outcome.seconds, 1e-9), 1),
        "protocol": protocol_of(outcome, judging.environment),
        "energy": decision_energy(policy, recorder.observations, recorder.states),
        **film,
    }

"""How weights come from learners to env runners."""

from __future__ import annotations

from typing import Any

from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE


def push_weights(
    group: Any, learner_group: Any, *, indices: list[int] | None = None, inference_only: bool = False
) -> None:
    """Have env runners take over the learners' weights before all that they are asked next.

    By default RLlib drops weights for a runner that has not told yet that it took over the last ones, which then goes
    on with those.

    Args:
        group: RLlib's ``EnvRunnerGroup``.
        learner_group: RLlib's ``LearnerGroup``.
        indices: of the remote runners, all if ``None``.
        inference_only: only what a runner needs to act.
    """
    runner = group.local_env_runner
    if runner is not None and not group.num_remote_env_runners():  # RLlib would send them through the object store
        whole = f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}"
        runner.set_state(learner_group.get_state(components=[whole], inference_only=inference_only)[COMPONENT_LEARNER])
        return
    group.sync_weights(
        from_worker_or_learner_group=learner_group,
        to_worker_indices=indices,
        timeout_seconds=None,
        inference_only=inference_only,
    )

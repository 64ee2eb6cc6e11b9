"""Where learners compute: on a GPU where they were given one. Env runners, checkpoints and policies stay on the CPU."""

from __future__ import annotations

from typing import Any

from ray.rllib.utils.torch_utils import convert_to_torch_tensor

from synrl_ray.snn.device import no_gpu


def require_device(learner: Any) -> None:
    """Raise :class:`UserError` if a learner that was given a GPU computes on the CPU all the same."""
    if learner.config.num_gpus_per_learner and learner.device.type == "cpu":
        raise no_gpu()


def on_device(batch: dict[str, Any], learner: Any) -> dict[str, Any]:
    """The columns of a batch where that learner computes."""
    if learner.device.type == "cpu":
        return batch
    moved: dict[str, Any] = convert_to_torch_tensor(batch, device=learner.device)
    return moved

"""DQN's learner."""

from __future__ import annotations

from typing import Any

from synrl_ray.algorithms.off_policy.learner import ReplayLearner


class DQNLearner(ReplayLearner):
    """RLlib's loss, the weighted Huber loss of the TD errors; a soft target moves after every gradient step."""

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Adam."""
        self.register_adam(module_id, [self.get_parameters(self._module[module_id])], config.lr)

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Update the target where it is due."""
        if self.config.tau < 1.0:
            self.last_update_ts_by_mid.clear()  # due every time, also between two updates without new samples
        super().after_gradient_based_update(timesteps=timesteps)

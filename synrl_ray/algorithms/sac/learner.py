"""SAC's learner."""

from __future__ import annotations

import math
from typing import Any

import torch
from ray.rllib.algorithms.sac.torch.sac_torch_learner import SACTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID

from synrl_ray.algorithms.off_policy.learner import ReplayLearner


class SACLearner(ReplayLearner, SACTorchLearner):
    """RLlib's losses of policy, critics and temperature, which have no parameter in common: one step down their sum.

    The critics that the policy's loss asks are frozen there, and what the critics learn from is no function of the
    policy's parameters. The temperature is a parameter of the module, so that checkpoints hold it.
    """

    def build(self) -> None:
        """Build everything; RLlib calls this."""
        super().build()
        temperature = self.module[DEFAULT_MODULE_ID].unwrapped().log_alpha
        with torch.no_grad():
            temperature.fill_(math.log(self.config.initial_alpha))
        self.curr_log_alpha = {DEFAULT_MODULE_ID: temperature}

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Adam on policy, critics and temperature, each a group of its own."""
        module = self._module[module_id].unwrapped()
        policy = self.get_parameters(module.pi_encoder)
        critics = [p for critic in (module.qf, module.qf_twin) for p in self.get_parameters(critic)]
        self.register_adam(module_id, [policy, critics, [module.log_alpha]], config.actor_lr)

    def _get_target_entropy(self, module_id: str) -> float:
        wanted = self.config.target_entropy
        actions = self._module[module_id].unwrapped().action_space
        return -float(actions.shape[0]) if wanted == "auto" else float(wanted)

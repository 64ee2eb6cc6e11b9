"""RLlib's view of an :class:`~synrl_ray.policies.actor_critic.ActorCritic` whose outputs are action values.

Legend: B batch of transitions, A actions.
"""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.algorithms.dqn.dqn_learner import QF_NEXT_PREDS, QF_PREDS, QF_TARGET_NEXT_PREDS
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI, QNetAPI, TargetNetworkAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.utils.schedules.scheduler import Scheduler
from torch import Tensor, nn

from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.q_network import check_q_network, q_values
from synrl_ray.rl_modules.actor_critic import observations_of
from synrl_ray.rl_modules.stock_algorithms import check_q_module, of_the_policy
from synrl_ray.settings.policies import policy_config


class QModule(TorchRLModule, QNetAPI, TargetNetworkAPI, InferenceOnlyAPI):
    """A spiking (or twin non-spiking) Q-network for RLlib's DQN, with epsilon-greedy exploration.

    ``model_config`` is a :class:`~synrl_ray.settings.policies.SpikingPolicy` or
    :class:`~synrl_ray.settings.policies.AnnPolicy`, or a dictionary of its fields; ``double_q``, ``dueling`` and
    ``epsilon`` are added by RLlib's ``DQNConfig``::

        DQNConfig().rl_module(rl_module_spec=RLModuleSpec(
            module_class=QModule, model_config=SpikingPolicy(hidden_sizes=(64, 64))))

    Without ``dueling`` the critic is part of the network, but neither used nor trained.

    Raises:
        UserError: if another algorithm builds it, the spaces cannot be served, or the policy carries a state.
        ValueError: for ``num_atoms`` > 1: distributions over returns are not served.
        NonFiniteError: if an observation holds NaN or infinity.
    """

    def setup(self) -> None:
        """Build the network; RLlib calls this."""
        given = self.model_config
        check_q_module(self, given)
        config = policy_config(of_the_policy(given))
        check_q_network(self.observation_space, self.action_space, config)
        if given.get("num_atoms", 1) > 1:
            raise ValueError(f"num_atoms must be 1, got {given['num_atoms']}")
        self.double_q = bool(given["double_q"])
        self.dueling = bool(given.get("dueling", True))
        self.epsilon = Scheduler(fixed_value_or_schedule=given.get("epsilon", 0.05), framework="torch")
        self.network = ActorCritic(self.observation_space, self.action_space, config)

    # --- acting ----------------------------------------------------------------------------------------------

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        with torch.no_grad():
            return {Columns.ACTIONS: self.compute_q_values(batch)[QF_PREDS].argmax(-1)}

    def _forward_exploration(self, batch: dict[str, Any], t: int = 0, **kwargs: Any) -> dict[str, Any]:
        greedy = self._forward_inference(batch)[Columns.ACTIONS]
        explores = torch.rand(greedy.shape) < self.epsilon.update(t)
        return {Columns.ACTIONS: torch.where(explores, self._random(greedy, batch), greedy)}

    def _random(self, greedy: Tensor, batch: dict[str, Any]) -> Tensor:
        """Any action, of those that are allowed where observations say so."""
        if self.network.mask is None:
            return torch.randint(self.network.num_inputs, greedy.shape)
        allowed = self.network.mask.allowed(observations_of(self.network, batch))
        return torch.where(allowed, torch.rand(allowed.shape), -1.0).argmax(-1)

    # --- learning --------------------------------------------------------------------------------------------

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Action values ``[B, A]`` of the observations, and of the next ones from the target network.

        With ``double_q`` also the network's own of the next ones, which choose the action and get no gradient.
        """
        following = {Columns.OBS: batch[Columns.NEXT_OBS]}
        outputs = self.compute_q_values(batch)
        with torch.no_grad():
            outputs[QF_TARGET_NEXT_PREDS] = self.forward_target(following)[QF_PREDS]
            if self.double_q:
                outputs[QF_NEXT_PREDS] = self.compute_q_values(following)[QF_PREDS]
        return outputs

    def compute_q_values(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Action values ``[B, A]`` of the observations, under RLlib's name."""
        return {QF_PREDS: self._values(self.network, batch)}

    def make_target_networks(self) -> None:
        """Copy the network; RLlib's learner calls this."""
        self._target_network = make_target_network(self.network)

    def get_target_network_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """The network and its target."""
        return [(self.network, self._target_network)]

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Action values ``[B, A]`` of the target network."""
        return {QF_PREDS: self._values(self._target_network, batch)}

    def get_non_inference_attributes(self) -> list[str]:
        """What env runners do not need."""
        return ["_target_network"]

    def _values(self, network: ActorCritic, batch: dict[str, Any]) -> Tensor:
        return q_values(network, observations_of(network, batch), dueling=self.dueling)

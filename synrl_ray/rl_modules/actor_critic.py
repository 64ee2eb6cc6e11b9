"""RLlib's view of :class:`synrl_ray.policies.actor_critic.ActorCritic`.

Legend: B batch of sequences, E environment steps of a sequence, D distribution inputs.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import TargetNetworkAPI, ValueFunctionAPI
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.spaces import check_spaces, has_half_bounds
from synrl_ray.rl_modules.stock_algorithms import check_actor_critic, without_target_network
from synrl_ray.settings.policies import SpikingPolicy, policy_config

STATE = "membranes"
"""Name of the carried state among RLlib's states."""
EPISODE_STARTS = "episode_starts"
"""Optional column ``[B, E]`` bool: the state is zeroed before these steps, inside the sequence."""


class ActorCriticModule(TorchRLModule, ValueFunctionAPI, TargetNetworkAPI):
    """A spiking (or twin non-spiking) actor-critic for RLlib's PPO, IMPALA, BC and MARWIL; others are refused.

    ``model_config`` is a :class:`~synrl_ray.settings.policies.SpikingPolicy` or
    :class:`~synrl_ray.settings.policies.AnnPolicy`, or a dictionary of its fields::

        PPOConfig().rl_module(rl_module_spec=RLModuleSpec(
            module_class=ActorCriticModule, model_config=SpikingPolicy(hidden_sizes=(64, 64))))

    With ``carry_state=True`` the module is stateful: RLlib hands it sequences ``[B, E, ...]`` with the
    membranes at their start, and backpropagates through time within ``max_seq_len`` steps. Critic
    membranes are part of the state, so the critic runs in the env runners too.

    Raises:
        UserError: if the algorithm or the spaces cannot be served, or RLlib's own env runners would leave bounds of the
            actions.
        NonFiniteError: if an observation holds NaN or infinity.
    """

    serves_plastic: ClassVar[bool] = False
    """Whether layers may be plastic."""

    def setup(self) -> None:
        """Build the network; RLlib calls this."""
        check_actor_critic(self, self.model_config)
        # RLlib merges settings of its own default networks into model_config; they mean nothing here.
        foreign = set(DefaultModelConfig.__dataclass_fields__) - set(SpikingPolicy.__dataclass_fields__)
        config = policy_config({key: value for key, value in self.model_config.items() if key not in foreign})
        if isinstance(config, SpikingPolicy) and config.plastic is not None and not self.serves_plastic:
            raise UserError(
                f"{type(self).__name__} has no plastic layers", "take PlasticActorCritic, or set plastic to None"
            )
        check_spaces(self.observation_space, self.action_space, config=config)
        if self.inference_only and has_half_bounds(self.action_space):  # only RLlib's own env runners ask for that
            raise UserError(
                f"RLlib's own env runners keep no bounds of {self.action_space}, since some are infinite",
                "wrap the environment in gymnasium.wrappers.ClipAction",
            )
        self.network = ActorCritic(self.observation_space, self.action_space, config)

    def get_initial_state(self) -> dict[str, np.ndarray]:
        """Membranes at rest, without batch axis; empty where no state is carried."""
        size = self.network.state_size
        return {STATE: np.zeros(size, dtype=np.float32)} if size else {}

    def train(self, mode: bool = True) -> ActorCriticModule:
        """Set the mode. RLlib does so before every pass, and the walk through all modules takes as long as one."""
        return self if self.training == mode else super().train(mode)

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        inputs, _, state = self._run(batch)
        outputs: dict[str, Any] = {Columns.ACTION_DIST_INPUTS: inputs}
        if self.network.state_size:
            outputs[Columns.STATE_OUT] = {STATE: state}
        return outputs

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        inputs, values, _ = self._run(batch)
        # The values travel as the "embeddings" that RLlib hands back to compute_values: one pass serves both.
        return {Columns.ACTION_DIST_INPUTS: inputs, Columns.EMBEDDINGS: values}

    def compute_values(self, batch: dict[str, Any], embeddings: Tensor | None = None) -> Tensor:
        """State values ``[B]``, or ``[B, E]`` for sequences.

        Without ``embeddings`` RLlib asks for targets, over the whole batch: no graph is kept.
        """
        if embeddings is not None:
            return embeddings
        with torch.no_grad():
            return self._run(batch)[1]

    def make_target_networks(self) -> None:
        """Refuse to, when a learner is built that wants some. Nothing else tells APPO from PPO in time."""
        raise without_target_network(self)

    def get_target_network_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """None."""
        return []

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Refuse, as :meth:`make_target_networks` does."""
        raise without_target_network(self)

    def _run(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        observations = batch[Columns.OBS]
        if not torch.isfinite(observations).all():
            raise NonFiniteError("the observation", "batch['obs']")
        if not self.network.state_size:
            inputs, values, state = self.network(observations.unsqueeze(0))
            return inputs.squeeze(0), values.squeeze(0), state
        # RLlib's own sequences never cross an episode's start; those of the batched env runner do.
        starts = batch[EPISODE_STARTS].transpose(0, 1) if EPISODE_STARTS in batch else None
        inputs, values, state = self.network(observations.transpose(0, 1), batch[Columns.STATE_IN][STATE], starts)
        return inputs.transpose(0, 1), values.transpose(0, 1), state

"""RLlib's view of an :class:`~synrl_ray.policies.actor_critic.ActorCritic` whose actor is a soft actor-critic's policy.

Legend: B batch of transitions, A action dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from ray.rllib.algorithms.sac.torch.default_sac_torch_rl_module import DefaultSACTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchSquashedGaussian
from ray.rllib.core.models.base import ENCODER_OUT
from torch import Tensor, nn

from synrl_ray.errors import UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.q_network import check_replayed
from synrl_ray.policies.spaces import ObservationEncoder, check_spaces
from synrl_ray.rl_modules.actor_critic import observations_of
from synrl_ray.rl_modules.stock_algorithms import check_sac_module, of_the_policy
from synrl_ray.settings.policies import PolicyConfig, SpikingPolicy, policy_config


class SACModule(DefaultSACTorchRLModule):
    """A spiking (or twin non-spiking) policy and two critics that do not spike, for ``synrl_ray``'s SAC.

    ``model_config`` is a policy's, with ``critic_sizes``. RLlib's default module does the rest: it asks its policy for
    the inputs of a squashed Gaussian, and its critics for the values of observations and actions. The policy's network
    has a value, too, which is neither used nor trained. (Stock SAC takes
    :class:`~synrl_ray.rl_modules.SpikingCatalog`.)

    Raises:
        UserError: if another algorithm builds it, or the policy or the spaces cannot be served.
        NonFiniteError: if an observation holds NaN or infinity.
    """

    def setup(self) -> None:
        """Build the networks; RLlib calls this."""
        check_sac_module(self, self.model_config)
        config = policy_config(of_the_policy(self.model_config))
        check_soft_actor_critic(self.observation_space, self.action_space, config)
        self.action_dist_cls = TorchSquashedGaussian
        self.twin_q = bool(self.model_config["twin_q"])
        self.pi_encoder = _Actor(ActorCritic(self.observation_space, self.action_space, config))
        self.pi = nn.Identity()
        if self.inference_only:
            return
        sizes = tuple(self.model_config["critic_sizes"])
        self.qf_encoder, self.qf_twin_encoder = _Together(self.observation_space), _Together(self.observation_space)
        received = self.qf_encoder.encoder.num_features + int(self.action_space.shape[0])
        self.qf, self.qf_twin = (rectified(received, sizes, 1) for _ in range(2))
        self.log_alpha = nn.Parameter(torch.zeros(1))

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """The tangent of the mean; RLlib's own distribution would act by the mean itself."""
        with torch.no_grad():
            outputs: dict[str, Any] = super()._forward_inference(batch)
            mean, _ = outputs[Columns.ACTION_DIST_INPUTS].chunk(2, dim=-1)
            return outputs | {Columns.ACTIONS: mean.tanh()}

    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Inputs of the distribution that actions are drawn from."""
        with torch.no_grad():
            outputs: dict[str, Any] = super()._forward_inference(batch)
            return outputs

    @property
    def network(self) -> ActorCritic:
        """The policy's."""
        return self.pi_encoder.network

    def get_non_inference_attributes(self) -> list[str]:
        """What env runners do not need."""
        return [*super().get_non_inference_attributes(), "log_alpha"]


class _Actor(nn.Module):
    """Inputs of the action distribution ``[B, 2A]``, as RLlib's modules ask an encoder for them."""

    def __init__(self, network: ActorCritic) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The actor's outputs, in place of a latent."""
        return {ENCODER_OUT: self.network.actor(observations_of(self.network, batch).unsqueeze(0)).squeeze(0)}


class _Together(nn.Module):
    """Observations and actions side by side, ``[B, F + A]``, as RLlib's modules ask an encoder for them."""

    def __init__(self, observation_space: gym.Space) -> None:
        super().__init__()
        self.encoder = ObservationEncoder(observation_space)

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Observations, flattened, and actions."""
        return {ENCODER_OUT: torch.cat((self.encoder(batch[Columns.OBS]), batch[Columns.ACTIONS]), dim=-1)}


def rectified(num_inputs: int, hidden_sizes: Sequence[int], num_outputs: int) -> nn.Sequential:
    """A chain of linear layers with rectifiers between them."""
    *hidden, last = (nn.Linear(i, o) for i, o in pairwise((num_inputs, *hidden_sizes, num_outputs)))
    return nn.Sequential(*(part for layer in hidden for part in (layer, nn.ReLU())), last)


def check_soft_actor_critic(
    observation_space: gym.Space, action_space: gym.Space, config: PolicyConfig, name: str = "the environment"
) -> None:
    """Raise :class:`UserError` if a policy cannot be trained by SAC in these spaces."""
    if not isinstance(action_space, spaces.Box) or not np.isfinite((action_space.low, action_space.high)).all():
        raise UserError(
            f"{name} has the action space {action_space}", "SAC needs a bounded Box: take an experiment with PPO or DQN"
        )
    check_spaces(observation_space, action_space, name, config)
    kind = config.kind
    if config.action_distribution != "squashed_gaussian" or not config.state_dependent_std:
        raise UserError(
            "SAC's policy is a squashed Gaussian whose deviation is an output",
            f"set {kind}.action_distribution=squashed_gaussian {kind}.state_dependent_std=true",
        )
    check_replayed(config, "SAC")
    if isinstance(config, SpikingPolicy) and config.critic != SpikingPolicy.critic:
        raise UserError("SAC's critics never spike", "leave out spiking.critic, and set critic_sizes")
    if config.share_layers:
        raise UserError("SAC's critics are networks of their own", f"set {kind}.share_layers=false")

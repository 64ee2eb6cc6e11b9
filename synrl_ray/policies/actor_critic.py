"""The network behind every policy: an actor and a critic, spiking or not, on any servable pair of spaces.

Legend: E environment step, B batch, D distribution inputs, S state.
"""

from __future__ import annotations

import gymnasium as gym
import torch
from gymnasium import spaces
from torch import Tensor, nn

from synrl_ray.policies.config import AnnPolicy, PolicyConfig, SpikingPolicy
from synrl_ray.policies.layers import layer_options
from synrl_ray.policies.spaces import ObservationEncoder, num_distribution_inputs
from synrl_ray.snn import MLP, SpikingMLP


class ActorCritic(nn.Module):
    """Action-distribution inputs and state values from observations.

    Discrete actions get logits ``[.., A]``; Box actions get mean and log standard deviation ``[.., 2A]``, the
    latter a free parameter, independent of the observation.

    Args:
        observation_space, action_space: see :func:`synrl_ray.policies.spaces.check_spaces`.
        config: spiking or ann.

    Shape:
        observations ``[E, B, *obs]``, state ``[B, S]``, reset_mask ``[E, B]``
        → inputs ``[E, B, D]``, values ``[E, B]``, state ``[B, S]``. S is 0 where no state is carried;
        then every observation starts from rest, and E and B are alike.
    """

    def __init__(self, observation_space: gym.Space, action_space: gym.Space, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ObservationEncoder(observation_space)
        num_inputs = num_distribution_inputs(action_space)
        self.carry_state = isinstance(config, SpikingPolicy) and config.carry_state
        if config.share_layers:
            bodies = [_body(config, self.encoder.num_features, num_inputs + 1)]
        else:
            bodies = [_body(config, self.encoder.num_features, size) for size in (num_inputs, 1)]
        self.bodies = nn.ModuleList(bodies)
        self.num_inputs = num_inputs
        self.num_distribution_inputs = num_inputs * (2 if isinstance(action_space, spaces.Box) else 1)
        self.log_std = nn.Parameter(torch.zeros(num_inputs)) if isinstance(action_space, spaces.Box) else None
        self.body_state_sizes = [body.state_size for body in bodies]
        self.state_size = sum(self.body_state_sizes) if self.carry_state else 0

    def forward(
        self, observations: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return distribution inputs, values and the state after the last environment step."""
        features = self.encoder(observations)
        if not self.carry_state:
            outputs = [body(features.flatten(0, 1).unsqueeze(0))[0] for body in self.bodies]
            merged = torch.cat(outputs, dim=-1).unflatten(1, features.shape[:2]).squeeze(0)
            return *self._split(merged), features.new_zeros(features.shape[1], 0)
        states = (None,) * len(self.bodies) if state is None else state.split(self.body_state_sizes, dim=1)
        results = [body(features, s, reset_mask) for body, s in zip(self.bodies, states, strict=True)]
        merged = torch.cat([outputs for outputs, _ in results], dim=-1)
        return *self._split(merged), torch.cat([after for _, after in results], dim=1)

    def _split(self, merged: Tensor) -> tuple[Tensor, Tensor]:
        inputs, values = merged[..., : self.num_inputs], merged[..., self.num_inputs]
        if self.log_std is not None:
            inputs = torch.cat((inputs, self.log_std.expand_as(inputs)), dim=-1)
        return inputs, values


def _body(config: PolicyConfig, in_features: int, out_features: int) -> SpikingMLP | MLP:
    if isinstance(config, AnnPolicy):
        return MLP(in_features, config.hidden_sizes, out_features)
    return SpikingMLP(
        in_features,
        config.hidden_sizes,
        out_features,
        **layer_options(config),
        learn_beta=config.learn_beta,
        learn_threshold=config.learn_threshold,
        gain=config.input_gain,
    )

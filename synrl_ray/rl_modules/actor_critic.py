"""RLlib's view of :class:`synrl_ray.policies.actor_critic.ActorCritic`.

Legend: B batch of sequences, E environment steps of a sequence, D distribution inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.rl_module.apis import (
    TARGET_NETWORK_ACTION_DIST_INPUTS,
    InferenceOnlyAPI,
    TargetNetworkAPI,
    ValueFunctionAPI,
)
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.spaces import check_spaces, has_half_bounds
from synrl_ray.rl_modules.action_distribution import rllib_distribution
from synrl_ray.rl_modules.stock_algorithms import check_actor_critic, of_the_policy
from synrl_ray.settings.policies import PolicyConfig, SpikingPolicy, policy_config

STATE = "membranes"
"""Name of the carried state among RLlib's states."""
RATES = "firing_rates"
"""Output ``[B, L]``, or ``[B, E, L]``, of a pass that was asked for it: see :meth:`ActorCritic.with_rates`."""
EPISODE_STARTS = "episode_starts"
"""Optional column ``[B, E]`` bool: the state is zeroed before these steps, inside the sequence."""


class ActorCriticModule(TorchRLModule, ValueFunctionAPI, TargetNetworkAPI, InferenceOnlyAPI):
    """A spiking (or twin non-spiking) actor-critic for RLlib's PPO, APPO, IMPALA, BC and MARWIL; others are refused.

    ``model_config`` is a :class:`~synrl_ray.settings.policies.SpikingPolicy` or
    :class:`~synrl_ray.settings.policies.AnnPolicy`, or a dictionary of its fields::

        PPOConfig().rl_module(rl_module_spec=RLModuleSpec(
            module_class=ActorCriticModule, model_config=SpikingPolicy(hidden_sizes=(64, 64))))

    With ``carry_state=True`` the module is stateful: RLlib hands it sequences ``[B, E, ...]`` with the
    membranes at their start, and backpropagates through time within ``max_seq_len`` steps. Membranes of a spiking
    critic are part of the state, so the critic runs in the env runners too.

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
        config = policy_config(of_the_policy(self.model_config))
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
        self.network = self.make_network(config)
        found: Any = self.action_dist_cls  # type: ignore[has-type]
        self.action_dist_cls = rllib_distribution(self.network.distribution, found)

    def make_network(self, config: PolicyConfig) -> ActorCritic:
        """The network of that configuration, for the module's spaces."""
        return ActorCritic(self.observation_space, self.action_space, config)

    def get_initial_state(self) -> dict[str, np.ndarray]:
        """Membranes at rest, without batch axis; empty where no state is carried."""
        return initial_state(self.network)

    def train(self, mode: bool = True) -> ActorCriticModule:
        """Set the mode. RLlib does so before every pass, and the walk through all modules takes as long as one."""
        return self if self.training == mode else super().train(mode)

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        inputs, _, state = self._run(batch)
        outputs: dict[str, Any] = {Columns.ACTION_DIST_INPUTS: inputs}
        if self.network.state_size:
            outputs[Columns.STATE_OUT] = {STATE: state}
        return outputs

    def _forward_train(self, batch: dict[str, Any], *, rates: bool = False, **kwargs: Any) -> dict[str, Any]:
        # The values travel as the "embeddings" that RLlib hands back to compute_values: one pass serves both.
        if rates:
            inputs, values, fired = run_with_rates(self.network, batch)
            return {Columns.ACTION_DIST_INPUTS: inputs, Columns.EMBEDDINGS: values, RATES: fired}
        inputs, values, _ = self._run(batch)
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
        """Copy the network; learners that need one (APPO's) call this."""
        self._target_network = make_target_network(self.network)

    def get_target_network_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """The network and its target, where a learner has asked for one."""
        return [(self.network, self._target_network)] if hasattr(self, "_target_network") else []

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The target's distribution inputs ``[B, D]``, or ``[B, E, D]`` from the state at the sequences' start."""
        with torch.no_grad():
            return {TARGET_NETWORK_ACTION_DIST_INPUTS: run(self._target_network, batch)[0]}

    def get_non_inference_attributes(self) -> list[str]:
        """What env runners do not need: the target. Critics stay, for a carried state holds membranes of theirs."""
        return ["_target_network"]

    def _run(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        return run(self.network, batch)


def initial_state(network: ActorCritic) -> dict[str, np.ndarray]:
    """The state of a network at rest, without batch axis; empty where none is carried."""
    return {STATE: np.zeros(network.state_size, dtype=np.float32)} if network.state_size else {}


def observations_of(network: ActorCritic, batch: Mapping[str, Any]) -> Tensor:
    """The observations of a batch in one tensor: RLlib's own env runners leave those of several parts as they are.

    Raises:
        NonFiniteError: if one holds NaN or infinity.
    """
    parts = network.unflattened
    observations: Tensor = batch[Columns.OBS] if parts is None else parts.flatten(batch[Columns.OBS], torch)
    if not torch.isfinite(observations).all():
        raise NonFiniteError("the observation", "batch['obs']")
    return observations


def run(network: ActorCritic, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """A network's pass over a batch as RLlib has it, batch axis first.

    Returns:
        Inputs ``[B, D]`` and values ``[B]``, or ``[B, E, D]`` and ``[B, E]`` where a state is carried; that state
        ``[B, S]`` at the end.

    Raises:
        NonFiniteError: if an observation holds NaN or infinity.
    """
    inputs, values, state = network(*_received(network, batch))
    return _rows(network, inputs), _rows(network, values), state


def run_with_rates(network: ActorCritic, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`run`, with firing rates ``[B, L]``, or ``[B, E, L]``, of all spiking layers in the state's place."""
    inputs, values, _, rates = network.with_rates(*_received(network, batch))
    return _rows(network, inputs), _rows(network, values), _rows(network, rates)


def _received(network: ActorCritic, batch: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the network's pass over a batch takes, time first."""
    observations = observations_of(network, batch)
    if not network.state_size:
        return (observations.unsqueeze(0),)
    # RLlib's own sequences never cross an episode's start; those of the batched env runner do.
    starts = batch[EPISODE_STARTS].transpose(0, 1) if EPISODE_STARTS in batch else None
    return observations.transpose(0, 1), batch[Columns.STATE_IN][STATE], starts


def _rows(network: ActorCritic, column: Tensor) -> Tensor:
    """What is there for each step of a pass, batch axis first."""
    return column.transpose(0, 1) if network.state_size else column.squeeze(0)

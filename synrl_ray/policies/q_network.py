"""Action values from the network behind every policy, so that a trained Q-network is saved and acts like any other.

Legend: B batch, A actions.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import torch
from gymnasium import spaces
from torch import Tensor

from synrl_ray.errors import UserError
from synrl_ray.policies.actions.discrete import EpsilonGreedyCategorical
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.spaces import check_spaces
from synrl_ray.settings.policies import PolicyConfig, SpikingPolicy


class QNetwork(ActorCritic):
    """An :class:`~synrl_ray.policies.actor_critic.ActorCritic` whose outputs are action values; without a critic.

    Its values are the highest of them, and its actions epsilon-greedy. It has the layers that actor and critic would
    share, so that its weights are those of the policy that is saved. The critic's output is neither used nor trained.

    Args:
        observation_space, action_space, config: see :func:`check_rolled_out`.

    Shape:
        as of the actor-critic: inputs are action values ``[E, B, A]``, values their maxima ``[E, B]``.
    """

    def __init__(self, observation_space: gym.Space, action_space: spaces.Discrete, config: PolicyConfig) -> None:
        super().__init__(observation_space, action_space, config)
        self.distribution = EpsilonGreedyCategorical(action_space)

    def _run(self, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        outputs, _, after = super()._run(*arguments)
        return outputs, outputs.amax(-1), after


def check_q_network(
    observation_space: gym.Space, action_space: gym.Space, config: PolicyConfig, name: str = "the environment"
) -> None:
    """Raise :class:`UserError` if a policy cannot be trained by DQN in these spaces."""
    _check_discrete(observation_space, action_space, config, name, "DQN")
    check_replayed(config, "DQN")


def check_rolled_out(
    observation_space: gym.Space, action_space: gym.Space, config: PolicyConfig, name: str = "the environment"
) -> None:
    """Raise :class:`UserError` if a policy cannot be trained as a :class:`QNetwork` in these spaces."""
    _check_discrete(observation_space, action_space, config, name, "PQN")
    if isinstance(config, SpikingPolicy) and config.plastic is not None:
        raise UserError("PQN has no layers of an actor's own, as plastic ones are", "set spiking.plastic=null")
    if not config.share_layers:
        spiking = " spiking.critic=spiking" if isinstance(config, SpikingPolicy) and config.critic == "ann" else ""
        problem = "PQN has no critic, for which share_layers=false has layers"
        raise UserError(problem, f"set {config.kind}.share_layers=true{spiking}")


def _check_discrete(
    observation_space: gym.Space, action_space: gym.Space, config: PolicyConfig, name: str, algorithm: str
) -> None:
    check_spaces(observation_space, action_space, name, config)
    if not isinstance(action_space, spaces.Discrete):
        remedy = f"{algorithm} needs Discrete actions: take an experiment with PPO"
        raise UserError(f"{name} has the action space {action_space}", remedy)


def check_replayed(config: PolicyConfig, algorithm: str) -> None:
    """Raise :class:`UserError` if an algorithm that learns from a replay of transitions cannot train a policy."""
    if config.has_state:
        raise UserError(
            f"{algorithm} cannot train a policy that carries a state, which RLlib's replay does not keep",
            "set " + " ".join(f"{config.kind}.{setting}" for setting in config.without_state),
        )
    if isinstance(config, SpikingPolicy) and config.plastic is not None:
        problem = f"{algorithm} learns from a replay, not while it acts, as plastic layers do"
        raise UserError(problem, "set spiking.plastic=null")
    if config.normalise_observations:
        raise UserError(f"{algorithm} does not measure observations", f"set {config.kind}.normalise_observations=false")
    if isinstance(config, SpikingPolicy) and config.firing_rate is not None:
        remedy = "set spiking.firing_rate=null, and gains or a threshold"
        raise UserError(f"{algorithm} does not calibrate weights", remedy)
    if isinstance(config, SpikingPolicy) and config.norm == "running":
        raise UserError(f"{algorithm} does not measure currents", "set spiking.norm=layer")


def q_values(network: ActorCritic, observations: Tensor, *, dueling: bool) -> Tensor:
    r"""Action values; their argmax is what the policy does greedily.

    Without ``dueling`` they are the actor's outputs, and the critic is not run. With it those outputs are advantages:

    .. math:: Q(x, a) = V(x) + A(x, a) - \frac{1}{|\mathcal A|} \sum_{a'} A(x, a')

    whose argmax over the actions is that of :math:`A`: either way the network's outputs alone say how to act. Where the
    observations have a mask of actions, the mean is over those that are allowed, and the others' values are the least
    number there is.

    Args:
        network: carries no state, for discrete actions.
        observations: ``[B, *obs]``.
        dueling: add the critic's value to the actor's centred outputs.

    Returns:
        ``[B, A]``.

    References:
        Wang et al. (2016), "Dueling network architectures for deep reinforcement learning", arXiv:1511.06581, eq. 9.
    """
    if dueling:
        advantages, values, _ = network(observations.unsqueeze(0))
        outputs = values.unsqueeze(-1) + advantages - _mean(network, advantages, observations)
    else:
        inputs, _ = network.actor_inputs(observations, observations.new_zeros(len(observations), 0))
        outputs = network.bodies[0](inputs)[0][..., : network.num_inputs]
    return network.masked(outputs.squeeze(0), observations)


def _mean(network: ActorCritic, advantages: Tensor, observations: Tensor) -> Tensor:
    """Of the allowed actions ``[1, B, 1]``."""
    if network.mask is None:
        return advantages.mean(-1, keepdim=True)
    allowed = network.mask.allowed(observations)
    number = allowed.sum(-1, keepdim=True).clamp(min=1)
    return torch.where(allowed, advantages, 0.0).sum(-1, keepdim=True) / number

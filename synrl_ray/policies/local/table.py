"""The local rules: settings → the agent that learns by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from torch import Tensor

from synrl_ray.errors import UserError
from synrl_ray.policies.local.agent import LocalAgent
from synrl_ray.policies.local.q_learning.agent import QTable
from synrl_ray.policies.local.r_stdp.agent import RStdpAgent
from synrl_ray.policies.local.stdp_q.agent import StdpQAgent
from synrl_ray.settings.local import LocalSettings
from synrl_ray.settings.q_learning import QLearning
from synrl_ray.settings.r_stdp import RStdp
from synrl_ray.settings.stdp_q import StdpQ

AGENTS: dict[type[Any], type[LocalAgent]] = {
    QLearning: QTable,
    StdpQ: StdpQAgent,
    RStdp: RStdpAgent,
}


def agent_class(settings: LocalSettings) -> type[LocalAgent]:
    """The class of the agent that learns by these settings."""
    return AGENTS[type(settings)]


def make_agent(
    observation_space: gym.Space,
    action_space: gym.Space,
    *,
    settings: LocalSettings,
    weights: Mapping[str, Tensor] | None = None,
    **options: Any,
) -> LocalAgent:
    """A new agent.

    Args:
        observation_space, action_space: of a single environment.
        settings: which one, and how.
        weights: to start from, a state dictionary; by default new ones.
        options: those of :meth:`LocalAgent.create`.

    Raises:
        UserError: for spaces that the agent cannot serve, or weights of an agent for other ones.
    """
    agent = agent_class(settings).create(observation_space, action_space, settings, **options)
    if weights is not None:
        for name, tensor in agent.state_dict().items():
            if weights[name].shape != tensor.shape:
                given = f"{list(weights[name].shape)}, not {list(tensor.shape)}"
                raise UserError(f"the initial policy does not fit: its {name} is {given}", "name one for these spaces")
        agent.load_state_dict(weights)
    return agent

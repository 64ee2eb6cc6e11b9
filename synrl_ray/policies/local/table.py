"""Which agents learn by local rules, and how each is made from its settings. Settings import no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synrl_ray.errors import UserError
from synrl_ray.settings.local import LocalSettings
from synrl_ray.settings.q_learning import QLearning
from synrl_ray.settings.stdp_q import StdpQ

if TYPE_CHECKING:
    from collections.abc import Mapping

    import gymnasium as gym
    import numpy as np
    from torch import Tensor

    from synrl_ray.policies.local.agent import LocalAgent


def make_agent(
    observation_space: gym.Space,
    action_space: gym.Space,
    *,
    settings: LocalSettings,
    seed: int = 0,
    teacher_actions: np.ndarray | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> LocalAgent:
    """A new agent.

    Args:
        observation_space, action_space: of a single environment.
        settings: which one, and how.
        seed: of random initial weights.
        teacher_actions: the right actions, for an agent that is taught.
        weights: to start from, a state dictionary; by default new ones.

    Raises:
        UserError: for spaces that the agent cannot serve, or weights of an agent for other ones.
    """
    agent = _new_agent(observation_space, action_space, settings, seed, teacher_actions)
    if weights is not None:
        for name, tensor in agent.state_dict().items():
            if weights[name].shape != tensor.shape:
                given = f"{list(weights[name].shape)}, not {list(tensor.shape)}"
                raise UserError(f"the initial policy does not fit: its {name} is {given}", "name one for these spaces")
        agent.load_state_dict(weights)
    return agent


def _new_agent(
    observation_space: gym.Space,
    action_space: gym.Space,
    settings: LocalSettings,
    seed: int,
    teacher_actions: np.ndarray | None,
) -> LocalAgent:
    spaces: tuple[Any, Any] = (observation_space, action_space)
    if isinstance(settings, QLearning):
        from synrl_ray.policies.local.q_learning.agent import QTable

        return QTable(*spaces, settings)
    if isinstance(settings, StdpQ):
        from synrl_ray.policies.local.stdp_q.agent import StdpQAgent

        return StdpQAgent(*spaces, settings)
    from synrl_ray.policies.local.r_stdp.agent import MazeAgent

    return MazeAgent(*spaces, settings, teacher_actions=teacher_actions, seed=seed)

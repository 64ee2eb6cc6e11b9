"""Which agents learn by local rules, and how each is made from its settings. Settings import no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from synrl_ray.policies.maze_agent_config import RStdp
from synrl_ray.policies.q_table_config import QLearning
from synrl_ray.policies.stdp_q_config import StdpQ

if TYPE_CHECKING:
    import gymnasium as gym
    import numpy as np

    from synrl_ray.policies.local_agent import LocalAgent

LocalSettings = QLearning | StdpQ | RStdp
"""Settings of a local algorithm; ``name`` tells them apart."""
KINDS: dict[str, Literal["tabular", "spiking"]] = {"q_learning": "tabular", "stdp_q": "spiking", "r_stdp": "spiking"}
"""What kind of policy each of them trains."""


def make_agent(
    observation_space: gym.Space,
    action_space: gym.Space,
    *,
    settings: LocalSettings,
    seed: int = 0,
    teacher_actions: np.ndarray | None = None,
) -> LocalAgent:
    """A new agent.

    Args:
        observation_space, action_space: of a single environment.
        settings: which one, and how.
        seed: of random initial weights.
        teacher_actions: the right actions, for an agent that is taught.

    Raises:
        UserError: for spaces that the agent cannot serve.
    """
    spaces: tuple[Any, Any] = (observation_space, action_space)
    if isinstance(settings, QLearning):
        from synrl_ray.policies.q_table import QTable

        return QTable(*spaces, settings)
    if isinstance(settings, StdpQ):
        from synrl_ray.policies.stdp_q import StdpQAgent

        return StdpQAgent(*spaces, settings)
    from synrl_ray.policies.maze_agent import MazeAgent

    return MazeAgent(*spaces, settings, teacher_actions=teacher_actions, seed=seed)

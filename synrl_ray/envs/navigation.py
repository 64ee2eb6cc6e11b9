r"""2D navigation (Finn, Abbeel & Levine 2017, arXiv:1703.03400, section 5.3): a point walks to a goal it is not shown.

.. math:: x_{t+1} = x_t + \mathrm{clip}(a_t, -0.1, 0.1), \qquad r_t = -\lVert x_{t+1} - g \rVert^2

An episode begins in the origin and terminates within 0.01 of the goal. The goal is seen in the rewards alone.

Legend: N environments.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from gymnasium import spaces

from synrl_ray.envs.batched import BatchedEnv, OneOfBatch

REACH = 0.1
"""Most that a step moves along an axis."""
_NEAR = 0.01
"""Distance at which the goal is reached."""


class Navigation(BatchedEnv):
    """N points; states and observations are their positions ``[N, 2]``.

    Example:
        >>> envs = Navigation(2, {"goal_x": np.array([0.3, 0.0]), "goal_y": np.array([0.0, -0.4])})
        >>> _ = envs.reset([])
        >>> _, rewards, _ = envs.step(np.array([[0.1, 0.0], [5.0, 0.0]]), np.ones(2, bool))
        >>> rewards.round(2).tolist()  # 0.2 from the goal; and 0.1 beside and 0.4 above it
        [-0.04, -0.17]
    """

    parameters = {"goal_x": 0.0, "goal_y": 0.0}  # noqa: RUF012
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-REACH, REACH, (2,), np.float32)

    def initial_states(self, generators: Iterable[np.random.Generator]) -> np.ndarray:
        """All in the origin."""
        return np.zeros((self.num_envs, 2))

    def observations(self) -> np.ndarray:
        """The positions, float32."""
        return self.state.astype(np.float32)

    def advanced(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Move, and be paid by the distance from the goal."""
        state = self.state + np.clip(actions, -REACH, REACH)
        squared = np.square(state - np.stack([self.p["goal_x"], self.p["goal_y"]], axis=1)).sum(axis=1)
        return state, -squared, squared < _NEAR**2


class NavigationEnv(OneOfBatch):
    """One point for Gymnasium.

    Args:
        goal_x, goal_y: where it should go, in units of length; a step moves by at most 0.1 along each axis.
        time_limit: environment steps; ``None`` for no limit.
        render_mode: none is supported.

    Example:
        >>> env = NavigationEnv(goal_x=0.1)
        >>> _ = env.reset(seed=0)
        >>> env.step(np.array([0.1, 0.0], np.float32))[2]  # the goal is reached
        True
    """

    batched = Navigation

    def __init__(
        self, goal_x: float = 0.0, goal_y: float = 0.0, time_limit: int | None = 100, render_mode: str | None = None
    ) -> None:
        super().__init__({"goal_x": goal_x, "goal_y": goal_y}, time_limit, render_mode)

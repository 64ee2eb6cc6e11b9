"""CartPole whose masses, length and force can be anything, which Gymnasium's takes as they are when it is made.

Legend: N environments.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from gymnasium import spaces

from synrl_ray.envs.batched import BatchedEnv, OneOfBatch

_TAU = 0.02
"""Seconds of an environment step."""
_MOST_X, _MOST_ANGLE = 2.4, 12 * 2 * math.pi / 360
"""Metres and radians beyond which an episode terminates."""
_HIGH = np.array([2 * _MOST_X, np.inf, 2 * _MOST_ANGLE, np.inf], np.float32)
_START = 0.05
"""Most that each number of the state is at the start."""


class CartPolePhysics(BatchedEnv):
    """N carts; a state is position, speed, angle and angular speed, in metres, radians and seconds.

    The equations are those of Gymnasium's ``CartPole-v1`` (Barto, Sutton & Anderson 1983, with Florian's correction),
    and the default parameters are its own. Each step is paid 1.
    """

    parameters = {"pole_mass": 0.1, "pole_length": 0.5, "cart_mass": 1.0, "force": 10.0, "gravity": 9.8}  # noqa: RUF012
    positive = ("pole_mass", "pole_length", "cart_mass")
    observation_space = spaces.Box(-_HIGH, _HIGH, dtype=np.float32)
    action_space = spaces.Discrete(2)

    def initial_states(self, generators: Iterable[np.random.Generator]) -> np.ndarray:
        """Each number uniform in ±0.05."""
        return np.stack([generator.uniform(-_START, _START, 4) for generator in generators])

    def observations(self) -> np.ndarray:
        """The states, float32."""
        return self.state.astype(np.float32)

    def advanced(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One step of Euler's method."""
        x, speed, angle, turn = self.state.T
        p, cos, sin = self.p, np.cos(angle), np.sin(angle)
        total, moment = p["pole_mass"] + p["cart_mass"], p["pole_mass"] * p["pole_length"]
        pushed = (np.where(actions == 1, p["force"], -p["force"]) + moment * np.square(turn) * sin) / total
        turning = (p["gravity"] * sin - cos * pushed) / (
            p["pole_length"] * (4.0 / 3.0 - p["pole_mass"] * np.square(cos) / total)
        )
        faster = pushed - moment * turning * cos / total
        state = np.stack([x + _TAU * speed, speed + _TAU * faster, angle + _TAU * turn, turn + _TAU * turning], axis=1)
        fallen = (np.abs(state[:, 0]) > _MOST_X) | (np.abs(state[:, 2]) > _MOST_ANGLE)
        return state, np.ones(self.num_envs), fallen


class CartPolePhysicsEnv(OneOfBatch):
    """One cart for Gymnasium.

    Args:
        pole_mass, cart_mass: kg.
        pole_length: half of the pole's length, m.
        force: of a push, N; a negative one pushes the other way.
        gravity: m/s².
        time_limit: environment steps; ``None`` for no limit.
        render_mode: none is supported.

    Raises:
        UserError: for masses or a length that are not positive.
    """

    batched = CartPolePhysics

    def __init__(
        self,
        pole_mass: float = 0.1,
        pole_length: float = 0.5,
        cart_mass: float = 1.0,
        force: float = 10.0,
        gravity: float = 9.8,
        time_limit: int | None = 200,
        render_mode: str | None = None,
    ) -> None:
        given = {"pole_mass": pole_mass, "pole_length": pole_length, "cart_mass": cart_mass}
        super().__init__({**given, "force": force, "gravity": gravity}, time_limit, render_mode)

"""Small environments on which the defaults of ``synrl train --env`` were found; they are judged on others.

``--env finding_environments:Pursuit-v0``, ``…:Docking-v0``, ``…:Beam-v0``, ``…:Swing-v0``, ``…:HighSwing-v0`` or, of
images, ``…:Catch-v0``, with ``benchmarks`` on ``PYTHONPATH``.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

State = NDArray[np.float64]


class _Body(gym.Env[NDArray[np.float32], Any]):
    """A point mass in the plane: position and velocity, pushed by a force for a twentieth of a second at a time."""

    dt = 0.05

    def push(self, force: State) -> None:
        self.velocity = 0.98 * self.velocity + self.dt * force
        self.position = self.position + self.dt * self.velocity

    def seen(self, *more: State) -> NDArray[np.float32]:
        return np.concatenate((self.position, self.velocity, *more)).astype(np.float32)


class Pursuit(_Body):
    """Follow a target that wanders: a force of two numbers, eight numbers seen, the negative distance as reward."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (8,), np.float32)
        self.action_space = spaces.Box(-3.0, 3.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start at rest, somewhere near."""
        super().reset(seed=seed)
        self.position, self.velocity = self.np_random.uniform(-2, 2, 2), np.zeros(2)
        self.target, self.drift = self.np_random.uniform(-2, 2, 2), self.np_random.uniform(-1, 1, 2)
        return self.seen(self.target - self.position, self.drift), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """A twentieth of a second."""
        self.push(np.asarray(action, np.float64))
        self.drift = 0.95 * self.drift + 0.3 * self.np_random.normal(size=2)
        self.target = np.clip(self.target + self.dt * self.drift, -3, 3)
        distance = float(np.linalg.norm(self.target - self.position))
        cost = distance + 0.01 * float(np.square(action).sum())
        return self.seen(self.target - self.position, self.drift), -cost, False, False, {}


class Docking(_Body):
    """Reach a port slowly: nothing or one of four jets, six numbers seen. What comes nearer is paid for and fuel costs;
    touching the port gives 100 where it is slow and takes 100 where it is not, and so does leaving the field."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (6,), np.float32)
        self.action_space = spaces.Discrete(5)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start some way off, drifting."""
        super().reset(seed=seed)
        angle = self.np_random.uniform(0, 2 * np.pi)
        self.position = self.np_random.uniform(1.5, 3.0) * np.array([np.cos(angle), np.sin(angle)])
        self.velocity, self.wind = self.np_random.uniform(-1, 1, 2), self.np_random.uniform(-0.5, 0.5, 2)
        return self.seen(self.wind), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """A twentieth of a second."""
        before = float(np.linalg.norm(self.position))
        self.push(self.wind + 4.0 * np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)][int(action)]))
        distance, speed = float(np.linalg.norm(self.position)), float(np.linalg.norm(self.velocity))
        reward = 10.0 * (before - distance) - (0.1 if action else 0.0)
        ends = distance < 0.2 or distance > 5.0
        if ends:
            reward += 100.0 if distance < 0.2 and speed < 0.5 else -100.0
        return self.seen(self.wind), reward, ends, False, {}


class Beam(gym.Env[NDArray[np.float32], Any]):
    """Keep a ball on a shaken beam, which is turned one way or the other at each step. Four numbers are seen: place and
    speed of the ball, angle and rate of the beam. The reward is 1 for each step until the ball falls off."""

    dt = 0.03

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start with the ball near the middle."""
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1, 1, 4) * (0.3, 0.1, 0.05, 0.05)
        return self.state.astype(np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Three hundredths of a second."""
        place, speed, angle, rate = self.state
        rate = 0.97 * rate + self.dt * (5.0 if action else -5.0) + 0.15 * self.np_random.normal()
        angle += self.dt * rate
        speed += self.dt * 5 / 7 * 9.81 * np.sin(angle)
        place += self.dt * speed
        self.state = np.array([place, speed, angle, rate])
        return self.state.astype(np.float32), 1.0, bool(abs(place) > 1.0 or abs(angle) > 0.5), False, {}


class Swing(gym.Env[NDArray[np.float32], Any]):
    """Swing a pendulum up with a motor that is too weak to lift it: turned back, not or on at each step, three numbers
    seen (sine and cosine of the angle, speed), a reward of -1 for each step until the cosine is below the goal's.
    Chance gets below 0.5 in 3 % of the episodes, and below 0 in none of 300."""

    dt = 0.1

    def __init__(self, goal: float = 0.5) -> None:
        self.goal = goal
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start hanging, nearly at rest."""
        super().reset(seed=seed)
        self.angle, self.speed = self.np_random.uniform(-0.1, 0.1, 2)
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """A tenth of a second."""
        self.speed = 0.995 * self.speed + self.dt * (0.45 * (int(action) - 1) - np.sin(self.angle))
        self.angle += self.dt * self.speed
        return self._seen(), -1.0, bool(np.cos(self.angle) < self.goal), False, {}

    def _seen(self) -> NDArray[np.float32]:
        return np.array([np.sin(self.angle), np.cos(self.angle), self.speed], np.float32)


class Catch(gym.Env[NDArray[np.uint8], Any]):
    """Catch a ball that drifts down an image of 44 by 44 pixels with a paddle at its foot, which goes left, stays or
    goes right: 1 for a ball that is caught, -1 for one that is missed. One image does not show which way it drifts."""

    size, width = 44, 8

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 255, (self.size, self.size, 1), np.uint8)
        self.action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start with the ball above, somewhere, and the paddle somewhere else."""
        super().reset(seed=seed)
        self.ball = self.np_random.uniform((2, 0), (self.size - 2, 2))
        self.drift = float(self.np_random.uniform(-2, 2))
        self.paddle = int(self.np_random.integers(self.size - self.width))
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """The ball falls by two pixels, and is thrown back by the walls; the paddle moves by three."""
        self.paddle = int(np.clip(self.paddle + 3 * (int(action) - 1), 0, self.size - self.width))
        self.ball = self.ball + np.array((self.drift, 2.0))
        if not 0 <= self.ball[0] <= self.size - 1:
            self.drift = -self.drift
            self.ball[0] += 2 * self.drift
        ends = bool(self.ball[1] >= self.size - 2)
        caught = self.paddle - 1 <= self.ball[0] <= self.paddle + self.width
        return self._seen(), (1.0 if caught else -1.0) if ends else 0.0, ends, False, {}

    def _seen(self) -> NDArray[np.uint8]:
        image = np.zeros((self.size, self.size, 1), np.uint8)
        column, row = (int(np.clip(value, 0, self.size - 2)) for value in self.ball)
        image[row : row + 2, column : column + 2] = 255
        image[-2:, self.paddle : self.paddle + self.width] = 255
        return image


gym.register("Catch-v0", entry_point=Catch, max_episode_steps=100)
gym.register("Swing-v0", entry_point=Swing, max_episode_steps=400)
gym.register("HighSwing-v0", entry_point=Swing, max_episode_steps=400, kwargs={"goal": 0.0})
gym.register("Beam-v0", entry_point=Beam, max_episode_steps=500)
gym.register("Pursuit-v0", entry_point=Pursuit, max_episode_steps=200)
gym.register("Docking-v0", entry_point=Docking, max_episode_steps=400)

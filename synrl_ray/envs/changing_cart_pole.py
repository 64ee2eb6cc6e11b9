"""CartPole whose body changes in mid-episode, which no single observation tells of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from synrl_ray.envs.time_limit import LONGEST_LIMIT
from synrl_ray.errors import UserError


class Body(NamedTuple):
    """What a push to either side does, and the pole."""

    left: float = 1.0
    """Factor of a push to the left; a negative one pushes to the right."""
    right: float = 1.0
    length: float = 1.0
    """Factor of the pole's length, and of its mass."""


BODIES = {
    "intact": Body(),
    "inverted": Body(left=-1.0, right=-1.0),
    "weak": Body(left=0.6, right=0.6),
    "weak inverted": Body(left=-0.6, right=-0.6),
    "left severed": Body(left=0.0),
    "right severed": Body(right=0.0),
    "long": Body(length=2.0),
    "short": Body(length=0.5),
    "long inverted": Body(left=-1.0, right=-1.0, length=2.0),
    "short inverted": Body(left=-1.0, right=-1.0, length=0.5),
}
"""The bodies that settings name."""

FORCE, GRAVITY, CART, POLE, HALF, STEP = 10.0, 9.8, 1.0, 0.1, 0.5, 0.02
"""Of Gymnasium's CartPole: N, m/s², kg, kg, m and s."""
FURTHEST, STEEPEST = 2.4, math.radians(12)
"""Where an episode ends: m of the cart, radians of the pole."""
_UNITS = (FURTHEST, 2.0, STEEPEST, 2.0, 1.0, 10.0)
_SPREAD = 0.05


class ChangingCartPoleEnv(gym.Env[np.ndarray, np.int64]):
    """Keep a pole upright with a motor that may be wired the other way round, from the start or from some step on.

    Physics, first states and ends are those of Gymnasium's CartPole-v1, for the body that there is at the time.
    Observation: position and velocity of the cart, angle and angular velocity of the pole, the last action (-1 left, 1
    right, 0 at first), and the pole's angular acceleration in the last step, in units of 2.4 m, 2 m/s, 12 degrees,
    2 rad/s, 1 and 10 rad/s²; ``Box(-inf, inf, (6,))`` of float32. The acceleration is what the body made of the action,
    and so tells of its wiring, but is told after every ``sensed``-th step only, and zero after the others: a policy
    without memory knows the wiring in one decision out of ``sensed``, and in the others nothing of it.
    Actions: 0 pushes to the left, 1 to the right. Reward: 1 for each step. An episode ends when the pole is more than
    12 degrees or the cart more than 2.4 m off; there is no time limit, which ``max_episode_steps`` sets.

    Args:
        first: bodies of which one, drawn by chance, an episode begins with.
        then: bodies of which one, drawn by chance, it goes on with.
        earliest, latest: step after which that happens at the soonest and at the latest, both included.
        sensed: steps from one acceleration that is told to the next.
        render_mode: none is known.

    Raises:
        UserError: for no body or one that is not known, or steps that are out of order.

    Example:
        >>> env = ChangingCartPoleEnv(then=["inverted"], earliest=1, latest=1)
        >>> observation, info = env.reset(seed=0)
        >>> before = env.step(1)[0][1]
        >>> bool(env.step(1)[0][1] < before), info
        (True, {'first': 'intact', 'then': 'inverted', 'change': 1})
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (gymnasium's own convention)

    def __init__(
        self,
        first: Sequence[str] = ("intact",),
        then: Sequence[str] = ("intact", "inverted"),
        earliest: int = 100,
        latest: int = 200,
        sensed: int = 5,
        render_mode: str | None = None,
    ) -> None:
        for name, bodies in (("first", first), ("then", then)):
            unknown = [body for body in bodies if body not in BODIES] if isinstance(bodies, (list, tuple)) else [bodies]
            if unknown or not bodies:
                shown = repr(unknown[0]) if unknown else "none"
                raise UserError(f"{name} names {shown} as a body", f"list some of {', '.join(BODIES)}")
        for name, step, least in (("earliest", earliest, 0), ("latest", latest, 0), ("sensed", sensed, 1)):
            if isinstance(step, bool) or not isinstance(step, int) or not least <= step <= LONGEST_LIMIT:
                problem = f"{name}={step!r} is no number of steps"
                raise UserError(problem, f"choose a whole number from {least} to {LONGEST_LIMIT:,}")
        if earliest > latest:
            raise UserError(f"earliest={earliest} is after latest={latest}", "exchange them")
        self.first, self.then, self.earliest, self.latest = tuple(first), tuple(then), earliest, latest
        self.sensed = sensed
        self.observation_space = spaces.Box(-np.inf, np.inf, (len(_UNITS),), np.float32)
        self.action_space = spaces.Discrete(2)
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode; ``info`` names the bodies and the step of the change."""
        super().reset(seed=seed)
        first = self.first[int(self.np_random.integers(len(self.first)))]
        then = self.then[int(self.np_random.integers(len(self.then)))]
        self.change = int(self.np_random.integers(self.earliest, self.latest, endpoint=True))
        self._bodies = BODIES[first], BODIES[then]
        self._elapsed = 0
        self._state = tuple(self.np_random.uniform(-_SPREAD, _SPREAD, size=4).tolist())
        return self._observation(0, 0.0), {"first": first, "then": then, "change": self.change}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Push for 20 ms."""
        body = self._bodies[self._elapsed >= self.change]
        x, velocity, angle, spin = self._state
        force = FORCE * body.right if action == 1 else -FORCE * body.left
        mass, half = POLE * body.length, HALF * body.length
        sine, cosine, total = math.sin(angle), math.cos(angle), CART + mass
        pushed = (force + mass * half * spin * spin * sine) / total
        turning = (GRAVITY * sine - cosine * pushed) / (half * (4.0 / 3.0 - mass * cosine * cosine / total))
        driving = pushed - mass * half * turning * cosine / total
        x, velocity = x + STEP * velocity, velocity + STEP * driving
        angle, spin = angle + STEP * spin, spin + STEP * turning
        self._state, self._elapsed = (x, velocity, angle, spin), self._elapsed + 1
        fallen = abs(x) > FURTHEST or abs(angle) > STEEPEST
        told = turning if self._elapsed % self.sensed == 0 else 0.0
        return self._observation(1 if action == 1 else -1, told), 1.0, fallen, False, {}

    def _observation(self, action: int, turning: float) -> np.ndarray:
        seen = (*self._state, action, turning)
        return np.array([value / unit for value, unit in zip(seen, _UNITS, strict=True)], np.float32)

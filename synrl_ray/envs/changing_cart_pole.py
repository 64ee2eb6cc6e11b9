"""CartPole whose body changes again and again, which no observation tells of but now and then.

Legend: N episodes that are played together.
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
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
    "long inverted": Body(left=-1.0, right=-1.0, length=2.0),
}
"""The bodies that settings name."""

FORCE, GRAVITY, CART, POLE, HALF, STEP = 10.0, 9.8, 1.0, 0.1, 0.5, 0.02
"""Of Gymnasium's CartPole: N, m/s², kg, kg, m and s."""
FURTHEST, STEEPEST = 2.4, math.radians(12)
"""Where an episode ends: m of the cart, radians of the pole."""
UNITS = (FURTHEST, 2.0, STEEPEST, 2.0, 1.0, 10.0)
"""Of the observation."""
_SPREAD = 0.05


def push(rows, actions, states, elapsed, periods, bodies, sensed, observed):
    """Push for 20 ms in the episodes of some rows; whether each has ended.

    Args:
        rows: ``[n]`` of the N episodes.
        actions: ``[n]``.
        states: ``[N, 4]``; changed. ``elapsed [N]`` too.
        periods: ``[N]``, steps after which the body changes.
        bodies: ``[N, 2, 3]``, those that take turns, each with the fields of :class:`Body`.
        sensed: steps from one push that is told of to the next.
        observed: ``[n, 6]``, filled.
    """
    ended = np.empty(rows.size, np.bool_)
    for i in range(rows.size):
        row = rows[i]
        body = bodies[row, (elapsed[row] // periods[row]) % 2]
        x, velocity, angle, spin = states[row]
        force = FORCE * body[1] if actions[i] == 1 else -FORCE * body[0]
        mass, half = POLE * body[2], HALF * body[2]
        sine, cosine, total = math.sin(angle), math.cos(angle), CART + mass
        pushed = (force + mass * half * spin * spin * sine) / total
        turning = (GRAVITY * sine - cosine * pushed) / (half * (4.0 / 3.0 - mass * cosine * cosine / total))
        driving = pushed - mass * half * turning * cosine / total
        states[row, 0], states[row, 1] = x + STEP * velocity, velocity + STEP * driving
        states[row, 2], states[row, 3] = angle + STEP * spin, spin + STEP * turning
        elapsed[row] += 1
        ended[i] = abs(states[row, 0]) > FURTHEST or abs(states[row, 2]) > STEEPEST
        for j in range(4):
            observed[i, j] = states[row, j] / UNITS[j]
        told = elapsed[row] % sensed == 0
        observed[i, 4] = (1.0 if actions[i] == 1 else -1.0) if told else 0.0
        observed[i, 5] = turning / UNITS[5] if told else 0.0
    return ended


@cache
def compiled() -> Any:
    """:func:`push`, compiled; an environment that is stepped alone does without numba."""
    from synrl_ray.compiled import jit

    return jit(push)


class ChangingCartPoleEnv(gym.Env[np.ndarray, np.int64]):
    """Keep a pole upright with a motor that is wired the other way round, again and again.

    Physics, first states and ends are those of Gymnasium's CartPole-v1, for the body that there is at the time. Two
    bodies take turns, for as many steps each.
    Observation: position and velocity of the cart, angle and angular velocity of the pole, and of every ``sensed``-th
    step the action (-1 left, 1 right) and the angular acceleration that it led to, which are zero after all others; in
    units of 2.4 m, 2 m/s, 12 degrees, 2 rad/s, 1 and 10 rad/s²; ``Box(-inf, inf, (6,))`` of float32. So a policy
    without memory can know the wiring in one decision out of ``sensed``, and sees nothing of it in the others.
    Actions: 0 pushes to the left, 1 to the right. Reward: 1 for each step. An episode ends when the pole is more than
    12 degrees or the cart more than 2.4 m off; there is no time limit, which ``max_episode_steps`` sets.

    Args:
        bodies: pairs of bodies of which one is drawn for each episode; it begins with the first of the pair.
        earliest, latest: steps until the body changes, at least and at most; drawn for each episode.
        sensed: steps from one push that is told of to the next.
        render_mode: none is known.

    Raises:
        UserError: for no bodies or ones that are not known, or steps that are out of order.

    Example:
        >>> env = ChangingCartPoleEnv(bodies=[["intact", "inverted"]], earliest=1, latest=1)
        >>> _, info = env.reset(seed=0)
        >>> before = env.step(1)[0][1]
        >>> bool(env.step(1)[0][1] < before), info
        (True, {'bodies': ['intact', 'inverted'], 'period': 1})
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (gymnasium's own convention)

    def __init__(
        self,
        bodies: Sequence[Sequence[str]] = (("intact", "inverted"), ("inverted", "intact")),
        earliest: int = 40,
        latest: int = 120,
        sensed: int = 3,
        render_mode: str | None = None,
    ) -> None:
        pairs: list[list[str]] = [list(pair) if isinstance(pair, (list, tuple)) else [str(pair)] for pair in bodies]
        for pair in pairs or [[]]:
            if len(pair) != 2 or not all(body in BODIES for body in pair):
                raise UserError(f"bodies names {pair}", f"list pairs, each of two of {', '.join(BODIES)}")
        for name, step in (("earliest", earliest), ("latest", latest), ("sensed", sensed)):
            if isinstance(step, bool) or not isinstance(step, int) or not 1 <= step <= LONGEST_LIMIT:
                problem = f"{name}={step!r} is no number of steps"
                raise UserError(problem, f"choose a whole number from 1 to {LONGEST_LIMIT:,}")
        if earliest > latest:
            raise UserError(f"earliest={earliest} is after latest={latest}", "exchange them")
        self.bodies, self.earliest, self.latest, self.sensed = pairs, earliest, latest, sensed
        self.observation_space = spaces.Box(-np.inf, np.inf, (len(UNITS),), np.float32)
        self.action_space = spaces.Discrete(2)
        self.render_mode = render_mode
        self.episodes = CartPoles(self, 1, push)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode; ``info`` has the bodies and the steps until they change."""
        super().reset(seed=seed)
        pair = self.episodes.begin(0, self.np_random)
        return self.episodes.first()[0], {"bodies": pair, "period": int(self.episodes.periods[0])}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Push for 20 ms."""
        observed, rewards, ended = self.episodes.step(np.zeros(1, np.int64), np.array([action]))
        return observed[0], float(rewards[0]), bool(ended[0]), False, {}

    def together(self, count: int) -> CartPoles:
        """So many episodes with the same settings."""
        return CartPoles(self, count, compiled())


class CartPoles:
    """N episodes that are stepped in one call; see :mod:`synrl_ray.envs.together`.

    Args:
        env: whose settings they have.
        count: N.
        push: steps them, :func:`push` as it is or compiled.
    """

    def __init__(self, env: ChangingCartPoleEnv, count: int, push: Callable[..., Any]) -> None:
        self.env, self.push = env, push
        self.states, self.bodies = np.zeros((count, 4)), np.zeros((count, 2, len(Body._fields)))
        self.elapsed, self.periods = np.zeros(count, np.int64), np.ones(count, np.int64)

    def begin(self, row: int, random: np.random.Generator) -> list[str]:
        """Draw the episode of a row; its bodies."""
        pair = self.env.bodies[int(random.integers(len(self.env.bodies)))]
        self.bodies[row] = [BODIES[body] for body in pair]
        self.periods[row] = random.integers(self.env.earliest, self.env.latest, endpoint=True)
        self.states[row] = random.uniform(-_SPREAD, _SPREAD, size=4)
        self.elapsed[row] = 0
        return pair

    def first(self) -> np.ndarray:
        """Observations ``[N, 6]`` of episodes that begin."""
        observed = np.zeros((len(self.states), len(UNITS)), np.float32)
        observed[:, :4] = self.states / UNITS[:4]
        return observed

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Start an episode in each row, that of its seed; observations ``[N, 6]``."""
        for row, seed in enumerate(seeds):
            self.begin(row, gym.utils.seeding.np_random(int(seed))[0])
        return self.first()

    def step(self, rows: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Push in some rows; observations ``[n, 6]``, rewards ``[n]``, and whether each has ended ``[n]``."""
        observed = np.zeros((len(rows), len(UNITS)), np.float32)
        given = self.states, self.elapsed, self.periods, self.bodies
        ended = self.push(rows, actions, *given, self.env.sensed, observed)
        return observed, np.ones(len(rows)), ended

    def close(self) -> None:
        """Nothing is held."""

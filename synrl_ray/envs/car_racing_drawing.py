"""CarRacing that draws a frame only when it is asked to, and faster. Importing this needs Box2D and pygame.

Gymnasium draws each frame at 1000 x 800 pixels, some 800 polygons of which a few are in sight, turns it upside down and
shrinks it to 96 x 96. :class:`DrawnFast` leaves the pixels as they are, to the last bit: the same polygons are drawn by
the same calls in the same order, but the shapes of an episode are turned and moved all at once, those out of sight are
left out, and one compiled pass turns the frame over, shrinks it and wipes the canvas for the next one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pygame
from gymnasium.envs.box2d.car_dynamics import SIZE, WHEEL_R, WHEEL_W, WHEEL_WHITE, Car
from gymnasium.envs.box2d.car_racing import (
    GRASS_DIM,
    PLAYFIELD,
    SCALE,
    STATE_H,
    STATE_W,
    WINDOW_H,
    WINDOW_W,
    ZOOM,
    CarRacing,
)
from gymnasium.utils import EzPickle
from pygame import gfxdraw

from synrl_ray.envs.car_racing_shrinking import BAR_TOP, Canvas

_HIGHEST = 3.9  # of an indicator within the bar, which ends at 4
_FARTHEST = math.hypot(WINDOW_W / 2, WINDOW_H * 3 / 4)  # pixels from the car to a corner of the window
_MARGIN = 4  # pixels; an antialiased line reaches one beyond its corners
_LONGEST = 1.5 * GRASS_DIM  # metres; no polygon is longer
_FIELD = [(PLAYFIELD, PLAYFIELD), (PLAYFIELD, -PLAYFIELD), (-PLAYFIELD, -PLAYFIELD), (-PLAYFIELD, PLAYFIELD)]
_PATCH = GRASS_DIM * np.array([(1, 0), (0, 0), (0, 1), (1, 1)])
_GRID = GRASS_DIM * np.arange(-20, 20, 2)
_GRASS = np.array([np.array([x, y]) + _PATCH for x in _GRID for y in _GRID])


class DrawnOnDemand(CarRacing):
    """CarRacing whose ``reset`` and ``step`` draw nothing: the observation they return is black.

    :meth:`picture` draws the one that Gymnasium's environment would have returned. All else is as there.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        EzPickle.__init__(self, **kwargs)
        self._stepping = False
        self._score = 0.0
        self.surf: Any
        self._undrawn = np.zeros((STATE_H, STATE_W, 3), np.uint8)

    def picture(self) -> np.ndarray:
        """The newest frame, ``[96, 96, 3]`` of ``uint8``."""
        score, self.reward = self.reward, self._score
        self.state = self._state_pixels()
        self.reward = score
        return self.state

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One frame of physics."""
        self._stepping = True
        try:
            return super().step(action)
        finally:
            self._stepping = False

    def _render(self, mode: str) -> Any:
        if self._stepping and mode == "state_pixels":
            self._score = self.reward  # a frame's bar shows the score from before its cost
            return self._undrawn
        return super()._render(mode)

    def _state_pixels(self) -> np.ndarray:
        return super()._render("state_pixels")


class DrawnFast(DrawnOnDemand):
    """The same pictures in less time. Random colours, and indicators that leave their bar, are left to Gymnasium.

    Args:
        bar: draw the bar of indicators; without it the last 12 rows of a picture mean nothing.
        kwargs: those of CarRacing.
    """

    def __init__(self, *, bar: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        EzPickle.__init__(self, bar=bar, **kwargs)
        self.bar = bar
        self._canvas = Canvas()
        self._shapes: _Shapes | None = None
        self._parts: _Parts

    def _state_pixels(self) -> np.ndarray:
        assert self.car is not None
        heights = [0.02 * self.car.hull.linearVelocity.length, *(0.01 * wheel.omega for wheel in self.car.wheels)]
        if self.domain_randomize or max(heights) > _HIGHEST:
            return super()._state_pixels()
        if self._shapes is None or self._shapes.road is not self.road_poly:
            self._shapes, self._parts = _Shapes(self.road_poly, self.grass_color), _Parts(self.car)
        view = _View(self.car.hull, 0.1 * SCALE * max(1 - self.t, 0) + ZOOM * SCALE * min(self.t, 1))
        self.surf = scene = self._canvas.scene
        if max(abs(view.at[0]), abs(view.at[1])) + (_FARTHEST + _MARGIN) / view.zoom < PLAYFIELD:
            self._canvas.wipe(self.bg_color)
        else:
            self._canvas.wipe((0, 0, 0))
            self._draw_colored_polygon(scene, _FIELD, self.bg_color, view.zoom, view.shift, view.angle, clip=False)
        self._shapes.draw(scene, view)
        self._parts.draw(scene, view)
        if self.bar:
            self.surf = self._canvas.bar
            self._render_bar()
        return self._canvas.shrink(self.bar)

    def _render_bar(self) -> None:
        self._render_indicators(WINDOW_W, WINDOW_H)
        pygame.font.init()
        font = pygame.font.Font(pygame.font.get_default_font(), 42)
        text = font.render(f"{int(self.reward):04}", True, (255, 255, 255), (0, 0, 0))
        box = text.get_rect()
        box.center = (60, WINDOW_H - WINDOW_H // 16)
        self.surf.blit(text, box)


class _View:
    """From metres to pixels, each operation rounded as in Gymnasium's ``_render`` and ``_draw_colored_polygon``."""

    def __init__(self, hull: Any, zoom: float) -> None:
        self.at, self.zoom, self.angle = hull.position, zoom, -hull.angle
        scroll = pygame.math.Vector2(-self.at[0] * zoom, -self.at[1] * zoom).rotate_rad(self.angle)
        self.shift = WINDOW_W / 2 + scroll[0], WINDOW_H / 4 + scroll[1]
        self.cos, self.sin = pygame.math.Vector2(1, 0).rotate_rad(self.angle)

    def pixels(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both coordinates on the canvas, not yet truncated."""
        return (
            (self.cos * x - self.sin * y) * self.zoom + self.shift[0],
            (self.sin * x + self.cos * y) * self.zoom + self.shift[1],
        )


class _Shapes:
    """Grass and road of an episode: corners ``[4, P]`` in metres and a colour each."""

    def __init__(self, road: list, grass_color: np.ndarray) -> None:
        self.road = road
        corners = np.concatenate([_GRASS, np.array([polygon for polygon, _ in road], np.float64)])
        self.x, self.y = np.ascontiguousarray(corners[..., 0].T), np.ascontiguousarray(corners[..., 1].T)
        # A tile's colour is an array that changes when the car drives over it.
        self.colors = [grass_color] * len(_GRASS) + [color for _, color in road]

    def draw(self, surface: pygame.Surface, view: _View) -> None:
        """Draw those in sight."""
        near = np.flatnonzero(
            np.hypot(self.x[0] - view.at[0], self.y[0] - view.at[1]) < (_FARTHEST + _MARGIN) / view.zoom + _LONGEST
        )
        x, y = view.pixels(self.x[:, near], self.y[:, near])
        seen = (x.max(0) > -_MARGIN) & (x.min(0) < WINDOW_W + _MARGIN)
        # The rows under the bar are at the top of the canvas, which is upside down.
        seen &= (y.max(0) > WINDOW_H - BAR_TOP - _MARGIN) & (y.min(0) < WINDOW_H + _MARGIN)
        corners = np.stack([x[:, seen], y[:, seen]], -1).astype(np.int64).swapaxes(0, 1).tolist()
        for index, polygon in zip(near[seen].tolist(), corners, strict=True):
            color = [int(channel) for channel in self.colors[index]]
            gfxdraw.aapolygon(surface, polygon, color)
            gfxdraw.filled_polygon(surface, polygon, color)


class _Parts:
    """Wheels and hull of a car: corners ``[V]`` in the frame of the body that they belong to."""

    def __init__(self, car: Car) -> None:
        self.car = car
        corners: list[tuple[float, float]] = []
        bodies: list[int] = []
        self.polygons: list[tuple[int, int, Any, Any]] = []  # begin, end, colour, wheel of a stripe
        for number, body in enumerate(car.drawlist):
            shapes: list[Any] = [
                (fixture.shape.vertices, [int(c * 255) for c in body.color], None) for fixture in body.fixtures
            ]
            if "phase" in body.__dict__:
                half = WHEEL_W * SIZE
                shapes.append(([(-half, 0.0), (half, 0.0), (half, 0.0), (-half, 0.0)], WHEEL_WHITE, body))
            for vertices, color, wheel in shapes:
                self.polygons.append((len(corners), len(corners) + len(vertices), color, wheel))
                corners += vertices
                bodies += [number] * len(vertices)
        self.x, self.y = np.array(corners, np.float32).T.copy()
        self.body = np.array(bodies)

    def draw(self, surface: pygame.Surface, view: _View) -> None:
        """Draw the car, rounded as Box2D (in single precision) and Gymnasium's ``Car.draw`` do."""
        shown = []
        for begin, end, color, wheel in self.polygons:
            if wheel is not None:
                stripe = _stripe(wheel.phase)
                if stripe is None:
                    continue
                self.y[begin : begin + 2], self.y[begin + 2 : end] = stripe
            shown.append((begin, end, color))
        moves = [body.transform for body in self.car.drawlist]
        place = np.array([(m.q.c, m.q.s, *m.position) for m in moves], np.float32)[self.body].T
        cos, sin, right, up = place
        x, y = cos * self.x - sin * self.y + right, sin * self.x + cos * self.y + up
        points = np.stack(view.pixels(x.astype(np.float64), y.astype(np.float64)), -1).astype(np.int64).tolist()
        for begin, end, color in shown:
            pygame.draw.polygon(surface, color, points[begin:end])


def _stripe(phase: float) -> tuple[float, float] | None:
    """Where the white stripe of a wheel begins and ends, or none if it is on the other side."""
    begin, end = phase, phase + 1.2
    if math.sin(begin) > 0 and math.sin(end) > 0:
        return None
    at = [np.sign(math.cos(a)) if math.sin(a) > 0 else math.cos(a) for a in (begin, end)]
    return WHEEL_R * at[0] * SIZE, WHEEL_R * at[1] * SIZE

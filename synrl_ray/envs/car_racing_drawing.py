"""CarRacing that draws a frame only when it is asked to, and faster. Importing this needs Box2D and pygame.

Gymnasium draws each frame at 1000 x 800 pixels, some 800 polygons of which a few are in sight, turns it upside down and
shrinks it to 96 x 96. :class:`DrawnFast` leaves the pixels as they are, to the last bit: the same polygons are drawn by
the same calls in the same order, but the shapes of an episode are turned and moved all at once, those out of sight are
left out, and one compiled pass turns the frame over, shrinks it and wipes the canvas for the next one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numba
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

_BAR_TOP = WINDOW_H * 7 // 8  # the bar of indicators hides what is below
_HIGHEST = 3.9  # of an indicator within the bar, which ends at 4
_FARTHEST = math.hypot(WINDOW_W / 2, WINDOW_H * 3 / 4)  # pixels from the car to a corner of the window
_STRETCH = 12  # targets; 125 pixels
_MIXED = np.uint32(0xFFFFFFFF)  # no colour
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
        self._canvas = _Canvas()
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
        seen &= (y.max(0) > WINDOW_H - _BAR_TOP - _MARGIN) & (y.min(0) < WINDOW_H + _MARGIN)
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


class _Canvas:
    """The window-sized surfaces, and the way from them to a picture."""

    def __init__(self) -> None:
        self.scene = pygame.Surface((WINDOW_W, WINDOW_H), 0, 32)
        self.bar = pygame.Surface((WINDOW_W, WINDOW_H), 0, 32)
        bits = 16 if pygame.transform.get_smoothscale_backend() == "GENERIC" else 14
        self.columns = _spans(WINDOW_W, STATE_W, bits)
        self.rows = _spans(WINDOW_H, STATE_H, bits)
        self.bits = np.uint32(bits)
        self._wiped = (0, 0, 0)

    def wipe(self, color: Sequence[float] | np.ndarray) -> None:
        """Fill the scene with a colour (red, green, blue), unless :meth:`shrink` has left it so."""
        color = (int(color[0]), int(color[1]), int(color[2]))
        if color != self._wiped:
            self.scene.fill(color)
            self._wiped = color

    def shrink(self, bar: bool) -> np.ndarray:
        """The picture ``[96, 96, 3]`` of scene and bar; the scene is wiped again."""
        picture = np.zeros((STATE_H, STATE_W, 3), np.uint8)
        _shrink(
            pygame.surfarray.pixels2d(self.scene).T,
            pygame.surfarray.pixels2d(self.bar).T,
            np.uint32(self.scene.map_rgb(self._wiped)),
            *self.columns,
            *self.rows,
            self.bits,
            picture if bar else picture[: STATE_H * _BAR_TOP // WINDOW_H],
        )
        return picture


def _spans(source: int, target: int, bits: int) -> tuple[np.ndarray, np.ndarray, np.uint32]:
    """How pygame's ``smoothscale`` divides ``source`` pixels among ``target``, in fixed point with ``bits`` digits.

    Returns:
        For each target its last source pixel and that one's share in it, ``[target]``; and the reciprocal of a
        target's extent, with 16 digits.
    """
    one = 1 << bits
    extent = one * source // target
    last, share = np.zeros(target, np.int64), np.zeros(target, np.uint32)
    left, pixel = extent, 0
    for index in range(target):
        while left > one:
            left -= one
            pixel += 1
        last[index], share[index] = pixel, left
        left += extent - one
        pixel += 1
    return last, share, np.uint32((one << 16) // extent)


@numba.njit(cache=True, nogil=True)
def _shrink(scene, bar, background, last_x, share_x, recip_x, last_y, share_y, recip_y, bits, picture):  # type: ignore[no-untyped-def]
    """``flip`` and ``smoothscale`` of pygame with their rounding, and the scene wiped on the way.

    Pixels are 0x00RRGGBB. A row is taken in stretches; most are of one colour, the same as in the row before.
    """
    sixteen = np.uint32(16)
    one = np.uint32(1) << bits
    width = last_x.size
    line, carry = np.zeros(3 * width, np.uint32), np.zeros(3 * width + 3, np.uint32)
    total = np.zeros(3 * width, np.uint32)
    plain, plain_stretch = np.full(width, _MIXED), np.full(width // _STRETCH, _MIXED)
    y = 0
    for j in range(picture.shape[0]):
        while y <= last_y[j]:
            row = scene[scene.shape[0] - 1 - y] if y < _BAR_TOP else bar[y]
            begin, before = 0, row[0]
            for stretch in range(plain_stretch.size):
                end = last_x[_STRETCH * stretch + _STRETCH - 1] + 1
                pixels = row[begin:end]
                color, before = before, pixels[-1]  # the last pixel before a stretch is shared with it
                other = np.uint32(0)
                for x in range(pixels.size):
                    other |= pixels[x] ^ color
                kind = color if other == 0 else _MIXED
                if kind == _MIXED or kind != plain_stretch[stretch]:
                    plain_stretch[stretch] = kind
                    _shrink_stretch(pixels, color, stretch, last_x, share_x, recip_x, bits, carry, line, plain)
                if y < _BAR_TOP and kind != background:
                    pixels[:] = background
                begin = end
            if y < last_y[j]:
                for k in range(total.size):
                    total[k] += line[k]
            else:
                share = share_y[j]
                for i in range(width):
                    for c in range(3):
                        k = 3 * i + c
                        picture[j, i, c] = (total[k] + (line[k] * share >> bits)) * recip_y >> sixteen
                        total[k] = line[k] * (one - share) >> bits
            y += 1


@numba.njit(cache=True, nogil=True)
def _shrink_stretch(pixels, before, stretch, last_x, share_x, recip_x, bits, carry, line, plain):  # type: ignore[no-untyped-def]
    """``line[3 i + c]`` for the targets i of a stretch; ``plain[i]`` is the colour of what they were made of."""
    red_blue, byte, eight, sixteen = np.uint32(0xFF00FF), np.uint32(0xFF), np.uint32(8), np.uint32(16)
    low, one = np.uint32(0xFFFF), np.uint32(1) << bits
    start = last_x[_STRETCH * stretch - 1] + 1 if stretch else 0
    first = 0
    for i in range(_STRETCH * stretch, _STRETCH * stretch + _STRETCH):
        last, share = last_x[i] - start, share_x[i]
        window, edge = pixels[first:last], pixels[last]
        other = (before ^ edge) | (window[0] ^ edge) | (window[window.size - 1] ^ edge)
        for k in range(8):  # a window has 9 or 10 pixels
            other |= window[k + 1] ^ edge
        kind = edge if other == 0 else _MIXED
        first, before = last + 1, edge
        if kind != _MIXED and kind == plain[i]:
            continue
        plain[i] = kind
        outer, green = np.uint32(0), np.uint32(0)  # red and blue are added up in one word
        for x in range(window.size):
            outer += window[x] & red_blue
            green += (window[x] >> eight) & byte
        r, g, b = (edge >> sixteen) & byte, (edge >> eight) & byte, edge & byte
        line[3 * i] = ((outer >> sixteen) + (r * share >> bits) + carry[3 * i]) * recip_x >> sixteen
        line[3 * i + 1] = (green + (g * share >> bits) + carry[3 * i + 1]) * recip_x >> sixteen
        line[3 * i + 2] = ((outer & low) + (b * share >> bits) + carry[3 * i + 2]) * recip_x >> sixteen
        rest = one - share
        carry[3 * i + 3], carry[3 * i + 4], carry[3 * i + 5] = r * rest >> bits, g * rest >> bits, b * rest >> bits

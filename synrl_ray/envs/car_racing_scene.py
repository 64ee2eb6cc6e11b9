"""What a picture of CarRacing shows above its bar: grass, road and car, from metres to pixels in one compiled pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium.envs.box2d.car_dynamics import SIZE, WHEEL_R, WHEEL_W, WHEEL_WHITE, Car
from gymnasium.envs.box2d.car_racing import (
    GRASS_DIM,
    PLAYFIELD,
    STATE_W,
    WINDOW_H,
    WINDOW_W,
    CarRacing,
)
from pygame.math import Vector2

from synrl_ray.compiled import jit
from synrl_ray.envs.car_racing_polygons import draw_plain, draw_smooth
from synrl_ray.envs.car_racing_shrinking import Shrinking, State, shrink

BAR_TOP = WINDOW_H * 7 // 8  # the bar of indicators hides what is below
_TOP = WINDOW_H - BAR_TOP  # the first row to be seen of the canvas, which is upside down
_MARGIN = 4  # pixels; an antialiased line reaches one beyond its corners
_FARTHEST = math.hypot(WINDOW_W / 2, WINDOW_H * 3 / 4) + _MARGIN  # pixels from the car to a corner of the window
_LONGEST = 1.5 * GRASS_DIM  # metres; no shape but the field is longer
_FIELD = PLAYFIELD * np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)])
_PATCH = GRASS_DIM * np.array([(1, 0), (0, 0), (0, 1), (1, 1)])
_GRID = GRASS_DIM * np.arange(-20, 20, 2)
_GRASS = np.array([np.array([x, y]) + _PATCH for x in _GRID for y in _GRID])


class Scene:
    """The shapes of an episode.

    Tiles change their colour when the car drives over them: theirs are made views of one array, which is read here and,
    where Gymnasium draws, there.

    Args:
        env: after its track and its car were made.
    """

    def __init__(self, env: CarRacing) -> None:
        assert env.car is not None
        self.road = env.road_poly
        shapes = [(_FIELD, env.bg_color), *((patch, env.grass_color) for patch in _GRASS), *self.road]
        places = np.array([corners for corners, _ in shapes], np.float64)
        self._x, self._y = places[..., 0].copy(), places[..., 1].copy()
        self._colors = np.array([color for _, color in shapes], np.float64)
        tiles = iter(env.road or ())
        for index, (corners, color) in enumerate(self.road):
            if isinstance(color, np.ndarray):
                shared = self._colors[index - len(self.road)]
                next(tiles).color, self.road[index] = shared, (corners, shared)
        self._parts = _Parts(env.car)

    def paint(self, hull: Any, zoom: float, shrinking: Shrinking, state: State, picture: np.ndarray) -> None:
        """Draw and shrink the rows above the bar.

        Args:
            hull: of the car, which is in the middle and looks upwards.
            zoom: pixels a metre.
            shrinking: how.
            state: of the rows, changed.
            picture: ``[STATE_H, STATE_W, 3]``, changed.
        """
        (x, y), angle = hull.position, -hull.angle
        scroll = Vector2(-x * zoom, -y * zoom).rotate_rad(angle)
        cos, sin = Vector2(1, 0).rotate_rad(angle)
        view = cos, sin, zoom, WINDOW_W / 2 + scroll[0], WINDOW_H / 4 + scroll[1]
        black_in_sight = max(abs(x), abs(y)) + _FARTHEST / zoom >= PLAYFIELD
        _paint(
            (self._x, self._y, self._colors), black_in_sight, self._parts.now(), view,
            shrinking.spans, shrinking.owner, state, picture,
        )  # fmt: skip


class _Parts:
    """Wheels and hull of a car: corners ``[V]`` in the frame of the body that they belong to."""

    def __init__(self, car: Car) -> None:
        self._bodies = car.drawlist
        corners: list[tuple[float, float]] = []
        owners: list[int] = []
        ends: list[int] = []
        colors: list[Any] = []
        self._stripes = []  # wheel, number of the polygon, first corner
        for number, body in enumerate(self._bodies):
            shapes: list[tuple[Any, Any]] = [
                (fixture.shape.vertices, [int(c * 255) for c in body.color]) for fixture in body.fixtures
            ]
            if "phase" in body.__dict__:
                self._stripes.append((body, len(ends) + len(shapes), len(corners) + sum(len(v) for v, _ in shapes)))
                half = WHEEL_W * SIZE
                shapes.append(([(-half, 0.0), (half, 0.0), (half, 0.0), (-half, 0.0)], WHEEL_WHITE))
            for vertices, color in shapes:
                corners += vertices
                owners += [number] * len(vertices)
                ends.append(len(corners))
                colors.append(color)
        self._x, self._y = np.array(corners, np.float32).T.copy()
        self._owners, self._ends, self._colors = np.array(owners), np.array(ends), np.array(colors)
        self._shown = np.ones(len(ends), np.bool_)
        self._places = np.empty((len(self._bodies), 4), np.float32)

    def now(self) -> tuple[np.ndarray, ...]:
        """Corners ``[V]``, their bodies ``[V]``, where these are, and end, colour and visibility of each polygon."""
        for wheel, polygon, corner in self._stripes:
            stripe = _stripe(wheel.phase)
            self._shown[polygon] = stripe is not None
            if stripe is not None:
                self._y[corner : corner + 2], self._y[corner + 2 : corner + 4] = stripe
        for place, body in zip(self._places, self._bodies, strict=True):
            place[:] = (*body.GetWorldVector((1, 0)), *body.position)
        return self._x, self._y, self._owners, self._places, self._ends, self._colors, self._shown


def _stripe(phase: float) -> tuple[float, float] | None:
    """Where the white stripe of a wheel begins and ends, or none if it is on the other side."""
    begin, end = phase, phase + 1.2
    if math.sin(begin) > 0 and math.sin(end) > 0:
        return None
    at = [math.copysign(1.0, math.cos(a)) if math.sin(a) > 0 else math.cos(a) for a in (begin, end)]
    return WHEEL_R * at[0] * SIZE, WHEEL_R * at[1] * SIZE


@jit
def _paint(shapes, black_in_sight, parts, view, spans, owner, state, picture):  # type: ignore[no-untyped-def]
    """Draw all shapes, and shrink the rows from the last to the first: the canvas is upside down."""
    near, x, y, colors = _in_sight(shapes, black_in_sight, view)
    part_x, part_y, begins, part_colors = _placed(parts, view)
    pixels = np.empty((BAR_TOP, WINDOW_W), np.uint32)
    background = np.uint32(0 if black_in_sight else _packed(shapes[2][0]))
    cells = np.full((BAR_TOP, STATE_W + 1), background)
    band = pixels, cells, _TOP, owner, spans[0]
    for shape in range(near):
        draw_smooth(x[shape], y[shape], colors[shape], band)
    for part in range(part_colors.size):
        corners = slice(begins[part], begins[part + 1])
        draw_plain(part_x[corners], part_y[corners], part_colors[part], band)
    shrink(pixels[::-1], cells[::-1], 0, spans, state, picture)


@jit
def _packed(color):  # type: ignore[no-untyped-def]
    return np.int64(color[0]) << 16 | np.int64(color[1]) << 8 | np.int64(color[2])


@jit
def _pixel(x, y, view):  # type: ignore[no-untyped-def]
    """Column and row, each operation rounded as in Gymnasium's ``_render`` and ``_draw_colored_polygon``."""
    cos, sin, zoom, right, up = view
    return np.int64((cos * x - sin * y) * zoom + right), np.int64((sin * x + cos * y) * zoom + up)


@jit
def _in_sight(shapes, black_in_sight, view):  # type: ignore[no-untyped-def]
    """Number, columns ``[P, 4]``, rows ``[P, 4]`` and colours of what is to be seen, the first of them the field."""
    corner_x, corner_y, corner_colors = shapes
    x, y = np.empty((len(corner_x), 4), np.int64), np.empty((len(corner_x), 4), np.int64)
    colors = np.empty(len(corner_x), np.int64)
    seen = 0
    reach = _LONGEST * view[2] + _MARGIN
    for shape in range(0 if black_in_sight else 1, len(corner_x)):
        column, row = _pixel(corner_x[shape, 0], corner_y[shape, 0], view)
        if shape and not (-reach < column < WINDOW_W + reach and -reach < row < WINDOW_H + reach):
            continue
        for k in range(4):
            x[seen, k], y[seen, k] = _pixel(corner_x[shape, k], corner_y[shape, k], view)
        if x[seen].max() < -_MARGIN or x[seen].min() > WINDOW_W + _MARGIN:
            continue
        if y[seen].max() < _TOP - _MARGIN or y[seen].min() > WINDOW_H + _MARGIN:
            continue
        colors[seen] = _packed(corner_colors[shape])
        seen += 1
    return seen, x, y, colors


@jit
def _placed(parts, view):  # type: ignore[no-untyped-def]
    """Columns and rows ``[V]``, begin and colour of the car's polygons, rounded as Box2D (in single precision) does."""
    corner_x, corner_y, owners, places, ends, colors, shown = parts
    x, y = np.empty(corner_x.size, np.int64), np.empty(corner_x.size, np.int64)
    begins, packed = np.zeros(ends.size + 1, np.int64), np.empty(ends.size, np.int64)
    count = size = 0
    for part in range(ends.size):
        if not shown[part]:
            continue
        for k in range(ends[part - 1] if part else 0, ends[part]):
            cos, sin, right, up = places[owners[k]]
            across, along = cos * corner_x[k] - sin * corner_y[k] + right, sin * corner_x[k] + cos * corner_y[k] + up
            x[size], y[size] = _pixel(np.float64(across), np.float64(along), view)
            size += 1
        packed[count] = _packed(colors[part])
        count += 1
        begins[count] = size
    return x, y, begins, packed[:count]

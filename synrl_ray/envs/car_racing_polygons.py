"""Polygons as pygame draws them, bit for bit, on a band of the window's rows.

What pygame (2.6) does with integer corners:

- ``gfxdraw.aapolygon``: each side is a line of Xiaolin Wu's (1991, doi:10.1145/127719.122734), two pixels a step whose
  weights are the 8 leading bits of a fraction of 16; a side is clipped to the window first, in single precision.
- ``gfxdraw.filled_polygon``: the spans between sides, with 16 bits of fraction, rounded.
- ``draw.polygon``: the spans between sides, rounded down.

A band is ``(pixels, cells, top, owner, last)``. A cell is what one pixel of the shrunk picture is made of, about ten
pixels of a row: ``cells[row, cell]`` is its colour, or ``MIXED``, and only then its ``pixels[row, last[cell - 1] + 1 :
last[cell] + 1]`` are written. A cell is mixed as well where the pixel to its left has another colour. ``top`` is the
window's row that is the band's first, and ``owner`` the cell of each column, ``[WINDOW_W + 1]``.

Pixels and spans are listed first and written in one loop each: a call for each of them would cost more than they do,
since numba counts the references to the arrays that it hands on.
"""

from __future__ import annotations

import numpy as np
from gymnasium.envs.box2d.car_racing import WINDOW_H, WINDOW_W

from synrl_ray.compiled import jit

MIXED = np.uint32(0xFFFFFFFF)  # no colour
_RIGHT, _BOTTOM = WINDOW_W - 1, WINDOW_H - 1
_RED_BLUE, _GREEN = 0xFF00FF, 0x00FF00
_OPAQUE = 256


@jit
def draw_smooth(x, y, color, band):  # type: ignore[no-untyped-def]
    """``gfxdraw.aapolygon``, and ``gfxdraw.filled_polygon`` over it.

    Args:
        x: columns of four corners, whole numbers ``[4]``.
        y: rows of these.
        color: 0xRRGGBB.
        band: changed.
    """
    top, lowest = band[2], max(y)
    end = top + len(band[0])
    spans, count = np.empty((2 * (end - top), 3), np.int64), 0
    crossings = np.empty(4, np.int64)
    for row in range(max(min(y), top), min(lowest + 1, end)):
        crossed = 0
        for k in range(4):
            x1, y1, x2, y2 = x[k - 1], y[k - 1], x[k], y[k]
            if y1 > y2:
                x1, y1, x2, y2 = x2, y2, x1, y1
            if y1 <= row < y2 or (row == lowest and y1 < row <= y2):
                crossings[crossed] = (row - y1 << 16) // (y2 - y1) * (x2 - x1) + (x1 << 16)
                crossed += 1
        _sort(crossings, crossed)
        for k in range(0, crossed, 2):
            left, right = crossings[k] + 1 + 0x8000 >> 16, crossings[k + 1] - 1 + 0x8000 >> 16
            spans[count] = row - top, min(left, right), max(left, right)
            count += 1
    points, listed = np.empty((8 * WINDOW_W, 3), np.int32), 0
    for k in range(4):
        listed = _list_side(x[k], y[k], x[(k + 1) % 4], y[(k + 1) % 4], top, end, points, listed)
    _blend(points[:listed], spans[:count], color, band)
    _fill(spans[:count], color, band)


@jit
def draw_plain(x, y, color, band):  # type: ignore[no-untyped-def]
    """``draw.polygon`` of at most eight corners that stays away from the window's edges; arguments as above."""
    top, highest, lowest = band[2], min(y), max(y)
    end = top + len(band[0])
    spans, count = np.empty((4 * (end - top) + 8, 3), np.int64), 0
    crossings = np.empty(8, np.int64)
    for row in range(max(highest, top), min(lowest + 1, end)):
        crossed = 0
        for k in range(x.size):
            x1, y1, x2, y2 = x[k - 1], y[k - 1], x[k], y[k]
            if y1 > y2:
                x1, y1, x2, y2 = x2, y2, x1, y1
            if y1 <= row < y2 or (row == lowest == y2 and y1 < y2):
                crossings[crossed] = (row - y1) * (x2 - x1) // (y2 - y1) + x1
                crossed += 1
        _sort(crossings, crossed)
        for k in range(0, crossed, 2):
            spans[count] = row - top, crossings[k], crossings[k + 1]
            count += 1
    for k in range(x.size):  # level sides that may be the end of what is above them
        level = highest == lowest or (y[k - 1] == y[k] and highest < y[k] < lowest)
        if level and top <= y[k] < end:
            spans[count] = y[k] - top, min(x[k - 1], x[k]), max(x[k - 1], x[k])
            count += 1
    _fill(spans[:count], color, band)


@jit
def _sort(values, count):  # type: ignore[no-untyped-def]
    for i in range(1, count):
        for j in range(i, 0, -1):
            if values[j - 1] > values[j]:
                values[j - 1], values[j] = values[j], values[j - 1]


@jit
def _fill(spans, color, band):  # type: ignore[no-untyped-def]
    """Colour spans ``[S, 3]`` of a band's rows: row, left, right, both included."""
    pixels, cells, _, owner, last = band
    for index in range(len(spans)):
        row, left, right = spans[index, 0], max(spans[index, 1], 0), min(spans[index, 2], _RIGHT)
        if left > right:
            continue
        first, end = owner[left], owner[right + 1]
        for cell in (first, end):
            old = cells[row, cell]
            cells[row, cell] = MIXED
            if old != MIXED and cell < last.size:  # one cell more begins beyond the right edge
                for column in range(last[cell - 1] + 1 if cell else 0, last[cell] + 1):
                    pixels[row, column] = old
        for column in range(left, min(right, last[first]) + 1):
            pixels[row, column] = color
        for cell in range(first + 1, end):
            cells[row, cell] = color
        for column in range(max(left, last[end - 1] + 1), right + 1):
            pixels[row, column] = color


@jit
def _blend(points, spans, color, band):  # type: ignore[no-untyped-def]
    """Colour points ``[P, 3]`` of a band (row, column, weight of 256ths), but for those that spans will cover."""
    pixels, cells, _, owner, last = band
    covered = np.zeros((len(pixels), 2), np.int64)
    for index in range(len(spans)):
        covered[spans[index, 0]] = spans[index, 1], spans[index, 2] + 1
    for index in range(len(points)):
        row, column, share = points[index]
        if covered[row, 0] <= column < covered[row, 1]:
            continue
        cell = owner[column]
        old = np.int64(pixels[row, column] if cells[row, cell] == MIXED else cells[row, cell])
        red_blue = (old & _RED_BLUE) * (_OPAQUE - share) + (color & _RED_BLUE) * share >> 8
        green = (old & _GREEN) * (_OPAQUE - share) + (color & _GREEN) * share >> 8
        new = red_blue & _RED_BLUE | green & _GREEN
        if new == old:
            continue
        for mixed in (cell, owner[column + 1]):
            old = cells[row, mixed]
            cells[row, mixed] = MIXED
            if old != MIXED and mixed < last.size:
                for other in range(last[mixed - 1] + 1 if mixed else 0, last[mixed] + 1):
                    pixels[row, other] = old
        pixels[row, column] = new


@jit
def _list_side(x1, y1, x2, y2, top, end, points, count):  # type: ignore[no-untyped-def]
    """A side of ``gfxdraw.aapolygon``, without its last pixel unless it is upright or level.

    Args:
        x1: its ends.
        y1: its ends.
        x2: its ends.
        y2: its ends.
        top: the band's first row.
        end: the row below the band.
        points: row of the band, column and weight of 256ths; the side's are added.
        count: of points.

    Returns:
        The number of points.
    """
    seen, x1, y1, x2, y2 = _clip(x1, y1, x2, y2)
    if not seen or max(y1, y2) < top or min(y1, y2) >= end:
        return count
    if top <= y1 < end:
        points[count] = y1 - top, x1, _OPAQUE
        count += 1
    if y1 > y2:
        x1, y1, x2, y2 = x2, y2, x1, y1
    wide, high, way = abs(x2 - x1), y2 - y1, 1 if x2 > x1 else -1
    if high == 0:
        for column in range(min(x1, x2), max(x1, x2) + 1):
            points[count] = y1 - top, column, _OPAQUE
            count += 1
    elif wide == 0:
        for row in range(max(y1, top), min(y2 + 1, end)):
            points[count] = row - top, x1, _OPAQUE
            count += 1
    elif high > wide:
        slope = (wide << 16) // high
        for row in range(max(y1 + 1, top), min(y2, end)):
            at = (row - y1) * slope
            column, weight = x1 + way * (at >> 16), at >> 8 & 255
            points[count] = row - top, column, 255 * (255 - weight) >> 8
            points[count + 1] = row - top, column + way, 255 * weight >> 8
            count += 2
    else:
        slope = (high << 16) // wide
        first = max(1, ((top - 1 - y1 << 16) + slope - 1) // slope)
        for step in range(first, min(wide, ((end - y1 << 16) - 1) // slope + 1)):
            at = step * slope
            row, column, weight = y1 + (at >> 16), x1 + way * step, at >> 8 & 255
            if row >= top:
                points[count] = row - top, column, 255 * (255 - weight) >> 8
                count += 1
            if row + 1 < end:
                points[count] = row + 1 - top, column, 255 * weight >> 8
                count += 1
    return count


@jit
def _clip(x1, y1, x2, y2):  # type: ignore[no-untyped-def]
    """Whether the line is in the window, and the part of it that is; its ends may change places."""
    while True:
        if max(x1, x2) < 0 or min(x1, x2) > _RIGHT or max(y1, y2) < 0 or min(y1, y2) > _BOTTOM:
            return False, x1, y1, x2, y2
        if 0 <= x1 <= _RIGHT and 0 <= y1 <= _BOTTOM:
            if 0 <= x2 <= _RIGHT and 0 <= y2 <= _BOTTOM:
                return True, x1, y1, x2, y2
            x1, y1, x2, y2 = x2, y2, x1, y1
        slope = np.float32(1) if x1 == x2 else np.float32(y2 - y1) / np.float32(x2 - x1)
        if x1 < 0 or x1 > _RIGHT:
            side = 0 if x1 < 0 else _RIGHT
            y1 += np.int64(np.float32(side - x1) * slope)
            x1 = side
        else:
            side = 0 if y1 < 0 else _BOTTOM
            if x1 != x2:
                x1 += np.int64(np.float32(side - y1) / slope)
            y1 = side

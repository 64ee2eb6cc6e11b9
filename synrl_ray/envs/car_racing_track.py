"""CarRacing's random track, compiled: the numbers of Gymnasium's ``_create_track``, to the last bit."""

from __future__ import annotations

import math

import numpy as np
from gymnasium.envs.box2d.car_racing import (
    BORDER,
    BORDER_MIN_COUNT,
    SCALE,
    TRACK_DETAIL_STEP,
    TRACK_RAD,
    TRACK_TURN_RATE,
    TRACK_WIDTH,
)

from synrl_ray.compiled import jit

_CHECKPOINTS = 12
START_ALPHA = 2 * math.pi * (-0.5) / _CHECKPOINTS
_LONGEST = 2500  # steps of five laps
_LAPS = 5


def random_checkpoints(rng: np.random.Generator) -> np.ndarray:
    """Angle around the middle and position (metres) of each, ``[12, 3]``."""
    checkpoints = []
    for index in range(_CHECKPOINTS):
        alpha = 2 * math.pi * index / _CHECKPOINTS + rng.uniform(0, 2 * math.pi * 1 / _CHECKPOINTS)
        radius = rng.uniform(TRACK_RAD / 3, TRACK_RAD)
        if index in (0, _CHECKPOINTS - 1):
            alpha, radius = 2 * math.pi * index / _CHECKPOINTS, 1.5 * TRACK_RAD
        checkpoints.append((alpha, radius * math.cos(alpha), radius * math.sin(alpha)))
    return np.array(checkpoints)


@jit
def center_line(checkpoints):  # type: ignore[no-untyped-def]
    """One lap from checkpoint to checkpoint, ``[N, 4]``: angle around the middle, heading, x, y. None if it fails."""
    track = np.empty((_LONGEST, 4))
    x, y, beta = 1.5 * TRACK_RAD, 0.0, 0.0
    target = laps = size = 0
    other_side = False
    while laps < _LAPS and size < _LONGEST:
        alpha = math.atan2(y, x)
        if other_side and alpha > 0:
            laps += 1
            other_side = False
        if alpha < 0:
            other_side = True
            alpha += 2 * math.pi
        while alpha > checkpoints[target % _CHECKPOINTS, 0]:
            target += 1
            if target % _CHECKPOINTS == 0:
                alpha -= 2 * math.pi
        cos, sin = math.cos(beta), math.sin(beta)
        ahead = cos * (checkpoints[target % _CHECKPOINTS, 1] - x) + sin * (checkpoints[target % _CHECKPOINTS, 2] - y)
        while beta - alpha > 1.5 * math.pi:
            beta -= 2 * math.pi
        while beta - alpha < -1.5 * math.pi:
            beta += 2 * math.pi
        before = beta
        ahead *= SCALE
        if ahead > 0.3:
            beta -= min(TRACK_TURN_RATE, abs(0.001 * ahead))
        if ahead < -0.3:
            beta += min(TRACK_TURN_RATE, abs(0.001 * ahead))
        x += -sin * TRACK_DETAIL_STEP
        y += cos * TRACK_DETAIL_STEP
        track[size] = alpha, before * 0.5 + beta * 0.5, x, y
        size += 1
    end = _start_before(track, size)
    begin = _start_before(track, end)
    if begin == 0:
        return None
    track = track[begin : end - 1]
    across, along = track[0, 2] - track[-1, 2], track[0, 3] - track[-1, 3]
    gap = math.sqrt((math.cos(track[0, 1]) * across) ** 2 + (math.sin(track[0, 1]) * along) ** 2)
    return None if gap > TRACK_DETAIL_STEP else track


@jit
def _start_before(track, end):  # type: ignore[no-untyped-def]
    """The newest step before ``end`` that passes the start, or 0."""
    for step in range(end - 1, 0, -1):
        if track[step, 0] > START_ALPHA >= track[step - 1, 0]:
            return step
    return 0


@jit
def edges(track):  # type: ignore[no-untyped-def]
    """Corners ``[N, 4, 2]`` of the tiles and of red and white borders beside them, and which tiles have one ``[N]``."""
    size = len(track)
    bordered = np.zeros(size, np.bool_)
    for i in range(size):
        good, turned = True, 0.0
        for back in range(BORDER_MIN_COUNT):
            turn = track[i - back, 1] - track[i - back - 1, 1]
            good &= abs(turn) > TRACK_TURN_RATE * 0.2
            turned += np.sign(turn)
        bordered[i] = good and abs(turned) == BORDER_MIN_COUNT
    for i in range(size):
        for back in range(BORDER_MIN_COUNT):
            bordered[i - back] |= bordered[i]
    tiles, borders = np.empty((size, 4, 2)), np.empty((size, 4, 2))
    for i in range(size):
        side = np.sign(track[i - 1, 1] - track[i, 1])
        for k in range(2):
            _, beta, x, y = track[i - k]
            cos, sin = math.cos(beta), math.sin(beta)
            left, right = (0, 1) if k == 0 else (3, 2)
            tiles[i, left] = x - TRACK_WIDTH * cos, y - TRACK_WIDTH * sin
            tiles[i, right] = x + TRACK_WIDTH * cos, y + TRACK_WIDTH * sin
            borders[i, left] = x + side * TRACK_WIDTH * cos, y + side * TRACK_WIDTH * sin
            borders[i, right] = x + side * (TRACK_WIDTH + BORDER) * cos, y + side * (TRACK_WIDTH + BORDER) * sin
    return tiles, borders, bordered

import numpy as np
import pygame
import pytest
from pygame import gfxdraw

pytest.importorskip("Box2D")

from synrl_ray.envs.car_racing_polygons import MIXED, draw_plain, draw_smooth
from synrl_ray.envs.car_racing_shrinking import Shrinking

BACKGROUND, COLOR = 0x66CC66, 0xB03A07
OWNER, LAST = Shrinking().owner, Shrinking().spans[0]


def drawn(draw, corners, rows):
    """The window, drawn some rows at a time. Cells of one colour have to be so."""
    x, y = np.array(corners).T.copy()
    bands = []
    for top in range(0, 800, rows):
        pixels = np.zeros((min(rows, 800 - top), 1000), np.uint32)
        cells = np.full((len(pixels), 97), BACKGROUND, np.uint32)
        draw(x, y, COLOR, (pixels, cells, top, OWNER, LAST))
        plain = cells[:, OWNER[:1000]]
        pixels = np.where(plain == MIXED, pixels, plain)
        row, column = np.nonzero(pixels[:, 1:] != pixels[:, :-1])
        assert (cells[row, OWNER[column + 1]] == MIXED).all()
        bands.append(pixels)
    return np.concatenate(bands)


def by_pygame(draw, corners):
    window = pygame.Surface((1000, 800), 0, 32)
    window.fill(BACKGROUND)
    draw(window, corners)
    return pygame.surfarray.array2d(window).T


def smooth(window, corners):
    gfxdraw.aapolygon(window, corners, (0xB0, 0x3A, 0x07))
    gfxdraw.filled_polygon(window, corners, (0xB0, 0x3A, 0x07))


def plain(window, corners):
    pygame.draw.polygon(window, (0xB0, 0x3A, 0x07), corners)


def quadrilaterals(seed, size, number):
    """Random ones around the window, some of them crossed, some with upright and level sides or equal corners."""
    rng = np.random.default_rng(seed)
    for index in range(number):
        corners = rng.integers([-100, -100], [1100, 900]) + rng.integers(-size, size + 1, (4, 2))
        if index % 3 == 0:
            corners[1, 0] = corners[0, 0]
        if index % 5 == 0:
            corners[2, 1] = corners[1, 1]
        if index % 7 == 0:
            corners[3] = corners[2]
        if index % 11 == 0:
            corners[1] = corners[0] + abs(corners[1] - corners[0]).max()  # a diagonal
        yield corners.tolist()


@pytest.mark.parametrize("size", [3, 30, 300, 1500, 10_000])
@pytest.mark.parametrize("rows", [7, 700, 800])
def test_smooth_polygons_equal_gfxdraws(size, rows):
    for corners in quadrilaterals(size + rows, size, 30):
        pixels = drawn(draw_smooth, corners, rows)
        np.testing.assert_array_equal(pixels, by_pygame(smooth, corners), err_msg=str(corners))


@pytest.mark.parametrize("corners", [4, 8])
@pytest.mark.parametrize("rows", [7, 800])
def test_plain_polygons_equal_pygames(corners, rows):
    rng = np.random.default_rng(corners)
    for index in range(60):
        polygon = np.array([500, 300]) + rng.integers(-90, 91, (corners, 2))
        if index % 3 == 0:
            polygon[1, 1] = polygon[0, 1]
        if index % 5 == 0:
            polygon[2, 0] = polygon[1, 0]
        if index % 7 == 0:
            polygon[:, 1] //= 90  # one or a few pixels high
        pixels = drawn(draw_plain, polygon, rows)
        np.testing.assert_array_equal(pixels, by_pygame(plain, polygon.tolist()), err_msg=str(polygon.tolist()))

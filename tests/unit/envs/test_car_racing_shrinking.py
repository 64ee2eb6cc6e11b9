import numpy as np
import pygame
import pytest

pytest.importorskip("Box2D")

from synrl_ray.envs.car_racing_polygons import MIXED
from synrl_ray.envs.car_racing_shrinking import Shrinking, fresh_state, shrink


@pytest.mark.parametrize("backend", ["GENERIC", pygame.transform.get_smoothscale_backend()])
@pytest.mark.parametrize("size", [1, 5, 50])
def test_shrinking_equals_pygames_for_noise(backend, size):
    before = pygame.transform.get_smoothscale_backend()
    pygame.transform.set_smoothscale_backend(backend)
    try:
        colors = np.random.default_rng(size).integers(0, 1 << 24, (1000 // size, 800 // size))
        window = pygame.Surface((1000, 800), 0, 32)
        pygame.surfarray.pixels2d(window)[:] = np.kron(colors, np.ones((size, size), int))
        expected = pygame.surfarray.array3d(pygame.transform.smoothscale(window, (96, 96))).swapaxes(0, 1)
        pixels = pygame.surfarray.array2d(window).T.astype(np.uint32)
        shrinking, state, picture = Shrinking(), fresh_state(), np.zeros((96, 96, 3), np.uint8)
    finally:
        pygame.transform.set_smoothscale_backend(before)
    cells = cells_of(pixels, shrinking.owner)
    for begin, end in [(0, 90), (90, 91), (91, 700), (700, 800)]:
        shrink(pixels[begin:end], cells[begin:end], begin, shrinking.spans, state, picture)
    np.testing.assert_array_equal(picture, expected)


def cells_of(pixels, owner):
    """The colours of one-coloured cells, the pixel to the left included."""
    cells = np.zeros((len(pixels), 96), np.uint32)
    cells[:, owner[:1000]] = pixels
    row, column = np.nonzero(pixels[:, 1:] != pixels[:, :-1])
    cells[row, owner[column + 1]] = MIXED
    return cells

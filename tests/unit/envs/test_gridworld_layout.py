from collections import deque

import numpy as np
import pytest

from synrl_ray.envs.gridworld_layout import distances, next_states, random_layout, read_layout, write_layout
from synrl_ray.errors import UserError

RING = ["....", ".##.", "...."]


def connected(free):
    """Breadth-first search over free cells, on its own."""
    start = tuple(np.argwhere(free)[0])
    seen, queue = {start}, deque([start])
    while queue:
        row, column = queue.popleft()
        for cell in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            inside = 0 <= cell[0] < free.shape[0] and 0 <= cell[1] < free.shape[1]
            if inside and free[cell] and cell not in seen:
                seen.add(cell)
                queue.append(cell)
    return len(seen) == free.sum()


@pytest.mark.parametrize("num_obstacles", [0, 1, 8, 13])
def test_random_obstacles_are_as_many_as_asked_and_leave_free_cells_connected(num_obstacles):
    for seed in range(30):
        free = random_layout(5, 6, num_obstacles, np.random.default_rng(seed), keep={"goal": (4, 5), "start": (0, 0)})
        assert (~free).sum() == num_obstacles
        assert free[4, 5]
        assert free[0, 0]
        assert connected(free)


def test_all_but_two_cells_can_be_obstacles():
    free = random_layout(4, 4, 14, np.random.default_rng(0))
    assert free.sum() == 2
    assert connected(free)


def test_obstacles_are_decided_by_the_seed():
    maps = [write_layout(random_layout(6, 6, 9, np.random.default_rng(seed))) for seed in (1, 1, 2)]
    assert maps[0] == maps[1] != maps[2]


def test_every_cell_becomes_an_obstacle_sometimes():
    taken = sum((~random_layout(3, 4, 2, np.random.default_rng(seed))).astype(int) for seed in range(300))
    assert taken.sum() == 600
    assert taken.min() > 20


def test_moves_stay_at_borders_and_obstacles_and_inside_them():
    leads = next_states(read_layout(RING)[None])[0]
    assert leads[0].tolist() == [0, 1, 4, 0]
    assert leads[1].tolist() == [1, 2, 1, 0]
    assert leads[7].tolist() == [3, 7, 11, 7]
    assert leads[5].tolist() == [5] * 4


def test_distances_are_those_of_breadth_first_search_of_each_task():
    free = np.stack([read_layout(RING), read_layout(["...#", ".#..", "...#"])])
    found = distances(next_states(free), np.array([0, 6]))
    assert found[0].reshape(3, 4).tolist() == [[0, 1, 2, 3], [1, -1, -1, 4], [2, 3, 4, 5]]
    assert found[1].reshape(3, 4).tolist() == [[3, 2, 1, -1], [4, -1, 0, 1], [3, 2, 1, -1]]


def test_layouts_are_read_as_they_are_written():
    assert write_layout(read_layout(RING)) == RING


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rng: random_layout(1, 5, 0, rng), "a grid of 1 x 5 cells is too small — at least 2 x 2"),
        (lambda rng: random_layout(3, 3, 8, rng), "num_obstacles=8 do not fit into 3 x 3 cells — 7 did"),
        (lambda rng: random_layout(2, 2, 2, rng, {"a": (0, 0), "b": (1, 1)}), "num_obstacles=2 do not fit"),
        (lambda rng: random_layout(3, 3, -1, rng), "num_obstacles=-1 is negative"),
        (lambda rng: random_layout(3, 3, 2.5, rng), "num_obstacles=2.5 is no number of cells — choose a whole number"),
        (lambda rng: random_layout(3, 3, 1, rng, {"goal": (3, 0)}), r"the goal \(3, 0\) is outside"),
        (lambda rng: random_layout(3, 3, 1, rng, {"start": 7}), "the start 7 is no cell"),
        (lambda rng: read_layout(["..", "..."]), r"a grid of 2 lines of \[2, 3\] characters cannot be read"),
        (lambda rng: read_layout(["..", ". "]), "cannot be read — lines of one length, '#' for obstacles"),
        (lambda rng: read_layout([]), "a grid of 0 lines"),
        (lambda rng: read_layout(["..."]), "a grid of 1 x 3 cells is too small"),
    ],
)
def test_bad_grids_are_named_in_one_line(make, message):
    with pytest.raises(UserError, match=message) as caught:
        make(np.random.default_rng(0))
    assert "\n" not in str(caught.value)

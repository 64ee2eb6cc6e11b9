"""Generated mazes and mazes from text: connected, braided as asked, with true distances."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synrl_ray.envs.maze_generator import generate_maze
from synrl_ray.envs.maze_layout import MOVES, MazeLayout
from synrl_ray.envs.maze_observations import place_cell_activities, state_observations
from synrl_ray.errors import UserError

mazes = {"size": st.integers(3, 12), "maze_seed": st.integers(0, 2**32), "braid": st.floats(0, 1)}
TWO_ROOMS = ["#######", "# #   #", "# # # #", "# # # #", "### # #", "#   # #", "#######"]
WITH_PILLAR = ["#######", "#     #", "# ### #", "# ### #", "# ### #", "#     #", "#######"]


def num_passages(layout):
    return layout.passages.sum() // 2


def num_dead_ends(layout):
    return int((layout.passages.sum(axis=-1) == 1).sum())


def distances_by_relaxation(layout, goal):
    """Bellman-Ford over pairs of cells, from the passages alone."""
    rows, columns = layout.shape
    distance = np.full((rows, columns), np.inf)
    distance[divmod(goal, columns)] = 0
    for _ in range(rows * columns):
        for (row, column, move), is_open in np.ndenumerate(layout.passages):
            if is_open:
                there = distance[row + MOVES[move][0], column + MOVES[move][1]]
                distance[row, column] = min(distance[row, column], there + 1)
    return np.where(np.isinf(distance), -1, distance).ravel()


@settings(max_examples=60, deadline=None)
@given(**mazes)
def test_every_maze_is_connected_closed_outside_and_open_from_both_sides(size, maze_seed, braid):
    layout = generate_maze(size, maze_seed, braid)
    assert (layout.distances(0) >= 0).all()
    passages = layout.passages
    np.testing.assert_array_equal(passages[:, :-1, 1], passages[:, 1:, 3])
    np.testing.assert_array_equal(passages[:-1, :, 2], passages[1:, :, 0])
    border = (passages[0, :, 0], passages[:, -1, 1], passages[-1, :, 2], passages[:, 0, 3])
    assert not np.concatenate(border).any()


@settings(max_examples=40, deadline=None)
@given(size=mazes["size"], maze_seed=mazes["maze_seed"])
def test_without_braid_it_is_a_tree_and_with_full_braid_there_is_no_dead_end(size, maze_seed):
    perfect, braided = generate_maze(size, maze_seed, 0.0), generate_maze(size, maze_seed, 1.0)
    assert num_passages(perfect) == size**2 - 1  # connected, as shown above, so without a loop
    assert num_dead_ends(perfect) >= 2
    assert num_dead_ends(braided) == 0
    assert (braided.passages >= perfect.passages).all()


@settings(max_examples=40, deadline=None)
@given(**mazes)
def test_braid_opens_its_share_of_dead_ends(size, maze_seed, braid):
    before, after = generate_maze(size, maze_seed, 0.0), generate_maze(size, maze_seed, braid)
    asked = round(braid * num_dead_ends(before))
    opened = num_passages(after) - num_passages(before)
    gone = num_dead_ends(before) - num_dead_ends(after)
    assert asked <= gone  # one wall may be the end of two
    assert opened <= asked <= 2 * opened


@settings(max_examples=20, deadline=None)
@given(**mazes)
def test_the_seed_decides_the_maze(size, maze_seed, braid):
    first, second = (generate_maze(size, maze_seed, braid) for _ in range(2))
    np.testing.assert_array_equal(first.passages, second.passages)


def test_other_seeds_give_other_mazes():
    assert len({str(generate_maze(6, seed)) for seed in range(50)}) == 50


@settings(max_examples=12, deadline=None)
@given(size=st.integers(3, 6), maze_seed=mazes["maze_seed"], braid=mazes["braid"], data=st.data())
def test_distances_and_paths_are_the_shortest(size, maze_seed, braid, data):
    layout = generate_maze(size, maze_seed, braid)
    start, goal = (data.draw(st.integers(0, size**2 - 1)) for _ in range(2))
    distance = layout.distances(goal)
    np.testing.assert_array_equal(distance, distances_by_relaxation(layout, goal))
    path = layout.shortest_path(start, goal)
    assert (path[0], path[-1], len(path)) == (start, goal, distance[start] + 1)
    for here, there in itertools.pairwise(path):
        row, column = layout.cell(here)
        move = MOVES.index(tuple(np.subtract(layout.cell(there), (row, column)).tolist()))
        assert layout.passages[row, column, move]


@settings(max_examples=30, deadline=None)
@given(**mazes)
def test_text_is_read_back_as_it_was_written(size, maze_seed, braid):
    layout = generate_maze(size, maze_seed, braid)
    again = MazeLayout.from_text(str(layout).splitlines())
    np.testing.assert_array_equal(again.passages, layout.passages)
    np.testing.assert_array_equal(again.free, layout.free)


def test_a_maze_from_text_by_hand():
    layout = MazeLayout.from_text(WITH_PILLAR)
    assert layout.free.tolist() == [[True] * 3, [True, False, True], [True] * 3]
    assert layout.distances(8).tolist() == [4, 3, 2, 3, -1, 1, 2, 1, 0]
    assert layout.next_state[1].tolist() == [1, 2, 1, 0]  # north and south of it are walls
    assert layout.next_state[4].tolist() == [4, 4, 4, 4]
    assert (layout.state((2, 1)), layout.cell(7), layout.num_states, layout.shape) == (7, (2, 1), 9, (3, 3))
    assert str(layout) == "\n".join(WITH_PILLAR)


def test_rooms_without_a_door_have_no_path():
    layout = MazeLayout.from_text(TWO_ROOMS)
    assert layout.distances(2).tolist() == [-1, 1, 0, -1, 2, 1, 4, 3, 2]
    with pytest.raises(UserError, match=r"the maze has no path from \(0, 0\) to \(0, 2\)"):
        layout.shortest_path(0, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 0, 0.0), "a maze of size 2 is too small — at least 3 cells on a side"),
        ((5, 0, -0.1), "braid=-0.1 is no share — choose one within 0 and 1"),
        ((5, 0, 1.1), "braid=1.1 is no share"),
        ((5, 0, float("nan")), "braid=nan is no share"),
        ((5, -1, 0.0), "maze_seed=-1 is negative"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        generate_maze(*arguments)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], r"a maze of 0 lines of \[\] characters cannot be read — 2 rows \+ 1 lines"),
        (WITH_PILLAR[:-1], r"a maze of 6 lines of \[7\] characters cannot be read"),
        ([*WITH_PILLAR[:-1], "#####"], r"a maze of 7 lines of \[5, 7\] characters cannot be read"),
        ([line + "#" for line in WITH_PILLAR], r"a maze of 7 lines of \[8\] characters cannot be read"),
        ([line.replace("#", "X") for line in WITH_PILLAR], r"a maze with the characters \['X'\] cannot be read"),
        (["# #####", *WITH_PILLAR[1:]], "the border of a maze must be closed"),
        (["#####", "#   #", "### #", "#   #", "#####"], "a maze of 2 x 2 cells is too small — at least 3 x 3"),
    ],
)
def test_text_that_is_no_maze_is_refused(lines, message):
    with pytest.raises(UserError, match=message):
        MazeLayout.from_text(lines)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ((3, 0), r"the goal \(3, 0\) is outside — the maze has 3 x 3 cells"),
        ((0, -1), r"the goal \(0, -1\) is outside"),
        ((1, 1), r"the goal \(1, 1\) is in a wall"),
        (4, "the goal 4 is no cell"),
        ((0, 1, 2), r"the goal \(0, 1, 2\) is no cell"),
        ((0.5, 1), r"the goal \(0.5, 1\) is no cell"),
        ("ab", "the goal 'ab' is no cell"),
    ],
)
def test_cells_outside_or_in_walls_are_named(cell, message):
    with pytest.raises(UserError, match=message):
        MazeLayout.from_text(WITH_PILLAR).state(cell, "goal")


@settings(max_examples=25, deadline=None)
@given(size=st.integers(3, 8), sigma=st.floats(0.2, 3))
def test_a_place_cell_is_most_active_in_its_own_cell_and_falls_with_distance(size, sigma):
    activity = place_cell_activities(generate_maze(size, 0), sigma)
    assert (activity.shape, activity.dtype) == ((size**2, size**2), np.float32)
    assert (activity.argmax(axis=0) == np.arange(size**2)).all()
    np.testing.assert_array_equal(np.diag(activity), 1)
    np.testing.assert_array_equal(activity, activity.T)
    # One, two and (1, 1) cells away from the corner.
    expected = [np.exp(-squared / (2 * sigma**2)) for squared in (1, 4, 2)]
    np.testing.assert_allclose(activity[0, [1, 2 * size, size + 1]], expected, rtol=1e-5, atol=1e-30)


def test_local_observations_are_the_walls_to_north_east_south_and_west():
    seen, space = state_observations(MazeLayout.from_text(WITH_PILLAR), "local", 1.0)
    assert seen.tolist()[:2] == [[1, 0, 0, 1], [1, 0, 1, 0]]
    assert space.contains(seen[0])

"""Pictures of mazes."""

import numpy as np
import pytest

from synrl_ray.envs.maze import MazeEnv
from synrl_ray.envs.maze_drawing import draw_maze

RING = ["#######", "#     #", "# ### #", "# ### #", "# ### #", "#   # #", "#######"]
FLOOR, WALL, BLUE, GREEN = (250, 250, 247), (43, 48, 58), (30, 100, 200), (35, 150, 85)
MIDDLES = 18 + 32 * np.arange(3)  # cells of 32 pixels, walls of 4


def ring(**kwargs):
    env = MazeEnv(layout=RING, start=(0, 0), **kwargs)
    env.reset(seed=0)
    return env


def at(picture, row, column):
    return tuple(picture[row, column].tolist())


def test_text_shows_walls_agent_and_goal():
    assert ring(render_mode="ansi").render() == "#######\n#A    #\n# ### #\n# ### #\n# ### #\n#   #G#\n#######\n"
    assert ring().render() is None


def test_a_picture_has_floor_walls_agent_and_goal_where_they_are():
    env = ring(render_mode="rgb_array")
    picture = env.render()
    assert (picture.shape, picture.dtype) == ((100, 100, 3), np.uint8)
    assert at(picture, 18, 18) == BLUE
    assert at(picture, 82, 82 + 7) == GREEN  # a ring: its middle is white
    assert at(picture, 82, 82) == (255, 255, 255)
    assert at(picture, 18, 50) == FLOOR
    assert at(picture, 50, 50) == WALL  # the solid cell
    for row, column in [(0, 0), (99, 99), (1, 50), (50, 98), (82, 66)]:
        assert at(picture, row, column) == WALL
    assert at(picture, 18, 34) == FLOOR  # a passage
    env.step(np.int64(1))
    after = env.render()
    assert (at(after, 18, 18), at(after, 18, 50)) == (FLOOR, BLUE)


@pytest.mark.parametrize("cell_pixels", [8, 9, 20, 33])
def test_every_wall_is_dark_and_every_passage_is_not(cell_pixels):
    env = MazeEnv(size=4, maze_seed=7, braid=0.4)
    picture = draw_maze(env, cell_pixels=cell_pixels)
    wall = max(2, cell_pixels // 8)
    assert picture.shape == (4 * cell_pixels + wall, 4 * cell_pixels + wall, 3)
    for row, column in np.ndindex(4, 4):
        corner = np.array([row, column]) * cell_pixels
        middle = (cell_pixels + wall) // 2
        sides = ((0, middle), (middle, cell_pixels), (cell_pixels, middle), (middle, 0))
        for action, offset in enumerate(sides):
            colour = at(picture, *(corner + offset))
            assert (colour != WALL) == env.layout.passages[row, column, action]


def test_a_path_is_a_line_through_its_cells():
    env = ring()
    plain, drawn = draw_maze(env), draw_maze(env, path=env.shortest_path())
    for row, column in [(0, 1), (0, 2), (1, 2)]:
        assert at(drawn, MIDDLES[row], MIDDLES[column]) == BLUE
    assert at(drawn, 18, 34) == at(drawn, 66, 82) == BLUE  # between cells
    changed = (plain != drawn).any(axis=-1)
    assert not changed[50:, :50].any()  # the other way round is untouched
    assert not changed[(plain == WALL).all(axis=-1)].any()


def test_values_are_colours_from_light_to_dark_without_the_goal_and_what_is_not_finite():
    env = ring()
    values = -env.distances().astype(float)
    values[6], values[8] = np.nan, 1e9
    picture = draw_maze(env, values=values)
    brightness = {state: int(picture[32 * (state // 3) + 8, 32 * (state % 3) + 8].sum()) for state in (0, 1, 2, 3, 5)}
    assert brightness[3] < 3 * 250 > brightness[0]
    order = sorted(brightness, key=lambda state: values[state])
    assert sorted(order, key=lambda state: -brightness[state]) == order
    assert at(picture, 72, 8) == at(picture, 72, 72) == FLOOR
    assert at(picture, 50, 50) == WALL
    same = draw_maze(env, values=np.zeros(9))
    assert at(same, 8, 40) == at(same, 8, 72) == (255, 247, 205)
    np.testing.assert_array_equal(draw_maze(env, values=np.full(9, np.nan)), draw_maze(env))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"values": np.zeros(8)}, r"9 values are needed, one for each cell; got \[8\]"),
        ({"path": [0, 9]}, "the path leaves the states 0 to 8"),
        ({"cell_pixels": 7}, "cells need at least 8 pixels, got 7"),
    ],
)
def test_what_cannot_be_drawn_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        draw_maze(ring(), **kwargs)

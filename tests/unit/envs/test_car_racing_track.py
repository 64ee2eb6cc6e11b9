import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("Box2D")

from synrl_ray.envs.car_racing_drawing import DrawnFast
from synrl_ray.envs.car_racing_track import center_line, random_checkpoints


def layout(env):
    """All that a track is made of."""
    polygons = [(np.array(corners).tolist(), [*color]) for corners, color in env.road_poly]
    tiles = [
        (tile.fixtures[0].shape.vertices, tile.fixtures[0].sensor, tile.idx, tile.road_friction, [*tile.color])
        for tile in env.road
    ]
    return env.track, env.start_alpha, polygons, tiles


def test_tracks_equal_gymnasiums_and_leave_the_generator_where_it_does():
    gymnasiums, ours = gym.make("CarRacing-v3").unwrapped, DrawnFast()
    gymnasiums._render = lambda mode: None
    for seed in [*range(12), None, None, None]:
        for env in (gymnasiums, ours):
            env.reset(seed=seed)
        assert layout(ours) == layout(gymnasiums), seed
        assert ours.np_random.bit_generator.state == gymnasiums.np_random.bit_generator.state


def test_some_tracks_fail():
    rng = np.random.default_rng(0)
    failed = [center_line(random_checkpoints(rng)) is None for _ in range(200)]
    assert 0 < sum(failed) < 100

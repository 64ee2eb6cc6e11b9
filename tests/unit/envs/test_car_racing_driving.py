import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("Box2D")

from gymnasium.envs.box2d.car_racing import PLAYFIELD

from synrl_ray.envs.car_racing_drawing import DrawnFast

GAS = np.float32([0.0, 0.3, 0.0])


def pair(seed):
    """Gymnasium's environment, which draws nothing here, and ours."""
    envs = gym.make("CarRacing-v3").unwrapped, DrawnFast()
    envs[0]._render = lambda mode: None
    for env in envs:
        env.reset(seed=seed)
    return envs


def state(env):
    """All numbers of bodies, wheels and score."""
    bodies = [(*body.position, body.angle, *body.linearVelocity, body.angularVelocity) for body in env.car.drawlist]
    wheels = [
        (w.omega, w.phase, w.gas, w.brake, w.steer, w.joint.motorSpeed, {tile.idx for tile in w.tiles})
        for w in env.car.wheels
    ]
    return bodies, wheels, env.reward, env.prev_reward, env.t, env.tile_visited_count, env.new_lap


def assert_same_steps(envs, actions):
    """Step until an end, and return what came last."""
    for number, action in enumerate(actions):
        expected, ours = (env.step(action)[1:] for env in envs)
        assert ours == expected, number
        assert state(envs[1]) == state(envs[0]), number
        if expected[1]:
            break
    visited = [[(tile.road_visited, *tile.color) for tile in env.road] for env in envs]
    assert visited[1] == visited[0]
    return expected


def random_actions(seed, held, number):
    """Each held for some frames; pedals are up now and then, and the brake blocks the wheels now and then."""
    rng = np.random.default_rng(seed)
    for _ in range(number // held):
        action = rng.uniform([-1, 0, 0], [1, 1, 1]) * rng.integers(0, 2, 3)
        yield from [action.astype(np.float32)] * held


@pytest.mark.parametrize(("seed", "held"), [(0, 1), (1, 8), (2, 25)])
def test_states_and_rewards_equal_gymnasiums_with_resets_in_the_middle(seed, held):
    envs = pair(seed)
    for attempt in range(3):
        assert_same_steps(envs, random_actions(10 * seed + attempt, held, 150))
        for env in envs:
            env.reset()
        assert state(envs[1]) == state(envs[0])


def test_a_car_that_rests_falls_asleep_as_gymnasiums_does():
    assert_same_steps(pair(3), [np.zeros(3, np.float32)] * 100 + [GAS] * 30)


def test_leaving_the_field_equals_gymnasiums():
    envs = pair(4)
    for env in envs:
        shift = PLAYFIELD - 0.5 - env.car.hull.position[0]
        for body in env.car.drawlist:
            body.position = (body.position[0] + shift, body.position[1])
            body.linearVelocity = (40.0, 0.0)
    assert assert_same_steps(envs, [GAS] * 100)[1:] == (True, False, {"lap_finished": False})


def test_finishing_a_lap_equals_gymnasiums():
    envs = pair(5)
    for env in envs:
        env.tile_visited_count = len(env.track) - 3
    assert assert_same_steps(envs, [GAS] * 300)[1:] == (True, False, {"lap_finished": True})

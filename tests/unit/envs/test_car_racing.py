import cv2
import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

pytest.importorskip("Box2D")

from synrl_ray.envs.car_racing import make_car_racing
from synrl_ray.errors import UserError
from synrl_ray.settings.preprocessing import STEERING_AND_PEDAL, CarRacingFrames

SPACES = {
    "continuous": spaces.Box(np.array([-1, 0, 0], np.float32), np.array([1, 1, 1], np.float32)),
    "steering_pedal": spaces.Box(-1, 1, (2,), np.float32),
    "discrete": spaces.Discrete(15),
}
GAS = np.array([0.1, 0.4, 0.0], np.float32)


def make(*, training=False, kwargs=None, **frames):
    return make_car_racing("CarRacing-v3", kwargs or {}, CarRacingFrames(**frames), training=training)


def prepared(observation, size=84):
    grey = cv2.cvtColor(np.ascontiguousarray(observation[:84, 6:90]), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA)[None]


def drive(env, decisions, action):
    """How many decisions an episode lasts, and its last step."""
    env.reset(seed=0)
    for number in range(1, decisions + 1):  # noqa: B007
        step = env.step(action)
        if step[2] or step[3]:
            break
    return number, step


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("actions", list(SPACES))
def test_gymnasiums_checker_passes_and_spaces_are_right(actions, training):
    env = make(actions=actions, training=training)
    assert env.action_space == SPACES[actions]
    assert env.observation_space == spaces.Box(0, 255, (1, 84, 84), np.uint8)
    assert env.spec.id == "CarRacing-v3"
    check_env(env, skip_render_check=True)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("repeat", [1, 4])
def test_kept_frames_rewards_and_ends_equal_gymnasiums_frame_by_frame(repeat, training):
    limit = 10 * repeat + repeat // 2  # the last decision is cut short
    gymnasiums = gym.make("CarRacing-v3", max_episode_steps=limit)
    env = make(actions="continuous", action_repeat=repeat, training=training, kwargs={"max_episode_steps": limit})
    observation, _ = gymnasiums.reset(seed=3)
    np.testing.assert_array_equal(env.reset(seed=3)[0], prepared(observation))
    rng = np.random.default_rng(0)
    ended = False
    while not ended:
        action = rng.uniform([-1, 0, 0], [1, 1, 0.2]).astype(np.float32)
        total, frames = 0.0, 0
        while frames < repeat and not ended:
            observation, reward, terminated, truncated, _ = gymnasiums.step(action)
            total, frames, ended = total + float(reward), frames + 1, terminated or truncated
        ours = env.step(action)
        np.testing.assert_array_equal(ours[0], prepared(observation))
        assert ours[1:4] == (total, terminated, truncated)
    assert truncated


def test_leaving_the_field_ends_the_decision_at_that_frame():
    env = make(actions="continuous")
    env.reset(seed=0)
    for body in (env.unwrapped.car.hull, *env.unwrapped.car.wheels):
        body.position = (body.position[0] + 200, body.position[1])
    _, reward, terminated, truncated, info = env.step(GAS)
    assert (reward, terminated, truncated, info) == (-100.0, True, False, {"lap_finished": False})


def test_the_time_limit_is_1000_frames():
    number, step = drive(make(action_repeat=300), 10, 0)
    assert number == 4
    assert step[2:4] == (False, True)


@pytest.mark.parametrize(("frames", "repeat", "decisions"), [(20, 4, 6), (18, 4, 5), (7, 1, 8)])
def test_training_ends_after_frames_without_a_new_tile(frames, repeat, decisions):
    # Rolling on the spot: the first frame pays for the tile under the car.
    env = make(training=True, stop_off_track_after=frames, action_repeat=repeat)
    for _ in range(2):
        number, step = drive(env, 50, 0)
        assert number == decisions
        assert step[2:] == (True, False, {"off_track": True})


@pytest.mark.parametrize("settings", [{"training": False}, {"training": True, "stop_off_track_after": 0}])
def test_otherwise_it_goes_on_to_the_time_limit(settings):
    number, step = drive(make(action_repeat=100, **settings), 20, 0)
    assert number == 10
    assert step[2:4] == (False, True)


def test_actions_are_mapped_to_steering_gas_and_brake():
    def sent(action, **frames):
        env = make(action_repeat=1, **frames)
        env.reset(seed=0)
        received = []
        step = env.unwrapped.step
        env.unwrapped.step = lambda action: received.append(action) or step(action)
        env.step(action)
        assert received[0].dtype == np.float32
        return received[0].tolist()

    assert sent(np.float32([0.5, 0.75]), actions="steering_pedal") == [0.5, 0.75, 0.0]
    assert sent(np.float32([-1.0, -0.25]), actions="steering_pedal") == [-1.0, 0.0, 0.25]
    assert sent(np.float32([-0.5, 0.25, 1.0]), actions="continuous") == [-0.5, 0.25, 1.0]
    for index, entry in enumerate(STEERING_AND_PEDAL):
        assert sent(np.int64(index), actions="discrete") == np.float32(entry).tolist()
    assert sent(1, actions="discrete", discrete_actions=((0.0, 0.0, 0.0), (1.0, 0.5, 0.0))) == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("training", [True, False])
def test_pictures_grey_or_coloured_cropped_or_whole_and_resized(training):
    gymnasiums = gym.make("CarRacing-v3")
    whole = gymnasiums.reset(seed=0)[0]

    def first(**frames):
        env = make(training=training, **frames)
        observation, _ = env.reset(seed=0)
        assert env.observation_space.contains(observation)
        assert observation.flags.c_contiguous
        return observation

    np.testing.assert_array_equal(first(size=48), prepared(whole, 48))
    np.testing.assert_array_equal(first(grey=False), whole[:84, 6:90].transpose(2, 0, 1))
    np.testing.assert_array_equal(first(grey=False, crop=False, size=96), whole.transpose(2, 0, 1))
    assert first(grey=False, size=64).shape == (3, 64, 64)
    assert first(crop=False, size=128).shape == (1, 128, 128)


@pytest.mark.parametrize("training", [True, False])
def test_videos_show_gymnasiums_frames(training):
    gymnasiums = gym.make("CarRacing-v3", render_mode="rgb_array")
    env = make(actions="continuous", action_repeat=5, training=training, kwargs={"render_mode": "rgb_array"})
    gymnasiums.reset(seed=1)
    env.reset(seed=1)
    for _ in range(5):
        gymnasiums.step(GAS)
    env.step(GAS)
    np.testing.assert_array_equal(env.render(), gymnasiums.render())


def test_vector_environments_reset_on_the_next_step():
    envs = gym.vector.SyncVectorEnv([lambda: make(training=True, stop_off_track_after=12)] * 2)
    observation, _ = envs.reset(seed=[0, 1])
    assert envs.single_action_space == SPACES["discrete"]
    assert observation.shape == (2, 1, 84, 84)
    assert observation.dtype == np.uint8
    first = observation.copy()
    ended = np.zeros(2, bool)
    while not ended.any():
        observation, _, ended, _, _ = envs.step(np.array([0, 0]))
    assert ended.all()
    observation, reward, terminated, truncated, _ = envs.step(np.array([0, 0]))
    assert (reward == 0).all()
    assert not (terminated | truncated).any()
    assert not np.array_equal(observation, first)  # another track, at its start
    assert envs.observation_space.contains(observation)


def test_another_environment_is_refused_by_name():
    with pytest.raises(UserError, match=r"for CarRacing, not for 'CartPole-v1'"):
        make_car_racing("CartPole-v1", {}, CarRacingFrames(), training=True)

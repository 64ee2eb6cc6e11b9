"""Atari frames: the C++ vector environment against Gymnasium's wrappers, lives, FIRE, scores."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from synrl_ray.envs.atari import make_atari, make_atari_vector
from synrl_ray.envs.make import make_environment
from synrl_ray.errors import UserError
from synrl_ray.sampling.vector import PREPROCESSING, make_vector
from synrl_ray.settings.preprocessing import AtariFrames

BREAKOUT = "ale_py:ALE/Breakout-v5"
NOOP, FIRE = 0, 1
PLAIN = AtariFrames(noop_max=0, fire=False, clip_rewards=False)


def play(env, actions):
    """Lives, and the steps at which episodes end, under given actions."""
    lives, ends = [], []
    for t, action in enumerate(actions):
        _, _, terminated, truncated, info = env.step(action)
        lives.append(info["lives"])
        if terminated or truncated:
            ends.append(t)
            env.reset()
    return lives, ends


def test_vector_environment_gives_the_frames_and_rewards_of_gymnasiums_wrappers():
    vector, single = make_atari_vector(BREAKOUT, PLAIN, 1), make_atari(BREAKOUT, {}, PLAIN, training=True)
    frames, frame = vector.reset(seed=0)[0], single.reset(seed=0)[0]
    np.testing.assert_array_equal(frames[0], frame)
    actions = np.random.default_rng(0).integers(0, 4, 2000)
    begins, score, num_lives = False, 0.0, 0
    for action in actions:
        chosen = NOOP if begins else int(action)  # where a life begins, the single environment waits for one decision
        frames, rewards, terminated, truncated, _ = vector.step(np.array([chosen]))
        if begins:
            frame, begins = single.reset()[0], False
        else:
            frame, reward, ended, _, _ = single.step(chosen)
            assert (rewards[0], terminated[0], truncated[0]) == (reward, ended, False)
            score, begins, num_lives = score + reward, ended, num_lives + ended
        np.testing.assert_array_equal(frames[0], frame)
    assert score > 0
    assert num_lives > 10  # so that games ended too


def test_games_are_the_same_with_more_threads():
    frames = AtariFrames(sticky_actions=0.25)
    alone, shared = (make_atari_vector(BREAKOUT, frames, 3, threads) for threads in (1, 8))
    np.testing.assert_array_equal(alone.reset(seed=5)[0], shared.reset(seed=5)[0])
    for actions in np.random.default_rng(0).integers(0, 4, (300, 3)):
        for one, other in zip(alone.step(actions)[:4], shared.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("training", [True, False])
def test_gymnasium_finds_nothing_wrong(training):
    check_env(make_atari(BREAKOUT, {}, AtariFrames(), training=training), skip_render_check=True)


def test_frames_are_grey_single_and_of_the_size_asked_for():
    env = make_environment(BREAKOUT, {}, AtariFrames(screen_size=42))
    observation, _ = env.reset(seed=1)
    assert (observation.shape, observation.dtype) == ((1, 42, 42), np.uint8)
    envs = make_vector(BREAKOUT, {PREPROCESSING: AtariFrames(screen_size=42)}, 3)
    assert envs.single_observation_space == env.observation_space
    assert envs.reset(seed=1)[0].shape == (3, 1, 42, 42)


def test_a_judged_episode_is_a_whole_game_and_a_trained_one_a_life():
    actions = [NOOP] * 200
    lives, ends = play_from_reset(AtariFrames(noop_max=0), training=False, actions=actions)
    assert lives[0] == 5
    assert [lives[t] for t in ends] == [0]  # FIRE is pressed at each life, or the first ball would never be lost
    lives, ends = play_from_reset(AtariFrames(noop_max=0), training=True, actions=actions)
    assert [lives[t] for t in ends][:5] == [4, 3, 2, 1, 0]


def play_from_reset(frames, *, training, actions):
    env = make_atari(BREAKOUT, {}, frames, training=training)
    env.reset(seed=0)
    return play(env, actions)


def test_without_fire_the_ball_never_moves():
    lives, ends = play_from_reset(AtariFrames(noop_max=0, fire=False), training=False, actions=[NOOP] * 200)
    assert set(lives) == {5}
    assert ends == []


def test_vector_fires_at_each_life_and_reports_whole_games():
    frames = AtariFrames(noop_max=0)
    envs = make_atari_vector(BREAKOUT, frames, 2)
    envs.reset(seed=0)
    actions, raw, clipped, games, lives_lost = np.random.default_rng(3), np.zeros(2), np.zeros(2), [], 0
    for _ in range(1500):
        _, rewards, terminated, _, info = envs.step(actions.integers(0, 4, 2))
        assert set(np.unique(rewards)) <= {0.0, 1.0}
        clipped += rewards
        lives_lost += int(terminated.sum())
        games += [(info["episode"]["r"][n], info["episode"]["l"][n]) for n in np.flatnonzero(info.get("_episode", ()))]
    raw = sum(score for score, _ in games)
    assert len(games) >= 5
    assert lives_lost >= 5 * len(games)
    assert raw >= clipped.sum() * 0.5  # unclipped: bricks of the upper rows count 4 and 7
    assert all(length > 50 for _, length in games)


def test_unclipped_scores_are_those_of_the_emulator():
    frames = AtariFrames(noop_max=0, clip_rewards=False)
    envs = make_atari_vector(BREAKOUT, frames, 1)
    envs.reset(seed=0)
    generator, total, reported = np.random.default_rng(5), 0.0, None
    while reported is None:
        _, rewards, _, _, info = envs.step(generator.integers(0, 4, 1))
        total += rewards[0]
        if info.get("_episode", [False])[0]:
            reported = info["episode"]["r"][0]
    assert reported == total


def test_games_that_are_stepped_one_by_one_are_reported_whole_and_unclipped():
    envs = make_vector(BREAKOUT, {PREPROCESSING: AtariFrames(noop_max=0), "difficulty": 0}, 1)
    assert envs.reports_episodes
    envs.reset(seed=[0])
    generator, lives, reported, scores = np.random.default_rng(5), 0, [], []
    while len(reported) < 3:
        _, rewards, terminated, truncated, info = envs.step(generator.integers(0, 4, 1))
        scores.append(rewards[0])
        lives += int(terminated[0] or truncated[0])
        if info.get("_episode", [False])[0]:
            reported.append((lives, info["episode"]["r"][0], info["episode"]["l"][0]))
    assert [lost for lost, *_ in reported] == [5, 10, 15]
    assert sum(score for _, score, _ in reported) >= sum(scores) > 0  # bricks of the upper rows count 4 and 7
    assert sum(length for *_, length in reported) >= len(scores) - 3  # but for the resets between games


def test_great_seeds_are_folded_into_the_emulators_range():
    envs = make_atari_vector(BREAKOUT, AtariFrames(), 2)
    first, again = envs.reset(seed=2**31 + 7)[0], envs.reset(seed=2**31 + 7)[0]
    np.testing.assert_array_equal(first, again)
    assert (first != envs.reset(seed=2**31 + 99)[0]).any()


def test_other_games_need_no_fire():
    env = make_atari("ale_py:ALE/Freeway-v5", {}, AtariFrames(noop_max=0), training=False)
    env.reset(seed=0)
    assert env.step(NOOP)[0].shape == (1, 84, 84)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "ALE/NoSuchGame-v5"])
def test_what_is_no_atari_game_is_named(env_id):
    with pytest.raises(UserError, match=f"'{env_id}' is no Atari game"):
        make_atari(env_id, {}, AtariFrames(), training=False)
    with pytest.raises(UserError, match="ALE/Breakout-v5"):
        make_atari_vector(env_id, AtariFrames(), 2)


def test_settings_that_the_vector_form_does_not_know_take_gymnasiums_wrappers():
    envs = make_vector(BREAKOUT, {PREPROCESSING: AtariFrames(), "difficulty": 1}, 2)
    assert isinstance(envs, gym.vector.SyncVectorEnv)
    assert envs.reset(seed=1)[0].shape == (2, 1, 84, 84)


def test_video_frames_are_the_games_own():
    env = make_environment(BREAKOUT, {}, AtariFrames(), render_mode="rgb_array")
    env.reset(seed=0)
    assert np.asarray(env.render()).shape == (210, 160, 3)
    assert isinstance(env, gym.Env)

"""What is done to games in training only: lives as episodes, clipped rewards. A judged game is whole and its score is
the game's own. Wrappers on scripted games, and a real one."""

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from synrl_ray.envs.atari import LivesOfManyGames, OneLifeAfterAnother, make_atari
from synrl_ray.envs.make import environment_factory, make_environment
from synrl_ray.settings.preprocessing import AtariFrames

MS_PACMAN = "ale_py:ALE/MsPacman-v5"
NOOP, FIRE = 0, 1


def rewards_of(env, num_steps=110):  # the first seventy are its prelude
    env.reset(seed=0)
    return {float(env.step(step % 5)[1]) for step in range(num_steps)}


def test_scores_are_clipped_in_training_and_never_where_a_policy_is_judged():
    """A pellet is worth ten points."""
    frames = AtariFrames(noop_max=0)
    assert rewards_of(make_atari(MS_PACMAN, {}, frames, training=True)) == {0.0, 1.0}
    assert rewards_of(make_atari(MS_PACMAN, {}, frames, training=False)) == {0.0, 10.0}
    unclipped = AtariFrames(noop_max=0, clip_rewards=False)
    assert rewards_of(make_atari(MS_PACMAN, {}, unclipped, training=True)) == {0.0, 10.0}


def test_an_environment_is_made_for_judging_unless_training_is_asked_for():
    frames = AtariFrames(noop_max=0)
    assert rewards_of(make_environment(MS_PACMAN, {}, frames)) == {0.0, 10.0}
    assert rewards_of(environment_factory(MS_PACMAN, {}, frames)()) == {0.0, 10.0}
    assert rewards_of(make_environment(MS_PACMAN, {}, frames, training=True)) == {0.0, 1.0}


class Game(gym.Env):
    """Plays a script of (lives, terminated, truncated); notes the actions, and what it was reset with."""

    observation_space, action_space = spaces.Box(0, 255, (2, 2), np.uint8), spaces.Discrete(4)

    def __init__(self, *script, meanings=("NOOP", "FIRE", "UP", "DOWN"), lives=3):
        self.script, self.meanings, self.lives = list(script), list(meanings), lives
        self.actions, self.resets = [], []

    def get_action_meanings(self):
        return self.meanings

    def reset(self, *, seed=None, options=None):
        self.resets.append((seed, options))
        return np.full((2, 2), 9, np.uint8), {"lives": self.lives}

    def step(self, action):
        self.actions.append(int(action))
        lives, terminated, truncated = self.script.pop(0)
        return np.full((2, 2), len(self.actions), np.uint8), 5.0, terminated, truncated, {"lives": lives}


GOES_ON = (3, False, False)


def life(*script, fire=True, ends=True, **game):
    game = Game(*script, **game)
    return game, OneLifeAfterAnother(game, fire=fire, ends=ends)


def test_fire_is_pressed_at_the_start_and_the_picture_is_what_followed():
    game, env = life(GOES_ON, GOES_ON)
    assert env.observation_space == spaces.Box(0, 255, (1, 2, 2), np.uint8)
    observation, info = env.reset(seed=3, options={"a": 1})
    assert (game.resets, game.actions) == ([(3, {"a": 1})], [FIRE])
    assert (observation.tolist(), info) == ([[[1, 1], [1, 1]]], {"lives": 3})
    observation, reward, terminated, truncated, _ = env.step(2)
    assert game.actions == [FIRE, 2]
    assert (observation.shape, reward, terminated, truncated) == ((1, 2, 2), 5.0, False, False)


@pytest.mark.parametrize(
    ("fire", "meanings"), [(False, ["NOOP", "FIRE"]), (True, ["NOOP", "UP"]), (True, ["NOOP"]), (True, [])]
)
def test_fire_is_for_games_that_wait_for_it(fire, meanings):
    game, env = life(GOES_ON, (2, False, False), GOES_ON, fire=fire, ends=False, meanings=meanings)
    observation, _ = env.reset(seed=0)
    assert game.actions == []
    assert observation[0, 0, 0] == 9
    for action in (2, 3, 3):
        env.step(action)
    assert game.actions == [2, 3, 3]


def test_a_game_that_fire_ends_is_begun_again():
    for ended in ((3, True, False), (3, False, True)):
        game, env = life(ended)
        observation, _ = env.reset(seed=3, options={"a": 1})
        assert game.resets == [(3, {"a": 1}), (None, {"a": 1})]
        assert observation[0, 0, 0] == 9


def test_in_training_a_lost_life_ends_the_episode_and_the_game_goes_on():
    game, env = life(GOES_ON, (2, False, False), GOES_ON, (1, False, False), GOES_ON)
    env.reset(seed=0)
    assert env.step(2)[2:4] == (True, False)
    observation, _ = env.reset()
    assert game.resets == [(0, None)], "the same game"
    assert game.actions == [FIRE, 2, FIRE]
    assert observation[0, 0, 0] == 3
    assert env.step(3)[2:4] == (True, False)


def test_a_seed_begins_another_game():
    game, env = life(GOES_ON, (2, False, False), GOES_ON)
    env.reset(seed=0)
    env.step(2)
    env.reset(seed=1)
    assert game.resets == [(0, None), (1, None)]


def test_the_last_life_ends_the_game():
    game, env = life(GOES_ON, (0, True, False), GOES_ON)
    env.reset(seed=0)
    assert env.step(2)[2:4] == (True, False)
    env.reset()
    assert len(game.resets) == 2


def test_a_game_that_is_over_is_not_gone_on_with_although_a_life_was_lost_before():
    for last in ((1, True, False), (1, False, True)):
        game, env = life(GOES_ON, (2, False, False), GOES_ON, last, GOES_ON)
        env.reset(seed=0)
        env.step(2)
        env.reset()
        assert env.step(2)[2:4] == last[1:]
        env.reset()
        assert len(game.resets) == 2


def test_a_game_that_ends_while_it_is_gone_on_with_is_begun_anew():
    for last in ((2, True, False), (2, False, True)):
        game, env = life(GOES_ON, (2, False, False), last, GOES_ON)
        env.reset(seed=0)
        env.step(2)
        env.reset()
        assert len(game.resets) == 2


def test_where_a_policy_is_judged_fire_takes_the_place_of_the_decision_after_a_lost_life():
    game, env = life(GOES_ON, (2, False, False), (2, False, False), (2, False, False), ends=False)
    env.reset(seed=0)
    assert env.step(2)[2:4] == (False, False)
    env.step(3)
    env.step(3)
    assert game.actions == [FIRE, 2, FIRE, 3]


def test_a_life_that_is_won_is_none_that_was_lost():
    game, env = life((3, False, False), (4, False, False), (4, False, False))
    env.reset(seed=0)
    assert env.step(2)[2:4] == (False, False)
    env.step(3)
    assert game.actions == [FIRE, 2, 3]


class Games(VectorEnv):
    """Two games that follow a script of (rewards, terminated, truncated, lives)."""

    def __init__(self, *script, fire="FIRE"):
        self.num_envs, self.script, self.actions, self.seeds = 2, list(script), [], []
        names = [SimpleNamespace(name="NOOP"), SimpleNamespace(name=fire)][: 2 if fire else 1]
        self.ale = SimpleNamespace(get_action_set=lambda: names)

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        return np.zeros((2, 1, 2, 2), np.uint8), {"lives": np.array([3, 3])}

    def step(self, actions):
        self.actions.append(np.asarray(actions).tolist())
        rewards, terminated, truncated, lives = (np.array(part) for part in self.script.pop(0))
        return np.zeros((2, 1, 2, 2), np.uint8), rewards, terminated, truncated, {"lives": lives}


F, T = False, True
PLAY = np.array([3, 3])


def many(*script, fire="FIRE", **frames):
    games = Games(*script, fire=fire)
    envs = LivesOfManyGames(games, AtariFrames(**frames))
    envs.reset(seed=1)
    return games, envs


def test_of_many_games_scores_and_lengths_are_whole_and_unclipped():
    """Game 0 loses a life, then ends; its next step is the reset, which counts for no game. Game 1 is truncated."""
    games, envs = many(
        ([5.0, 0.0], [T, F], [F, F], [2, 3]),
        ([7.0, -3.0], [T, F], [F, F], [0, 3]),
        ([0.0, 2.0], [F, F], [F, T], [3, 3]),
        ([1.0, 0.0], [F, F], [F, F], [3, 3]),
    )
    _, rewards, terminated, _, info = envs.step(PLAY)
    assert rewards.tolist() == [1, 0]
    assert rewards.dtype == np.float32
    assert terminated.tolist() == [T, F]
    assert "episode" not in info, "a life is no game"
    _, rewards, _, _, info = envs.step(PLAY)
    assert rewards.tolist() == [1, -1]
    assert info["_episode"].tolist() == [T, F]
    assert (info["episode"]["r"].tolist(), info["episode"]["l"].tolist()) == ([12, 0], [2, 0])
    *_, info = envs.step(PLAY)
    assert info["_episode"].tolist() == [F, T]
    assert (info["episode"]["r"].tolist(), info["episode"]["l"].tolist()) == ([0, -1], [0, 3])
    envs.step(PLAY)
    assert envs._length.tolist() == [1, 0], "the steps that reset are no decisions"
    assert games.actions == [[3, 3], [FIRE, 3], [3, 3], [3, 3]], "where a life was lost, not where a game ended"


def test_of_many_games_rewards_are_as_they_are_where_they_are_not_to_be_clipped():
    _, envs = many(([5.0, -7.0], [F, F], [F, F], [3, 3]), clip_rewards=False)
    assert envs.step(PLAY)[1].tolist() == [5, -7]


@pytest.mark.parametrize("game", [{"fire": "UP"}, {"fire": None}])
def test_of_many_games_that_do_not_wait_for_fire_no_decision_is_taken_over(game):
    lost = ([0.0, 0.0], [T, F], [F, F], [2, 3])
    games, envs = many(lost, lost, **game)
    envs.step(PLAY)
    envs.step(PLAY)
    assert games.actions == [[3, 3], [3, 3]]


@pytest.mark.parametrize(
    ("seed", "given"),
    [
        (5, 5),
        (2**30 - 1, 2**30 - 1),
        (2**30, 2**30),
        (2**31 + 7, 2**30 + 7),
        (2**32 - 1, 2**30 + 2**29 - 1),
        (None, None),
    ],
)
def test_seeds_are_folded_below_what_the_emulator_takes(seed, given):
    games, envs = many()
    envs.reset(seed=seed)
    assert games.seeds == [1, given]
    assert given is None or 0 <= given < 2**31


def test_of_a_new_start_nothing_is_remembered():
    games, envs = many(([5.0, 1.0], [T, F], [F, F], [2, 3]), ([1.0, 1.0], [T, F], [F, F], [0, 3]))
    envs.step(PLAY)
    envs.reset(seed=2)
    *_, info = envs.step(PLAY)
    assert games.actions[-1] == [3, 3]
    assert (info["episode"]["r"][0], info["episode"]["l"][0]) == (1, 1)

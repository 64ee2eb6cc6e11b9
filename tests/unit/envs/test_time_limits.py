"""How long an episode may last: what is given, what an environment sets itself, what is taken where it sets none."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from synrl_ray.envs import make as making
from synrl_ray.envs.make import make_environment
from synrl_ray.envs.time_limit import LONGEST_LIMIT, MOST_STEPS, most_steps, require_time_limit, time_limit
from synrl_ray.errors import UserError


class Plain(gym.Env):
    observation_space, action_space = spaces.Box(-1, 1, (1,), np.float32), spaces.Discrete(2)


@pytest.mark.parametrize("limit", [None, 1, 2, 1_000_000])
def test_a_limit_of_one_step_to_a_million_is_one(limit):
    require_time_limit(limit)


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        (0, "^time_limit=0 leaves no move — choose 1 or more"),
        (-1, "^time_limit=-1 leaves no move"),
        (1_000_001, "^time_limit=1,000,001 never ends an episode — choose at most 1,000,000"),
    ],
)
def test_other_limits_are_refused(limit, says):
    with pytest.raises(UserError, match=says):
        require_time_limit(limit)
    with pytest.raises(UserError, match=says.replace("time_limit", "max_episode_steps").split(" — ")[0]):
        require_time_limit(limit, "max_episode_steps")


def test_an_episode_is_cut_after_the_decisions_of_the_longest_game_of_atari():
    assert MOST_STEPS == 108_000 // 4
    assert LONGEST_LIMIT == 10**6
    assert most_steps(Plain()) == MOST_STEPS
    assert most_steps(gym.wrappers.TimeLimit(Plain(), 5)) == 5


def test_a_limit_is_the_specs_or_that_of_a_wrapper_or_none():
    assert time_limit(Plain()) is None
    assert time_limit(gym.make("CartPole-v1")) == 500
    assert time_limit(gym.make("CartPole-v1", max_episode_steps=1)) == 1
    assert time_limit(gym.make("CartPole-v1", max_episode_steps=-1)) is None
    inner = gym.wrappers.TimeLimit(Plain(), 7)
    assert time_limit(gym.wrappers.RecordEpisodeStatistics(inner)) == 7
    assert time_limit(gym.wrappers.TimeLimit(inner, 3)) == 3, "the outer one ends first"
    assert time_limit(gym.vector.SyncVectorEnv([lambda: inner] * 2)) == 7


@pytest.mark.parametrize(("steps", "refused"), [(0, False), (-1, False), (1_000_000, False), (1_000_001, True)])
def test_a_limit_that_is_given_to_an_environment_is_looked_at(monkeypatch, steps, refused):
    monkeypatch.setattr(making, "_make", lambda env_id, kwargs, preprocessing, training: Plain())
    if refused:
        with pytest.raises(UserError, match=r"max_episode_steps=1,000,001 never ends"):
            make_environment("CartPole-v1", {"max_episode_steps": steps})
    else:
        make_environment("CartPole-v1", {"max_episode_steps": steps})


def test_the_refusal_of_too_long_a_limit_is_not_taken_for_an_environments_own():
    with pytest.raises(UserError, match=r"^max_episode_steps=1,000,001 never ends an episode"):
        make_environment("CartPole-v1", {"max_episode_steps": 1_000_001})

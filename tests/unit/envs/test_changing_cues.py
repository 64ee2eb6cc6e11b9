"""Cues whose answers change: when, for whom, and what each policy can earn."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import synrl_ray  # noqa: F401 (registers it)
from synrl_ray.envs.changing_cues import ChangingCuesEnv
from synrl_ray.envs.make import make_environment
from synrl_ray.errors import UserError


def played(env, policy, *, seed=0, episodes=1):
    """Returns of episodes, and the answers that were right in each."""
    returns, answers = [], []
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed if episode == 0 else None)
        answers.append(env.answers.tolist())
        total, ended = 0.0, False
        while not ended:
            assert observation.sum() == 1
            observation, reward, ended, truncated, _ = env.step(policy(env, observation))
            assert not truncated
            total += reward
        returns.append(total)
    return returns, answers


@pytest.mark.filterwarnings("error")
def test_gymnasiums_checker_passes():
    check_env(gym.make("synrl_ray/ChangingCues-v0").unwrapped, skip_render_check=True)


def test_answers_change_after_a_period_alike_in_all_environments_however_they_are_seeded():
    first, second = (
        played(ChangingCuesEnv(period=3, trials=2), lambda *_: 0, seed=seed, episodes=9)[1] for seed in (1, 2)
    )
    assert first == second
    assert [first[n] == first[n + 1] for n in range(8)] == [n % 3 != 2 for n in range(8)]
    assert not any(before == after for before, after in zip(first[2], first[3], strict=True)), "each cue has another"
    assert played(ChangingCuesEnv(period=3), lambda *_: 0, episodes=13)[1][12] == first[0], "after four changes"
    other = played(ChangingCuesEnv(period=3, trials=2, answers_seed=1), lambda *_: 0, episodes=9)[1]
    assert other != first


def test_the_optimum_is_one_and_what_knows_nothing_has_its_share():
    known = played(ChangingCuesEnv(), lambda env, seen: env.answers[seen.argmax()], episodes=30)[0]
    assert known == pytest.approx([1.0] * 30)
    constant = played(ChangingCuesEnv(period=1, cues=6, actions=3), lambda *_: 1, episodes=2000)[0]
    assert np.mean(constant) == pytest.approx(1 / 3, abs=0.02)


def test_what_has_not_noticed_a_change_is_always_wrong():
    env = ChangingCuesEnv(period=5)
    env.reset(seed=0)
    before = env.answers
    assert played(env, lambda _, seen: before[seen.argmax()], episodes=9)[0] == pytest.approx([1.0] * 4 + [0.0] * 5)


def test_cues_come_by_the_seed():
    one, again, other = (ChangingCuesEnv() for _ in range(3))
    shown = [[env.reset(seed=seed)[0].argmax(), *(env.step(0)[0].argmax() for _ in range(30))] for env, seed in
             ((one, 1), (again, 1), (other, 2))]  # fmt: skip
    assert shown[0] == shown[1] != shown[2]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"actions": 1}, r"actions=1 is no number for a trial — choose a whole number, 2 or more"),
        ({"period": 0}, r"period=0 is no number .* 1 or more"),
        ({"answers_seed": -1}, r"answers_seed=-1 is no number .* 0 or more"),
        ({"trials": 2.5}, r"trials=2.5 is no number"),
        ({"cues": 10**6}, r"1,000,000 cues, 4 actions and 16 trials are too many — at most 4,096, 4,096 and "),
    ],
)
def test_bad_settings_are_refused_in_one_line(kwargs, message):
    with pytest.raises(UserError, match=message):
        make_environment("synrl_ray/ChangingCues-v0", kwargs)

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from synrl_ray.envs.changing_cart_pole import BODIES, Body, ChangingCartPoleEnv
from synrl_ray.envs.make import make_environment
from synrl_ray.envs.together import OneByOne, together
from synrl_ray.errors import UserError
from synrl_ray.experiment import Environment

UNITS = np.array([2.4, 2.0, np.radians(12), 2.0, 1.0, 10.0])
ID = "synrl_ray/ChangingCartPole-v0"


def unchanged(body="intact", **kwargs):
    env = ChangingCartPoleEnv(bodies=[[body, body]], **kwargs)
    return env, env.reset(seed=3)[0]


def test_an_intact_body_is_gymnasiums_and_every_third_push_is_told_of():
    env, observation = unchanged(sensed=3)
    reference = gym.make("CartPole-v1").unwrapped
    reference.reset(seed=0)
    reference.state = tuple(env.episodes.states[0])
    np.testing.assert_allclose(observation * UNITS, [*reference.state, 0, 0], rtol=1e-6)
    for step, action in enumerate((0, 1, 1, 0, 1, 0, 0, 0, 1), start=1):
        spin = env.episodes.states[0, 3]
        seen, reward, ended, truncated, _ = env.step(action)
        expected, *_ = reference.step(action)
        np.testing.assert_allclose((seen * UNITS)[:4], expected, rtol=1e-6)
        acceleration = (env.episodes.states[0, 3] - spin) / 0.02
        told = (2 * action - 1, acceleration / 10) if step % 3 == 0 else (0, 0)
        assert seen[4:].tolist() == pytest.approx(told, rel=1e-5)
        assert (reward, ended, truncated) == (1.0, False, False)


def test_bodies_take_turns_for_as_many_steps_each():
    env = ChangingCartPoleEnv(bodies=[["intact", "inverted"]], earliest=4, latest=6)
    whole, _ = unchanged()
    _, info = env.reset(seed=1)
    period = info["period"]
    assert info["bodies"] == ["intact", "inverted"]
    assert 4 <= period <= 6
    whole.episodes.states[:] = env.episodes.states
    for step in range(3 * period):
        action = (step // 2) % 2
        seen, *_ = env.step(action)
        other, *_ = whole.step(1 - action if step // period == 1 else action)
        assert (seen[[0, 1, 2, 3, 5]] == other[[0, 1, 2, 3, 5]]).all()


@pytest.mark.parametrize(
    ("body", "action", "factor"), [("left severed", 0, 0.0), ("right severed", 1, 0.0), ("weak inverted", 0, -0.6)]
)
def test_a_push_is_as_strong_as_the_body_says(body, action, factor):
    velocities = []
    for name in (body, "intact"):
        env, _ = unchanged(name)
        env.episodes.states[:] = 0
        velocities.append(env.step(action)[0][1])
    assert velocities[0] == pytest.approx(factor * velocities[1])


def test_episodes_draw_bodies_and_periods_and_end_where_the_pole_falls():
    env = ChangingCartPoleEnv(bodies=[["intact", "weak"], ["inverted", "long"]], earliest=10, latest=12)
    infos = [env.reset(seed=seed)[1] for seed in range(60)]
    assert {tuple(info["bodies"]) for info in infos} == {("intact", "weak"), ("inverted", "long")}
    assert {info["period"] for info in infos} == {10, 11, 12}
    steps = 1
    while not env.step(1)[2]:
        steps += 1
    assert 5 < steps < 15


def test_episodes_that_are_played_together_are_those_of_their_seeds():
    kwargs = {"earliest": 3, "latest": 9, "max_episode_steps": 50}
    many = together(Environment(id=ID, kwargs=kwargs), 5)
    single = OneByOne([make_environment(ID, kwargs) for _ in range(5)])
    rows, random = np.arange(5), np.random.default_rng(0)
    assert (many.reset([7, 8, 9, 7, 8]) == single.reset([7, 8, 9, 7, 8])).all()
    while len(rows):
        actions = random.integers(2, size=len(rows))
        observed, rewards, ended = many.step(rows, actions)
        assert [(a == b).all() for a, b in zip((observed, rewards, ended), single.step(rows, actions), strict=True)]
        rows = rows[~ended]


def test_other_environments_are_stepped_one_by_one():
    envs = together(Environment(id="CartPole-v1"), 3)
    assert isinstance(envs, OneByOne)
    assert envs.reset([0, 1, 0]).shape == (3, 4)
    observed, rewards, ended = envs.step(np.array([0, 2]), np.array([1, 1]))
    assert (observed[0] == observed[1]).all()
    assert (rewards.tolist(), ended.tolist()) == ([1.0, 1.0], [False, False])
    envs.close()


def test_it_keeps_gymnasiums_contract_and_takes_a_time_limit():
    check_env(gym.make(ID).unwrapped, skip_render_check=True)
    env = make_environment(ID, {"max_episode_steps": 3})
    env.reset(seed=0)
    assert [env.step(i % 2)[3] for i in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"bodies": [["intact", "flat"]]},
            r"bodies names \['intact', 'flat'\] — list pairs, each of two of intact",
        ),
        ({"bodies": ["intact", "inverted"]}, r"bodies names \['intact'\]"),
        ({"bodies": []}, r"bodies names \[\]"),
        ({"earliest": 0}, "earliest=0 is no number of steps — choose a whole number from 1"),
        ({"latest": 2.5}, "latest=2.5 is no number of steps"),
        ({"sensed": True}, "sensed=True is no number of steps"),
        ({"earliest": 7, "latest": 6}, "earliest=7 is after latest=6"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(kwargs, message):
    with pytest.raises(UserError, match=message):
        make_environment(ID, kwargs)


def test_bodies_that_differ_have_names_that_differ():
    assert BODIES["intact"] == Body()
    assert len(set(BODIES.values())) == len(BODIES)

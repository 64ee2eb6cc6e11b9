import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from synrl_ray.envs.changing_cart_pole import BODIES, Body, ChangingCartPoleEnv
from synrl_ray.envs.make import make_environment
from synrl_ray.errors import UserError

UNITS = np.array([2.4, 2.0, np.radians(12), 2.0, 1.0, 10.0])


def test_an_intact_body_is_gymnasiums():
    env, reference = ChangingCartPoleEnv(then=["intact"], sensed=3), gym.make("CartPole-v1").unwrapped
    observation, _ = env.reset(seed=3)
    reference.reset(seed=0)
    reference.state = tuple((observation * UNITS)[:4].astype(float))
    env._state = reference.state
    assert not observation[4:].any()
    for step, action in enumerate((0, 1, 1, 0, 1, 0, 0, 0, 1), start=1):
        spin = env._state[3]
        seen, reward, ended, truncated, _ = env.step(action)
        expected, *_ = reference.step(action)
        np.testing.assert_allclose((seen * UNITS)[:4], expected, rtol=1e-5, atol=1e-6)
        acceleration = (env._state[3] - spin) / 0.02 if step % 3 == 0 else 0.0
        assert seen[4:].tolist() == pytest.approx([2 * action - 1, acceleration / 10], rel=1e-4)
        assert (reward, ended, truncated) == (1.0, False, False)


def test_the_wiring_is_inverted_after_the_step_that_info_names():
    changed = ChangingCartPoleEnv(then=["inverted"], earliest=4, latest=6)
    whole = ChangingCartPoleEnv(then=["intact"])
    _, info = changed.reset(seed=1)
    whole.reset(seed=1)
    assert info["then"] == "inverted"
    assert 4 <= info["change"] <= 6
    whole._state = changed._state
    for step in range(9):
        action = step % 2
        seen, *_ = changed.step(action)
        other, *_ = whole.step(action if step < info["change"] else 1 - action)
        assert (np.delete(seen, 4) == np.delete(other, 4)).all()
        assert seen[4] == 2 * action - 1


@pytest.mark.parametrize(
    ("body", "action", "factor"), [("left severed", 0, 0.0), ("right severed", 1, 0.0), ("weak", 0, 0.6)]
)
def test_a_push_is_as_strong_as_the_body_says(body, action, factor):
    env = ChangingCartPoleEnv(then=[body], earliest=0, latest=0)
    env.reset(seed=0)
    env._state = (0.0, 0.0, 0.0, 0.0)
    velocity = (env.step(action)[0] * UNITS)[1]
    whole = ChangingCartPoleEnv(then=["intact"])
    whole.reset(seed=0)
    whole._state = (0.0, 0.0, 0.0, 0.0)
    assert velocity == pytest.approx(factor * (whole.step(action)[0] * UNITS)[1])


def test_episodes_draw_bodies_and_times_and_end_where_the_pole_falls():
    env = ChangingCartPoleEnv(first=["intact", "inverted"], then=["weak", "long"], earliest=10, latest=12)
    infos = [env.reset(seed=seed)[1] for seed in range(60)]
    assert {(info["first"], info["then"]) for info in infos} == {
        (a, b) for a in ("intact", "inverted") for b in ("weak", "long")
    }
    assert {info["change"] for info in infos} == {10, 11, 12}
    steps = 1
    while not env.step(1)[2]:
        steps += 1
    assert 5 < steps < 15


def test_it_keeps_gymnasiums_contract_and_takes_a_time_limit():
    check_env(gym.make("synrl_ray/ChangingCartPole-v0").unwrapped, skip_render_check=True)
    env = make_environment("synrl_ray/ChangingCartPole-v0", {"max_episode_steps": 3})
    env.reset(seed=0)
    assert [env.step(i % 2)[3] for i in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"then": ["upside down"]}, "then names 'upside down' as a body — list some of intact, inverted"),
        ({"first": []}, "first names none as a body"),
        ({"first": "intact"}, "first names 'intact' as a body"),
        ({"earliest": -1}, "earliest=-1 is no number of steps"),
        ({"latest": 2.5}, "latest=2.5 is no number of steps"),
        ({"sensed": 0}, "sensed=0 is no number of steps — choose a whole number from 1"),
        ({"earliest": 7, "latest": 6}, "earliest=7 is after latest=6"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(kwargs, message):
    with pytest.raises(UserError, match=message):
        make_environment("synrl_ray/ChangingCartPole-v0", kwargs)


def test_bodies_that_differ_have_names_that_differ():
    assert BODIES["intact"] == Body()
    assert len(set(BODIES.values())) == len(BODIES)

"""CartPole with other masses, lengths and forces, against Gymnasium's own."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from synrl_ray.envs.cartpole_physics import CartPolePhysics, CartPolePhysicsEnv
from synrl_ray.errors import UserError

OTHER = {"pole_mass": 0.4, "pole_length": 1.3, "cart_mass": 0.7, "force": -6.0, "gravity": 3.0}


@pytest.mark.filterwarnings("ignore:.*space m.*value is")
def test_gymnasiums_checker_passes():
    check_env(gym.make("synrl_ray/CartPolePhysics-v0").unwrapped, skip_render_check=True)


@pytest.mark.parametrize("parameters", [{}, OTHER], ids=["as it is made", "another"])
def test_episodes_are_those_of_gymnasiums_cartpole_with_the_same_physics(parameters):
    mine, theirs = CartPolePhysicsEnv(**parameters), gym.make("CartPole-v1").unwrapped
    if parameters:
        theirs.masspole, theirs.length, theirs.masscart, theirs.force_mag, theirs.gravity = parameters.values()
        theirs.total_mass = theirs.masspole + theirs.masscart
        theirs.polemass_length = theirs.masspole * theirs.length
    for seed in range(3):
        np.testing.assert_array_equal(mine.reset(seed=seed)[0], theirs.reset(seed=seed)[0])
        for step in range(60):
            found, expected = (env.step((step // (1 + seed)) % 2) for env in (mine, theirs))
            np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
            assert found[1:3] == expected[1:3]
            if found[2]:
                break


def test_many_together_are_each_by_itself():
    lengths = np.array([0.3, 0.9])
    together = CartPolePhysics(2, {"pole_length": lengths})
    seen = [together.reset(np.random.default_rng(seed) for seed in (4, 5))]
    seen += [together.step(np.array([1, 0]), np.ones(2, np.bool_))[0] for _ in range(5)]
    for i, (seed, action) in enumerate([(4, 1), (5, 0)]):
        alone = CartPolePhysicsEnv(pole_length=lengths[i])
        alone.reset()
        alone.env.reset([np.random.default_rng(seed)])
        for step in range(5):
            np.testing.assert_array_equal(alone.step(action)[0], seen[step + 1][i])


@pytest.mark.parametrize("name", ["pole_mass", "pole_length", "cart_mass"])
def test_masses_and_length_are_positive(name):
    with pytest.raises(UserError, match=f"{name}=0 is not positive"):
        CartPolePhysicsEnv(**{name: 0.0})

"""What the module for stock RLlib refuses when it is built; no Ray session is needed for that."""

from dataclasses import asdict

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import ClipAction
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from synrl_ray.errors import UserError
from synrl_ray.policies.spaces import has_half_bounds
from synrl_ray.rl_modules import ActorCriticModule
from synrl_ray.settings.policies import AnnPolicy

OBSERVATIONS = spaces.Box(-1, 1, (3,), np.float32)
HALF = spaces.Box(np.array([0, 0], np.float32), np.array([10, np.inf], np.float32))


def build(actions, observations=OBSERVATIONS, *, inference_only=False, **settings):
    return RLModuleSpec(
        module_class=ActorCriticModule,
        observation_space=observations,
        action_space=actions,
        inference_only=inference_only,
        model_config=asdict(AnnPolicy(**{"hidden_sizes": (4,), **settings})),
    ).build()


def test_stock_env_runners_get_no_actions_whose_bounds_they_would_leave():
    with pytest.raises(UserError, match="own env runners keep no bounds of Box"):
        build(HALF, inference_only=True)
    build(HALF, inference_only=False)  # the batched env runner, which keeps them


@pytest.mark.parametrize("actions", [spaces.Box(-1, 1, (2,)), spaces.Box(-np.inf, np.inf, (2,)), spaces.Discrete(2)])
def test_stock_env_runners_serve_the_others(actions):
    assert build(actions, inference_only=True).network.num_inputs == 2


def test_the_remedy_for_half_bounds_is_one():
    class HalfBounded(gym.Env):
        observation_space, action_space = OBSERVATIONS, HALF

    env = ClipAction(HalfBounded())
    assert not has_half_bounds(env.action_space)
    build(env.action_space, inference_only=True)
    np.testing.assert_array_equal(env.action(np.array([-3.0, -3.0])), [0, 0])
    np.testing.assert_array_equal(env.action(np.array([12.0, 12.0])), [10, 12])


def test_convolutions_that_do_not_fit_are_named_when_the_module_is_built():
    images = spaces.Box(0, 255, (20, 24, 3), np.uint8)
    with pytest.raises(UserError, match=r"convolution 1 \(kernel 21\) is larger than its input of 20 x 24"):
        build(spaces.Discrete(2), images, conv_layers=((4, 21, 1),))
    assert build(spaces.Discrete(2), images, conv_layers=((4, 5, 1),)).network.encoder.channels_last

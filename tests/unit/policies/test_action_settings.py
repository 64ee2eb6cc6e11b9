"""Settings of action distributions: which go together, and with which actions."""

import numpy as np
import pytest
from gymnasium import spaces

from synrl_ray.errors import UserError
from synrl_ray.policies.spaces import check_spaces
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy

OBS = spaces.Box(-1, 1, (3,))
BOX = spaces.Box(-1, 1, (2,), np.float32)


@pytest.mark.parametrize("policy", [AnnPolicy, SpikingPolicy])
def test_the_beta_distribution_has_no_deviations_to_depend_on_a_state(policy):
    said = rf"^{policy.__name__}: state_dependent_std is of normal distributions, and action_distribution is beta"
    with pytest.raises(ValueError, match=said):
        policy(action_distribution="beta", state_dependent_std=True)
    with pytest.raises(ValueError, match="action_distribution must be 'gaussian', 'beta' or 'squashed_gaussian'"):
        policy(action_distribution="cauchy")


def test_settings_of_neurons_are_still_checked():
    with pytest.raises(ValueError, match="kappa is of neuron=adaptive"):
        SpikingPolicy(kappa=0.5)


@pytest.mark.parametrize("distribution", ["beta", "squashed_gaussian"])
@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-np.inf, np.inf, (2,), np.float32),
        spaces.Box(np.array([0, 0], np.float32), np.array([1, np.inf], np.float32)),
        spaces.Box(-np.finfo(np.float32).max, np.finfo(np.float32).max, (2,), np.float32),
    ],
    ids=["none", "half", "too wide"],
)
def test_bounded_distributions_need_finite_bounds(distribution, space):
    with pytest.raises(UserError) as caught:
        check_spaces(OBS, space, "Free-v0", AnnPolicy(action_distribution=distribution))
    assert caught.value.message == (
        f"Free-v0 has the action space {space}, and action_distribution={distribution} lies between finite bounds"
    )
    assert caught.value.remedy == "set ann.action_distribution=gaussian, or wrap the environment"
    check_spaces(OBS, space, "Free-v0", AnnPolicy())
    check_spaces(OBS, BOX, "Free-v0", AnnPolicy(action_distribution=distribution))


@pytest.mark.parametrize("space", [spaces.Discrete(2), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2)], ids=str)
@pytest.mark.parametrize(
    ("settings", "first"),
    [
        ({"action_distribution": "beta"}, "action_distribution=beta"),
        (
            {"action_distribution": "squashed_gaussian", "state_dependent_std": True},
            "action_distribution=squashed_gaussian",
        ),
        ({"state_dependent_std": True}, "state_dependent_std=true"),
    ],
)
def test_settings_of_box_actions_are_refused_for_others(space, settings, first):
    with pytest.raises(UserError) as caught:
        check_spaces(OBS, space, "Odd-v0", SpikingPolicy(**settings))
    assert caught.value.message == f"Odd-v0 has the action space {space}, and {first} is for Box actions"
    assert caught.value.remedy == f"leave out spiking.{first.partition('=')[0]}"


def test_images_within_dictionaries_are_not_for_convolutions():
    space = spaces.Dict({"image": spaces.Box(0, 255, (3, 20, 20), np.uint8), "speed": spaces.Box(-1, 1, (1,))})
    config = AnnPolicy(hidden_sizes=(8,), conv_layers="small")
    with pytest.raises(UserError) as caught:
        check_spaces(space, spaces.Discrete(2), "Car-v0", config)
    assert str(caught.value) == (
        "Car-v0 has the observation space Dict('image': Box(0, 255, (3, 20, 20), uint8), "
        "'speed': Box(-1.0, 1.0, (1,), float32)), of whose parts convolutions see none: they are one vector"
        " — take ann.conv_layers=null, or let the environment give the image alone"
    )
    check_spaces(space, spaces.Discrete(2), "Car-v0", AnnPolicy())

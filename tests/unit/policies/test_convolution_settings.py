"""What is said of convolutions that do not fit their images, before anything starts."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium import spaces

from synrl_ray.errors import UserError
from synrl_ray.policies.images import notices
from synrl_ray.policies.spaces import check_spaces
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy

FRAMES = spaces.Box(0, 255, (1, 84, 84), np.uint8)
SMALL = spaces.Box(0, 255, (3, 20, 24), np.uint8)
LAST = spaces.Box(0, 255, (20, 24, 3), np.uint8)
BASE = SpikingPolicy(conv_layers="small", hidden_sizes=(16,))


def refusal(space, **changes):
    with pytest.raises(UserError) as caught:
        check_spaces(space, spaces.Discrete(2), "Odd-v0", replace(BASE, **changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("space", "layers", "layer"),
    [
        (SMALL, ((4, 21, 1),), "convolution 1 (kernel 21) is larger than its input of 20 x 24"),
        (SMALL, ((4, 4, 4), (4, 8, 1)), "convolution 2 (kernel 8) is larger than its input of 5 x 6"),
        (SMALL, "nature", "convolution 3 (kernel 3) is larger than its input of 1 x 1"),
        (SMALL, ((4, 20, 1), (4, 1, 1), (4, 2, 1)), "convolution 3 (kernel 2) is larger than its input of 1 x 5"),
        (LAST, ((4, 4, 4), (4, 8, 1)), "convolution 2 (kernel 8) is larger than its input of 5 x 6"),
        (spaces.Box(0, 1, (64, 64, 2)), "small", "convolution 1 (kernel 8) is larger than its input of 64 x 2"),
    ],
)
def test_the_layer_that_does_not_fit_is_named_with_the_remedy(space, layers, layer):
    axes = "[H, W, C]" if space is LAST else "[C, H, W]"
    line = refusal(space, conv_layers=layers)
    assert line.startswith(f"{layer}; Odd-v0 gives {list(space.shape)}, taken as {axes} — make kernels or strides of ")
    assert "spiking.conv_layers smaller" in line


def test_several_layers_behind_convolutions_are_named_with_the_one_to_take():
    line = refusal(FRAMES, hidden_sizes=(64, 32))
    assert line == (
        "hidden_sizes=64,32 are 2 layers, and convolutions are followed by one — take spiking.hidden_sizes=32"
    )


@pytest.mark.parametrize(
    "space", [spaces.Box(-1, 1, (4,)), spaces.Discrete(5), spaces.Box(0, 1, (9, 9)), spaces.Box(0, 1)]
)
def test_observations_that_are_no_images_are_named(space):
    line = refusal(space)
    assert line.startswith(f"Odd-v0 has the observation space {space}, which is no image [C, H, W] for convolutions")
    assert "spiking.conv_layers=null" in line


@pytest.mark.parametrize("space", [FRAMES, LAST, SMALL])
@pytest.mark.parametrize("frame_stack", [1, 4])
def test_what_fits_passes(space, frame_stack):
    layers = ((4, 4, 2), (4, 3, 1))
    check_spaces(space, spaces.Discrete(2), "it", replace(BASE, conv_layers=layers, frame_stack=frame_stack))


def test_pixels_that_no_convolution_sees_are_told():
    assert notices(FRAMES, BASE) == ()
    assert notices(FRAMES, replace(BASE, conv_layers="nature")) == ()
    assert notices(SMALL, replace(BASE, conv_layers=((4, 3, 2), (4, 1, 3)))) == (
        "convolution 1 (kernel 3, stride 2) leaves out 1 rows and 1 columns of its input of 20 x 24",
        "convolution 2 (kernel 1, stride 3) steps over pixels of its input of 9 x 11",
    )


def test_channels_last_are_told():
    assert notices(LAST, replace(BASE, conv_layers=((4, 4, 2),))) == (
        "observations [20, 24, 3] are taken as images with channels last",
    )
    assert notices(LAST, AnnPolicy()) == ()
    assert notices(spaces.Discrete(3), AnnPolicy()) == ()

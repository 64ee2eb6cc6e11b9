"""Images among observations: which axis their channels are on, and whether convolutions fit them."""

from __future__ import annotations

from typing import Protocol

import gymnasium as gym
from gymnasium import spaces

from synrl_ray.envs.flat import FlatSpace
from synrl_ray.errors import UserError
from synrl_ray.settings.policies import PolicyConfig
from synrl_ray.snn.convolution import layers_of, map_shapes, unseen_borders

_MOST_CHARACTERS = 200
_CHANNELS = (1, 3, 4)  # grey, colours, colours with opacity


def has_channels_last(space: gym.Space) -> bool:
    """Whether observations are images ``[H, W, C]``: as many channels as images have on the last axis, and neither on
    the first nor more of them than pixels on a side."""
    shape = space.shape or ()
    if not isinstance(space, spaces.Box) or len(shape) != 3:
        return False
    return shape[2] in _CHANNELS and shape[0] not in _CHANNELS and shape[2] < min(shape[:2])


def image_shape(space: gym.Space, *, channels_last: bool) -> tuple[int, int, int]:
    """``C, H, W`` of observations that are images."""
    first, second, third = space.shape or ()
    return (third, first, second) if channels_last else (first, second, third)


def one_line(space: gym.Space) -> str:
    """A space's text, whose bounds numpy may have written in many lines."""
    text = " ".join(str(space).split())
    if len(text) <= _MOST_CHARACTERS:
        return text
    if space.shape is None or isinstance(space, FlatSpace):
        return f"{text[:_MOST_CHARACTERS]}…"
    return f"{type(space).__name__} of shape {space.shape}, {space.dtype}"


class Layers(Protocol):
    """A configuration of any network with fully connected layers."""

    @property
    def kind(self) -> str:
        """Spiking or not."""

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Of each layer."""


def behind_convolutions(config: Layers) -> UserError:
    """The error that says so of several fully connected layers behind convolutions."""
    sizes = ",".join(map(str, config.hidden_sizes))
    return UserError(
        f"hidden_sizes={sizes} are {len(config.hidden_sizes)} layers, and convolutions are followed by one",
        f"take {config.kind}.hidden_sizes={config.hidden_sizes[-1]}",
    )


def check_convolutions(space: gym.Space, config: PolicyConfig, name: str) -> None:
    """Raise :class:`UserError`, naming the layer, if a policy's convolutions do not fit the observations."""
    if config.conv_layers is None or not config.convolves:
        return
    if isinstance(space, FlatSpace):
        raise UserError(
            f"{name} has the observation space {one_line(space)}, of whose parts convolutions see none: they are one "
            "vector",
            f"take {config.kind}.conv_layers=null, or let the environment give the image alone",
        )
    if not isinstance(space, spaces.Box) or len(space.shape) != 3:
        raise UserError(
            f"{name} has the observation space {one_line(space)}, which is no image [C, H, W] for convolutions",
            f"take {config.kind}.conv_layers=null, or prepare its frames",
        )
    if len(config.hidden_sizes) != 1:
        raise behind_convolutions(config)
    channels_last = has_channels_last(space)
    try:
        map_shapes(image_shape(space, channels_last=channels_last), layers_of(config.conv_layers))
    except ValueError as error:
        axes = "[H, W, C]" if channels_last else "[C, H, W]"
        raise UserError(
            f"{error}; {name} gives {list(space.shape)}, taken as {axes}",
            f"make kernels or strides of {config.kind}.conv_layers smaller, or prepare the images",
        ) from None


def notices(space: gym.Space, config: PolicyConfig) -> tuple[str, ...]:
    """What a user should know of how convolutions read these observations, a line each."""
    if config.conv_layers is None or not config.convolves:
        return ()
    channels_last = has_channels_last(space)
    shape = image_shape(space, channels_last=channels_last)
    told = [f"observations {list(space.shape or ())} are taken as images with channels last"] if channels_last else []
    return (*told, *unseen_borders(shape, layers_of(config.conv_layers)))

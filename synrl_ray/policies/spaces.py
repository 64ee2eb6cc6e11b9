"""Which observation and action spaces a policy can serve, and how tensors cross that border."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from synrl_ray.envs.flat import ActionMask, FlatSpace, flattened
from synrl_ray.errors import UserError
from synrl_ray.policies.actions.table import OF_BOXES, OF_SPACES
from synrl_ray.policies.images import check_convolutions, has_channels_last, image_shape, one_line
from synrl_ray.settings.policies import PolicyConfig, SpikingPolicy

_SERVED = "policies serve Box, Discrete, MultiDiscrete and MultiBinary"
_OBSERVATIONS = f"{_SERVED} observations, and Dict and Tuple of these; wrap the environment"
_ACTIONS = f"{_SERVED} actions, the last three of one axis and with start=0; wrap the environment"


def check_spaces(
    observation_space: gym.Space,
    action_space: gym.Space,
    name: str = "the environment",
    config: PolicyConfig | None = None,
) -> None:
    """Raise :class:`UserError`, naming the space, if a policy (with that configuration, if one is given) cannot
    serve it."""
    observation_space = flattened(observation_space)
    if not isinstance(observation_space, (spaces.Box, spaces.Discrete)):
        raise UserError(f"{name} has the observation space {one_line(observation_space)}", _OBSERVATIONS)
    _require_numbers(observation_space, "observation", name)
    if config is not None:
        check_convolutions(observation_space, config, name)
        check_codes(observation_space, config, name)
    if config is not None and config.normalise_observations and not _has_a_spread(observation_space, config):
        raise UserError(
            f"{name} has the observation space {one_line(observation_space)}, which is not normalised",
            f"set {config.kind}.normalise_observations=false",
        )
    if isinstance(config, SpikingPolicy) and config.plastic and not isinstance(action_space, spaces.Discrete):
        raise UserError(
            f"{name} has the action space {one_line(action_space)}, and plastic layers choose discrete actions",
            "set spiking.plastic=null",
        )
    _check_actions(action_space, name, config)


def check_codes(observation_space: gym.Space, config: PolicyConfig, name: str = "the environment") -> None:
    """Raise :class:`UserError`, naming the setting, if a policy codes or stacks observations that are no vectors.

    Only users' networks receive such ones: the library's see vectors, or convolve images, which are not coded.
    """
    space = flattened(observation_space)
    if not isinstance(config, SpikingPolicy) or config.network is None or not isinstance(space, spaces.Box):
        return
    rank = len(space.shape)
    if config.encoder != "current" and rank != 1:
        setting, other = f"encoder={config.encoder}", "encoder=current"
    elif config.frame_stack > 1 and rank == 0:
        setting, other = f"frame_stack={config.frame_stack}", "frame_stack=1"
    else:
        return
    problem = f"which network={config.network} receives in that shape, and {setting} is not for it"
    remedy = f"set spiking.{other}, or wrap the environment so that it gives vectors"
    raise UserError(f"{name} has the observation space {one_line(space)}, {problem}", remedy)


def _check_actions(action_space: gym.Space, name: str, config: PolicyConfig | None) -> None:
    if isinstance(action_space, spaces.Box):
        if not np.issubdtype(action_space.dtype, np.floating) or len(action_space.shape) != 1:
            raise UserError(
                f"{name} has the action space {one_line(action_space)}", "Box actions must be a vector of floats"
            )
        _require_numbers(action_space, "action", name)
        if config is not None and OF_BOXES[config.action_distribution].needs_bounds and not _is_bounded(action_space):
            raise UserError(
                f"{name} has the action space {one_line(action_space)}, and action_distribution="
                f"{config.action_distribution} lies between finite bounds",
                f"set {config.kind}.action_distribution=gaussian, or wrap the environment",
            )
    elif not _is_chosen_from_zero(action_space):
        raise UserError(f"{name} has the action space {one_line(action_space)}", _ACTIONS)
    elif config is not None and config.of_box_actions:
        first = config.of_box_actions[0]
        problem = f"{name} has the action space {one_line(action_space)}, and {first} is for Box actions"
        raise UserError(problem, f"leave out {config.kind}.{first.partition('=')[0]}")


def _require_numbers(space: gym.Space, what: str, name: str) -> None:
    """Raise :class:`UserError` for a Box of no numbers at all, or of a type that torch does not know."""
    if not isinstance(space, spaces.Box):
        return
    if not math.prod(space.shape):
        raise UserError(f"{name} has the {what} space {one_line(space)} without a number", "wrap the environment")
    dtype = np.dtype(space.dtype)
    try:
        torch.from_numpy(np.zeros(0, dtype))
    except (TypeError, ValueError):
        raise UserError(
            f"{name} has {what}s of the type {dtype.str}", "wrap the environment, so that they are float32"
        ) from None


def _is_chosen_from_zero(action_space: gym.Space) -> bool:
    """Whether an action is one or several choices that are counted from zero."""
    if isinstance(action_space, (spaces.MultiDiscrete, spaces.MultiBinary)) and len(action_space.shape) != 1:
        return False
    first = getattr(action_space, "start", 0)  # bits have none
    return isinstance(action_space, tuple(OF_SPACES)) and not np.any(first)


def _is_bounded(action_space: spaces.Box) -> bool:
    """Whether [-1, 1] can be stretched to the bounds of all dimensions."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(action_space.high - action_space.low).all())


def _has_a_spread(space: gym.Space, config: PolicyConfig) -> bool:
    """Whether observations are vectors of floats, or images."""
    if not isinstance(space, spaces.Box):
        return False
    return config.keeps_shape or (len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating))


class ObservationEncoder(nn.Module):
    """Observations to features: Box is flattened to float, Discrete becomes one-hot.

    Args:
        space: Box or Discrete; of several parts, what :func:`~synrl_ray.envs.flat.flattened` makes of them.
        keep_shape: leave a Box its axes, for convolutions.
        channels_last: then take them as ``[H, W, C]``; by default as :func:`has_channels_last` says.
        mask: of actions, in the observations: it is left out.

    Shape:
        ``[*batch, *space.shape]`` → ``[*batch, *out_shape]``. Images that keep their axes become ``[C, H, W]``, and
        those of a space of ``uint8`` are scaled to [0, 1].
    """

    def __init__(
        self,
        space: gym.Space,
        *,
        keep_shape: bool = False,
        channels_last: bool | None = None,
        mask: ActionMask | None = None,
    ) -> None:
        super().__init__()
        self.mask = mask
        self.discrete = isinstance(space, spaces.Discrete)
        self.start = int(space.start) if isinstance(space, spaces.Discrete) else 0
        self.rank = len(space.shape or ())
        self.keep_shape = keep_shape and not self.discrete and not isinstance(space, FlatSpace)
        self.num_features = int(space.n) if isinstance(space, spaces.Discrete) else int(np.prod(space.shape or ()))
        if mask is not None:
            self.num_features -= sum(mask.sizes)
        last = has_channels_last(space) if channels_last is None else channels_last
        self.channels_last = self.keep_shape and self.rank == 3 and last
        self.out_shape = tuple(space.shape or ()) if self.keep_shape else (self.num_features,)
        if self.channels_last:
            self.out_shape = image_shape(space, channels_last=True)
        self.scale = 255 if self.keep_shape and space.dtype == np.uint8 else 1

    def forward(self, observations: Tensor) -> Tensor:
        """Encode a batch."""
        dtype = torch.get_default_dtype()
        if self.mask is not None:
            behind = self.mask.where.stop
            observations = torch.cat((observations[..., : self.mask.first], observations[..., behind:]), dim=-1)
        if self.discrete:
            index = observations.long() - self.start
            return nn.functional.one_hot(index, self.num_features).to(dtype)
        if self.keep_shape:
            images = observations.movedim(-1, -3) if self.channels_last else observations
            found = images.to(dtype)
            if self.scale == 1:
                return found
            return found / self.scale if images.dtype == dtype else found.div_(self.scale)  # its own memory then
        batch = observations.shape[: observations.dim() - self.rank]
        return observations.reshape(*batch, self.num_features).to(dtype)


def to_environment(action_space: gym.Space, actions: np.ndarray) -> np.ndarray:
    """Turn policy outputs ``[N, ...]`` into environment actions: what was chosen, or numbers inside the Box.

    Each dimension keeps the bounds that it has. Where both are finite, [-1, 1] is stretched to them, as RLlib's
    ``normalize_actions`` does it; where one is, or they are so far apart that their distance is no finite number, the
    output is taken as it is and clipped.
    """
    if not isinstance(action_space, spaces.Box):
        return actions if isinstance(action_space, spaces.Discrete) else actions.astype(action_space.dtype)
    low, high = action_space.low, action_space.high
    with np.errstate(over="ignore"):
        span = high - low
        stretched = np.isfinite(span)
        if stretched.all():
            actions = low + (actions + 1.0) * (span / 2.0)
        else:
            start, span = np.where(stretched, low, 0), np.where(stretched, span, 0)
            actions = np.where(stretched, start + (actions + 1.0) * (span / 2.0), actions)
            most = np.finfo(low.dtype).max  # what is unbounded stays a number of the space's type
            low, high = np.maximum(low, -most), np.minimum(high, most)
    return np.clip(actions, low, high).astype(low.dtype)


def has_half_bounds(action_space: gym.Space) -> bool:
    """Whether some bounds of a Box are finite and others are not; stock RLlib keeps none of them then."""
    if not isinstance(action_space, spaces.Box):
        return False
    finite = np.isfinite((action_space.low, action_space.high))
    return bool(finite.any() and not finite.all())

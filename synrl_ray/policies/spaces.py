"""Which observation and action spaces a policy can serve, and how tensors cross that border."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from synrl_ray.errors import UserError
from synrl_ray.policies.images import check_convolutions, has_channels_last, image_shape, one_line
from synrl_ray.settings.policies import PolicyConfig, SpikingPolicy

_MOST_NUMBERS = 2**22
"""Of an observation or action that a file describes: its bounds are arrays of that size."""
_REMEDY = "policies serve Box or Discrete observations, and Box or Discrete(n, start=0) actions; wrap the environment"


def check_spaces(
    observation_space: gym.Space,
    action_space: gym.Space,
    name: str = "the environment",
    config: PolicyConfig | None = None,
) -> None:
    """Raise :class:`UserError`, naming the space, if a policy (with that configuration, if one is given) cannot
    serve it."""
    if not isinstance(observation_space, (spaces.Box, spaces.Discrete)):
        raise UserError(f"{name} has the observation space {one_line(observation_space)}", _REMEDY)
    _require_numbers(observation_space, "observation", name)
    if config is not None:
        check_convolutions(observation_space, config, name)
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
    if isinstance(action_space, spaces.Box):
        if not np.issubdtype(action_space.dtype, np.floating) or len(action_space.shape) != 1:
            raise UserError(
                f"{name} has the action space {one_line(action_space)}", "Box actions must be a vector of floats"
            )
        _require_numbers(action_space, "action", name)
    elif not isinstance(action_space, spaces.Discrete) or action_space.start != 0:
        raise UserError(f"{name} has the action space {one_line(action_space)}", _REMEDY)


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


def _has_a_spread(space: gym.Space, config: PolicyConfig) -> bool:
    """Whether observations are vectors of floats, or images."""
    if not isinstance(space, spaces.Box):
        return False
    return config.keeps_shape or (len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating))


class ObservationEncoder(nn.Module):
    """Observations to features: Box is flattened to float, Discrete becomes one-hot.

    Args:
        space: Box or Discrete.
        keep_shape: leave a Box its axes, for convolutions.
        channels_last: then take them as ``[H, W, C]``; by default as :func:`has_channels_last` says.

    Shape:
        ``[*batch, *space.shape]`` → ``[*batch, *out_shape]``. Images that keep their axes become ``[C, H, W]``, and
        those of a space of ``uint8`` are scaled to [0, 1].
    """

    def __init__(self, space: gym.Space, *, keep_shape: bool = False, channels_last: bool | None = None) -> None:
        super().__init__()
        self.discrete = isinstance(space, spaces.Discrete)
        self.start = int(space.start) if isinstance(space, spaces.Discrete) else 0
        self.rank = len(space.shape or ())
        self.keep_shape = keep_shape and not self.discrete
        self.num_features = int(space.n) if isinstance(space, spaces.Discrete) else int(np.prod(space.shape or ()))
        last = has_channels_last(space) if channels_last is None else channels_last
        self.channels_last = self.keep_shape and self.rank == 3 and last
        self.out_shape = tuple(space.shape or ()) if self.keep_shape else (self.num_features,)
        if self.channels_last:
            self.out_shape = image_shape(space, channels_last=True)
        self.scale = 255 if self.keep_shape and space.dtype == np.uint8 else 1

    def forward(self, observations: Tensor) -> Tensor:
        """Encode a batch."""
        dtype = torch.get_default_dtype()
        if self.discrete:
            index = observations.long() - self.start
            return nn.functional.one_hot(index, self.num_features).to(dtype)
        if self.keep_shape:
            images = observations.movedim(-1, -3) if self.channels_last else observations
            return images.to(dtype) / self.scale if self.scale != 1 else images.to(dtype)
        batch = observations.shape[: observations.dim() - self.rank]
        return observations.reshape(*batch, self.num_features).to(dtype)


def num_distribution_inputs(action_space: gym.Space) -> int:
    """Network outputs that parametrise the action: logits, or one mean per action dimension."""
    return int(action_space.n) if isinstance(action_space, spaces.Discrete) else int(action_space.shape[0])  # type: ignore[index]


def to_environment(action_space: gym.Space, actions: np.ndarray) -> np.ndarray:
    """Turn policy outputs ``[N, ...]`` into environment actions: discrete indices, or numbers inside the Box.

    Each dimension keeps the bounds that it has. Where both are finite, [-1, 1] is stretched to them, as RLlib's
    ``normalize_actions`` does it; where one is, or they are so far apart that their distance is no finite number, the
    output is taken as it is and clipped.
    """
    if isinstance(action_space, spaces.Discrete):
        return actions
    assert isinstance(action_space, spaces.Box)
    low, high = action_space.low, action_space.high
    with np.errstate(over="ignore"):
        span = high - low
        stretched = np.isfinite(span)
        if stretched.all():
            actions = low + (actions + 1.0) * span / 2.0
        else:
            start, span = np.where(stretched, low, 0), np.where(stretched, span, 0)
            actions = np.where(stretched, start + (actions + 1.0) * span / 2.0, actions)
    most = np.finfo(low.dtype).max  # what is unbounded stays a number of the space's type
    return np.clip(actions, np.maximum(low, -most), np.minimum(high, most)).astype(low.dtype)


def has_half_bounds(action_space: gym.Space) -> bool:
    """Whether some bounds of a Box are finite and others are not; stock RLlib keeps none of them then."""
    if not isinstance(action_space, spaces.Box):
        return False
    finite = np.isfinite((action_space.low, action_space.high))
    return bool(finite.any() and not finite.all())


def space_to_json(space: gym.Space) -> dict[str, Any]:
    """Describe a Box or Discrete space in JSON values; uniform bounds are written once."""
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    assert isinstance(space, spaces.Box)
    return {
        "type": "Box",
        "shape": list(space.shape),
        "dtype": str(space.dtype),
        "low": _bound_to_json(space.low),
        "high": _bound_to_json(space.high),
    }


def space_from_json(data: dict[str, Any]) -> gym.Space:
    """Inverse of :func:`space_to_json`.

    Raises:
        ValueError: if the description is not one that :func:`space_to_json` writes.
    """
    try:
        if data["type"] == "Discrete":
            return spaces.Discrete(int(data["n"]), start=int(data["start"]))
        if data["type"] == "Box":
            shape, dtype = tuple(int(size) for size in data["shape"]), np.dtype(data["dtype"])
            if dtype.kind not in "biuf":
                raise ValueError(f"type {dtype} is no number")
            if math.prod(shape) > _MOST_NUMBERS:
                raise ValueError(f"a shape of {math.prod(shape):,} numbers, {_MOST_NUMBERS:,} are the most")
            given = [np.broadcast_to(np.array(data[key], float), shape) for key in ("low", "high")]
            with np.errstate(all="ignore"):  # what a type cannot hold is the space's to judge
                low, high = (bound.astype(dtype) for bound in given)
            return spaces.Box(low, high, shape, dtype.type)
    except (ArithmeticError, AssertionError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a space description: {error}") from error
    raise ValueError(f"unknown space type {data['type']!r}")


def _bound_to_json(bound: np.ndarray) -> Any:
    """Nested lists, or one value where all are equal; infinities as strings, since JSON has none."""
    values = bound.astype(float)
    if values.size and np.all(values == values.flat[0]):
        return _number_to_json(values.flat[0])
    return np.vectorize(_number_to_json, otypes=[object])(values).tolist()


def _number_to_json(value: float) -> float | str:
    return float(value) if np.isfinite(value) else str(value)

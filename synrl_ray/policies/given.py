"""What callers hand to a policy, as the arrays that its network takes: converted where nothing is lost, else refused.

Legend: N observations, S state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from synrl_ray.envs.flat import FlatSpace, flattened
from synrl_ray.errors import NonFiniteError, UserError

_NUMBERS = "biuf"
_PIXELS = (0, 255)


class InputError(UserError, ValueError):
    """A policy was given what it cannot take. A ``ValueError`` too, as code that calls it expects."""


def observations_from(given: Any, space: gym.Space) -> tuple[np.ndarray, bool]:
    """A batch of observations as a network takes them.

    Args:
        given: one observation ``[*obs]`` or a batch ``[N, *obs]``: whatever numpy takes, of any number type, order of
            bytes or layout, or a tensor. Of a space of several parts, dictionaries and tuples of these, or their
            numbers as :class:`~synrl_ray.envs.flat.FlatSpace` has them.
        space: of one observation.

    Returns:
        ``[N, *obs]``, and whether only one was given. Indices of a Discrete space are ``int64``, those of a Box of
        ``uint8`` its pixels, other numbers ``float32``; the array is contiguous and may be written. Those of several
        parts are flat.

    Raises:
        InputError: for what are no numbers, another shape, no index or pixel of the space, or more than float32 holds.
        NonFiniteError: for NaN or infinity.
    """
    flat = flattened(space)
    if not isinstance(flat, FlatSpace) or _is_flat(given, flat):
        return _whole(given, flat, "observation")
    parts, singles = zip(*_parts(given, flat.original, "observation"), strict=True)
    if len({len(part) for part in parts}) > 1 or len(set(singles)) > 1:
        raise InputError("observation has parts of batches that differ", "give one, or a batch of them")
    return flat.join(parts), singles[0]


def _is_flat(given: Any, flat: FlatSpace) -> bool:
    if isinstance(flat.original, (spaces.Dict, spaces.Tuple)):
        return not isinstance(given, (Mapping, tuple, list))
    return tuple(np.shape(given)[-1:]) == flat.shape


def _parts(given: Any, space: gym.Space, name: str) -> Iterator[tuple[np.ndarray, bool]]:
    """The parts of observations in the order of the space, each as :func:`_whole` gives it."""
    if isinstance(space, spaces.Dict):
        if not isinstance(given, Mapping) or set(given) != set(space):
            raise InputError(f"{name} must be a dictionary of {', '.join(map(str, space))}", "give all of its parts")
        for key, part in space.items():
            yield from _parts(given[key], part, f"{name}[{key!r}]")
    elif isinstance(space, spaces.Tuple):
        if not isinstance(given, (tuple, list)) or len(given) != len(space.spaces):
            raise InputError(f"{name} must be a tuple of {len(space.spaces)}", "give all of its parts")
        for i, part in enumerate(space.spaces):
            yield from _parts(given[i], part, f"{name}[{i}]")
    else:
        yield _whole(given, space, name)


def _whole(given: Any, space: gym.Space, name: str) -> tuple[np.ndarray, bool]:
    """A batch of observations of one part."""
    values, shape = _numbers(given, name), tuple(space.shape or ())
    single = values.ndim == len(shape)
    if values.ndim - len(shape) not in (0, 1) or values.shape[values.ndim - len(shape) :] != shape:
        raise InputError(f"{name} must be {shape}, got {values.shape}", "give one, or a batch of them")
    batch = values[None] if single else values
    if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)):
        number: Any = space.n if isinstance(space, spaces.Discrete) else space.nvec
        return _whole_numbers(batch, (space.start, space.start + number - 1), np.int64, name), single
    if isinstance(space, spaces.MultiBinary):
        return _whole_numbers(batch, (0, 1), np.int8, name), single
    if space.dtype == np.uint8:
        return _whole_numbers(batch, _PIXELS, np.uint8, name), single
    return _floats(batch, name), single


def states_from(given: Any, num_rows: int, size: int) -> np.ndarray:
    """States ``[N, S]`` in float32; one without a batch's axis belongs to one observation.

    Raises:
        InputError, NonFiniteError: as :func:`observations_from`.
    """
    values = _numbers(given, "state")
    if num_rows == 1 and values.ndim == 1:
        values = values[None]
    if values.shape != (num_rows, size):
        raise InputError(f"state must be {(num_rows, size)}, got {values.shape}", "give back what the policy returned")
    return _floats(values, "state")


def pixels_from(given: Any, shape: tuple[int, ...]) -> Tensor:
    """A batch of images ``[N, *shape]`` as bytes; a tensor of bytes is taken as it is, where it is.

    Raises:
        InputError, NonFiniteError: as :func:`observations_from`.
    """
    values = given if isinstance(given, Tensor) and given.dtype == torch.uint8 else _numbers(given, "image")
    if tuple(values.shape[1:]) != shape:
        raise InputError(f"images must be [B, {', '.join(map(str, shape))}], got {tuple(values.shape)}", "give a batch")
    if isinstance(values, Tensor):
        return values
    return torch.from_numpy(_whole_numbers(values, _PIXELS, np.uint8, "image"))


def _numbers(given: Any, name: str) -> np.ndarray:
    """Any array of numbers."""
    if isinstance(given, Tensor):
        given = given.detach().cpu()
        given = given.float() if given.dtype == torch.bfloat16 else given
    try:
        values = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be an array of numbers", " ".join(str(error).split())) from error
    if values.dtype.kind not in _NUMBERS:
        raise InputError(f"{name} must hold numbers, got {values.dtype}", "give numbers, all of one shape")
    return values


def _floats(values: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        floats = _own(values, np.float32)
    if not np.isfinite(floats).all():
        _require_finite(values, name)
        first = values[~np.isfinite(floats)][0]
        raise InputError(f"{name} holds {first:g}, more than float32 can", "scale it, or clip it")
    return floats


def _whole_numbers(values: np.ndarray, bounds: tuple[Any, Any], dtype: type, name: str) -> np.ndarray:
    low, high = bounds
    if values.dtype != dtype or bounds is not _PIXELS:  # a byte is always a pixel
        _require_finite(values, name)
        fits = (values >= low) & (values <= high) & (values == np.rint(values))
        if not fits.all():
            found = values[~fits][0]
            raise InputError(f"{name} must hold whole numbers from {low} to {high}, got {found}", "convert it")
    return _own(values, dtype)


def _require_finite(values: np.ndarray, name: str) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise NonFiniteError(f"the {name}", "given to the policy", "check the environment")


def _own(values: np.ndarray, dtype: type) -> np.ndarray:
    """In that type of this machine, contiguous and writable; the same array where it is so already."""
    own = np.ascontiguousarray(values, np.dtype(dtype))
    return own if own.flags.writeable else own.copy()

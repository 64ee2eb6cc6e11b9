"""Spaces in ``policy.json``, which may come from a stranger: what is read is bounded before anything is made of it."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from synrl_ray.envs.flat import FlatSpace, flat_size

_MOST_NUMBERS = 2**22
"""Of an observation or action: its bounds are arrays of that size."""
_DEEPEST = 16
"""Of dictionaries and tuples in one another."""


def space_to_json(space: gym.Space) -> dict[str, Any]:
    """Describe a space in JSON values: Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of these.

    Uniform bounds are written once. A dictionary is a list of its keys and spaces, since their order counts.
    """
    if isinstance(space, FlatSpace):
        return space_to_json(space.original)
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": [[key, space_to_json(part)] for key, part in space.items()]}
    if isinstance(space, spaces.Tuple):
        return {"type": "Tuple", "spaces": [space_to_json(part) for part in space.spaces]}
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiBinary):
        return {"type": "MultiBinary", "shape": list(space.shape)}
    if isinstance(space, spaces.MultiDiscrete):
        values = {"nvec": space.nvec.tolist(), "start": space.start.tolist()}
        return {"type": "MultiDiscrete", "dtype": str(space.dtype), **values}
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
        space = _made(data, 0, _MOST_NUMBERS)
    except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"not a space description: {error}") from error
    if space is None:
        raise ValueError(f"unknown space type {data['type']!r}")
    return space


def _made(data: dict[str, Any], depth: int, left: int) -> gym.Space | None:
    """The space, of at most so many numbers as are left; ``None`` of an unknown type."""
    kind = data["type"]
    if kind in ("Dict", "Tuple"):
        if depth == _DEEPEST:
            raise ValueError(f"spaces in one another, {_DEEPEST} deep")
        keys, parts = zip(*data["spaces"], strict=True) if kind == "Dict" else (None, data["spaces"])
        if keys is not None and (len(set(keys)) < len(keys) or not all(isinstance(key, str) for key in keys)):
            raise ValueError("keys that are no text, or twice the same")
        made: list[gym.Space] = []
        for part in parts:  # each may take what those before it have left, and so all together no more than one
            space = _made(part, depth + 1, left)
            if space is None:
                raise ValueError("a part of an unknown type")
            left -= flat_size(space)
            made.append(space)
        return spaces.Tuple(made) if keys is None else spaces.Dict(OrderedDict(zip(keys, made, strict=True)))
    if kind == "Discrete":
        choices = int(data["n"])
        if depth:  # alone it is one number
            _require_left(choices, left)
        return spaces.Discrete(choices, start=int(data["start"]))
    if kind == "MultiBinary":
        shape = _shape(data["shape"], left)
        return spaces.MultiBinary(shape if len(shape) > 1 else shape[0])
    if kind == "MultiDiscrete":
        several = spaces.MultiDiscrete(data["nvec"], dtype=_number_type(data, "iu").type, start=data["start"])
        _require_left(flat_size(several), left)
        return several
    if kind == "Box":
        shape, dtype = _shape(data["shape"], left), _number_type(data, "biuf")
        given = [np.broadcast_to(np.array(data[key], float), shape) for key in ("low", "high")]
        with np.errstate(all="ignore"):  # what a type cannot hold is the space's to judge
            low, high = (bound.astype(dtype) for bound in given)
        return spaces.Box(low, high, shape, dtype.type)
    return None


def _number_type(data: dict[str, Any], kinds: str) -> np.dtype:
    dtype = np.dtype(data["dtype"])
    if dtype.kind not in kinds:
        raise ValueError(f"type {dtype} is no number")
    return dtype


def _shape(sizes: list[Any], left: int) -> tuple[int, ...]:
    """A shape of no more numbers than are left."""
    shape = tuple(int(size) for size in sizes)
    _require_left(math.prod(shape), left)
    return shape


def _require_left(size: int, left: int) -> None:
    if size > left:
        raise ValueError(f"{_MOST_NUMBERS - left + size:,} numbers or more, {_MOST_NUMBERS:,} are the most")


def _bound_to_json(bound: np.ndarray) -> Any:
    """Nested lists, or one value where all are equal; infinities as strings, since JSON has none."""
    values = bound.astype(float)
    if values.size and np.all(values == values.flat[0]):
        return _number_to_json(values.flat[0])
    return np.vectorize(_number_to_json, otypes=[object])(values).tolist()


def _number_to_json(value: float) -> float | str:
    return float(value) if np.isfinite(value) else str(value)

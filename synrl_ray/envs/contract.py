"""What Gymnasium promises of ``reset`` and ``step``: each value that an environment returns, held against it.

Users' environments break these promises in ways that surface far away, or never: a column vector broadcasts, a list
``[False]`` is true, an index out of range falls off a one-hot code.

Legend: N environments.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from synrl_ray.envs.flat import flattened

_VALUES = {"reset": ("observation", "info"), "step": ("observation", "reward", "terminated", "truncated", "info")}
PRESENT = "write it for Gymnasium's present interface"
"""What to do about an environment of old Gym."""
_BOOL = (bool, np.bool_)
_WHOLE = (int, np.integer)
_REAL = (float, *_WHOLE, np.floating)
_CONVERT = "convert it in the environment, or correct the space"


class Breach(Exception):
    """A value that the contract does not allow.

    Args:
        what: names it beside what is allowed.
        remedy: what to do about it.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what, self.remedy = what, remedy


def reader_of(space: gym.Space) -> Callable[[Any], Any]:
    """A function that gives an observation as the space has it, or raises :class:`Breach`.

    Args:
        space: of one environment or, with a row for each, of N. Observations of spaces that no policy serves are given
            as they are.
    """
    if isinstance(space, spaces.Box):
        return _box_reader(space)
    if isinstance(space, spaces.Discrete):
        return _discrete_reader(space)
    if isinstance(space, spaces.MultiDiscrete):
        return _whole_reader(space, np.asarray(space.start, np.int64), np.asarray(space.nvec, np.int64))
    if isinstance(space, spaces.MultiBinary):
        return _whole_reader(space, np.zeros(space.shape, np.int64), np.full(space.shape, 2))
    if isinstance(space, spaces.Dict) and flattened(space) is not space:
        return _dict_reader(space)
    if isinstance(space, spaces.Tuple) and flattened(space) is not space:
        return _tuple_reader(space)
    return lambda observation: observation


def _box_reader(space: spaces.Box) -> Callable[[Any], np.ndarray]:
    shape, dtype = space.shape, np.dtype(space.dtype)

    def read(observation: Any) -> np.ndarray:
        if type(observation) is np.ndarray and observation.shape == shape and observation.dtype == dtype:
            return observation
        return as_array(observation, shape, dtype)

    return read


def as_array(observation: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An observation as an array of this shape and dtype.

    Raises:
        Breach: if it has another shape, or values that the dtype cannot have.
    """
    try:
        array = np.asarray(observation)
    except Exception as error:  # ragged lists, tensors that are not in this memory
        raise Breach(f"an observation that is no array ({type(observation).__name__})", _CONVERT) from error
    if array.dtype.kind not in "biuf":
        kind = "" if isinstance(observation, np.ndarray) else f" ({type(observation).__name__})"
        raise Breach(f"an observation of dtype {array.dtype}{kind}, it is an array of numbers", _CONVERT)
    found = f"an observation of shape {array.shape} and dtype {array.dtype}"
    wanted = f"its observation space has shape {shape} and dtype {dtype}"
    if array.shape != shape:
        raise Breach(f"{found}, {wanted}", "reshape it in the environment, or correct the space")
    if dtype.kind in "iu" and array.dtype.kind in "biu":
        if array.size and not (np.iinfo(dtype).min <= array.min() and array.max() <= np.iinfo(dtype).max):
            raise Breach(f"{found} with values from {array.min()} to {array.max()}, {wanted}", _CONVERT)
    elif not np.can_cast(array.dtype, dtype, "same_kind"):
        raise Breach(f"{found}, {wanted}", _CONVERT)
    with np.errstate(over="ignore"):  # what is infinite then is met as such
        return array.astype(dtype)


def _discrete_reader(space: spaces.Discrete) -> Callable[[Any], int]:
    first = int(space.start)
    last = first + int(space.n) - 1

    def read(observation: Any) -> int:
        value = observation[()] if isinstance(observation, np.ndarray) and observation.ndim == 0 else observation
        if isinstance(value, _WHOLE) and first <= value <= last:
            return int(value)
        remedy = "return a whole number within the space, or correct it"
        raise Breach(f"the observation {_short(observation)}, its observation space is {space}", remedy)

    return read


def _whole_reader(
    space: spaces.MultiDiscrete | spaces.MultiBinary, first: np.ndarray, number: np.ndarray
) -> Callable[[Any], np.ndarray]:
    last = first + number - 1

    def read(observation: Any) -> np.ndarray:
        array = as_array(observation, first.shape, np.dtype(space.dtype))
        if ((array < first) | (array > last)).any():
            remedy = "return whole numbers within the space, or correct it"
            raise Breach(f"the observations {_short(array)}, their space is {_short(space)}", remedy)
        return array

    return read


def _dict_reader(space: spaces.Dict) -> Callable[[Any], dict[str, Any]]:
    readers = {key: reader_of(part) for key, part in space.items()}

    def read(observation: Any) -> dict[str, Any]:
        if not isinstance(observation, Mapping) or set(observation) != set(readers):
            found = sorted(map(str, observation)) if isinstance(observation, Mapping) else type(observation).__name__
            remedy = "return all of its parts, or correct the space"
            raise Breach(f"an observation {found}, its space is a Dict of {sorted(map(str, readers))}", remedy)
        return {key: _part(reader, observation[key], repr(key)) for key, reader in readers.items()}

    return read


def _tuple_reader(space: spaces.Tuple) -> Callable[[Any], tuple[Any, ...]]:
    readers = [reader_of(part) for part in space.spaces]

    def read(observation: Any) -> tuple[Any, ...]:
        if not isinstance(observation, (tuple, list)) or len(observation) != len(readers):
            found = f" of {len(observation)}" if isinstance(observation, (tuple, list)) else ""
            remedy = "return all of its parts, or correct the space"
            raise Breach(f"{_kind(observation)}{found}, its observation space is a tuple of {len(readers)}", remedy)
        return tuple(
            _part(reader, value, f"part {i}")
            for i, (reader, value) in enumerate(zip(readers, observation, strict=True))
        )

    return read


def _part(reader: Callable[[Any], Any], value: Any, name: str) -> Any:
    """A part of an observation; what is wrong with it is said of its name."""
    try:
        return reader(value)
    except Breach as breach:
        raise Breach(f"in {name} {breach.what}", breach.remedy) from breach


def values_of(returned: Any, call: str) -> tuple[Any, ...]:
    """The two values of ``reset``, or the five of ``step``.

    Raises:
        Breach: if there are others, or they are no tuple: an array of two numbers is no pair.
    """
    names = _VALUES[call]
    if isinstance(returned, tuple) and len(returned) == len(names):
        return returned
    what = f"a tuple of {len(returned)}" if isinstance(returned, tuple) else _kind(returned)
    raise Breach(f"{what}, it returns a tuple of {len(names)}: {', '.join(names)}", PRESENT)


def number_of(reward: Any) -> float:
    """A reward as a ``float``, or :class:`Breach` where it is not one number."""
    if isinstance(reward, _REAL):
        return float(reward)
    try:
        number = np.asarray(reward)
        if number.ndim == 0 and number.dtype.kind in "biuf":
            return float(number)
    except Exception:  # what cannot even be looked at is no number
        pass
    raise Breach(f"the reward {_short(reward)}, a reward is one number", "return a float")


def flag_of(value: Any, name: str) -> bool:
    """``terminated`` or ``truncated`` as a ``bool``, or :class:`Breach` where it is not one."""
    if isinstance(value, _BOOL):
        return bool(value)
    flag = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(flag, np.bool_) or (isinstance(flag, _WHOLE) and flag in (0, 1)):
        return bool(flag)
    raise Breach(f"{name} = {_short(value)}, it is one bool", "return True or False")


def info_of(info: Any) -> dict[str, Any]:
    """``info``, or :class:`Breach` where it is no dictionary."""
    if isinstance(info, dict):
        return info
    raise Breach(f"the info {_short(info)}, it is a dict", "return {} where there is nothing to say")


def check_column(values: Any, name: str, shape: tuple[int], kinds: str) -> None:
    """Check rewards or ends of a vector environment.

    Args:
        values: what it returned.
        name: of them.
        shape: ``(N,)``.
        kinds: of dtypes that they may have, as NumPy abbreviates them.

    Raises:
        Breach: if they are no such array.
    """
    if type(values) is np.ndarray and values.shape == shape and values.dtype.kind in kinds:
        return
    found = f"{name} of shape {values.shape} and dtype {values.dtype}" if isinstance(values, np.ndarray) else ""
    kind = "bool" if kinds == "b" else "numbers"
    raise Breach(f"{found or f'{name} = {_short(values)}'}, it is an array {shape} of {kind}", _CONVERT)


def _kind(value: Any) -> str:
    return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def _short(value: Any) -> str:
    return " ".join(reprlib.repr(value).split())

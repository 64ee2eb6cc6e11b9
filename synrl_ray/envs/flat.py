"""Observations of several parts as one vector, and the mask of allowed actions among them.

Order: a Tuple's parts as they stand, a Dict's in the space's own order, which Gymnasium sorts by key unless the space
was made of an ``OrderedDict``, pairs or keywords. A Box is taken row by row, a Discrete(n) as one of n, a MultiDiscrete
as one of n for each of its numbers, a MultiBinary as it is: the vector is that of
:func:`gymnasium.spaces.utils.flatten`, in ``float32``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

OBSERVATIONS, ACTION_MASK = "observations", "action_mask"
"""Keys of a masked observation, as RLlib has them."""
_MOST_NUMBERS = 2**22
_LEAVES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class FlatSpace(spaces.Box):
    """Vectors that observations of several parts are flattened to.

    Args:
        original: a Dict, Tuple, MultiDiscrete or MultiBinary, whose parts are of these kinds, Box or Discrete.

    Example:
        >>> space = FlatSpace(spaces.Dict({"speed": spaces.Box(-1, 1, (2,)), "gear": spaces.Discrete(3)}))
        >>> space.flatten({"speed": [0.5, -0.5], "gear": 2}).tolist()
        [0.0, 0.0, 1.0, 0.5, -0.5]
    """

    def __init__(self, original: gym.Space) -> None:
        self.original = original
        self.leaves = tuple(_leaves(original))
        bounds = zip(*(_bounds(leaf) for leaf in self.leaves), strict=True)
        low, high = (np.concatenate(parts) for parts in bounds)
        super().__init__(low, high, dtype=np.float32)

    def flatten(self, observation: Any, xp: Any = np) -> Any:
        """One observation ``[F]``, or a batch whose parts have further axes in front ``[..., F]``.

        Args:
            observation: as the original space has it.
            xp: ``numpy``, or ``torch`` for tensors: whose functions are called.
        """
        return self.join(_parts_of(self.original, observation), xp)

    def join(self, parts: Iterable[Any], xp: Any = np) -> Any:
        """The parts of observations, in their order, side by side ``[..., F]``; see :meth:`flatten`."""
        return xp.concatenate([_numbers(leaf, part, xp) for leaf, part in zip(self.leaves, parts, strict=True)], -1)

    def sample(self, *args: Any, **kwargs: Any) -> Any:
        """A random observation of the original space, flattened."""
        return self.flatten(self.original.sample(*args, **kwargs))

    def seed(self, seed: Any = None) -> Any:
        """Of the original space."""
        return self.original.seed(seed)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, FlatSpace) and self.original == other.original

    def __repr__(self) -> str:
        return repr(self.original)


def flattened(space: gym.Space) -> gym.Space:
    """The space of flattened observations; the same space where there is nothing to flatten, or no way to."""
    if isinstance(space, (spaces.Box, spaces.Discrete)):
        return space
    try:
        return FlatSpace(space) if 0 < flat_size(space) <= _MOST_NUMBERS else space
    except TypeError:
        return space


def flat_size(space: gym.Space) -> int:
    """Numbers of a flattened observation.

    Raises:
        TypeError: if a part is none of those that are flattened.
    """
    return sum(_size(leaf) for leaf in _leaves(space))


@dataclass(frozen=True)
class ActionMask:
    """Where a flat observation says which actions are allowed."""

    first: int
    sizes: tuple[int, ...]
    """Numbers of actions: one, or one for each choice of a MultiDiscrete."""

    @property
    def where(self) -> slice:
        """Its place in the observation."""
        return slice(self.first, self.first + sum(self.sizes))

    def allowed(self, observations: Any) -> Any:
        """Which actions are allowed ``[..., A]``, of observations ``[..., F]``, arrays or tensors."""
        return observations[..., self.where] > 0

    def forbids_all(self, observations: np.ndarray) -> np.ndarray:
        """Whether there is a choice of which no action is allowed ``[...]``."""
        starts = np.cumsum((0, *self.sizes[:-1]))
        return np.asarray(~np.logical_or.reduceat(self.allowed(observations), starts, axis=-1).all(-1))


def action_mask(observation_space: gym.Space, action_space: gym.Space) -> ActionMask | None:
    """The mask in observations ``{"observations": ..., "action_mask": ...}``, if they have one.

    A dictionary that merely has these keys has one only if ``action_mask`` has as many numbers from 0 to 1 as there are
    actions: a Box or MultiBinary, for a MultiDiscrete also a Tuple of those, one for each choice.
    """
    original = observation_space.original if isinstance(observation_space, FlatSpace) else None
    if not isinstance(original, spaces.Dict) or not {OBSERVATIONS, ACTION_MASK} <= set(original):
        return None
    if isinstance(action_space, spaces.Discrete):
        sizes: tuple[int, ...] = (int(action_space.n),)
    elif isinstance(action_space, spaces.MultiDiscrete):
        sizes = tuple(int(n) for n in action_space.nvec.flat)
    else:
        return None
    found = list(_leaves(original[ACTION_MASK]))
    if [_size(leaf) for leaf in found] not in ([sum(sizes)], list(sizes)) or not all(map(_is_mask, found)):
        return None
    before = list(original)[: list(original).index(ACTION_MASK)]
    return ActionMask(sum(flat_size(original[key]) for key in before), sizes)


def _leaves(space: gym.Space) -> Iterator[gym.Space]:
    """The parts that have no parts themselves, in order."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        for part in space.values() if isinstance(space, spaces.Dict) else space.spaces:
            yield from _leaves(part)
    else:
        yield space


def _parts_of(space: gym.Space, observation: Any) -> Iterator[Any]:
    """What an observation has for each of these parts."""
    if isinstance(space, spaces.Dict):
        for key, part in space.items():
            yield from _parts_of(part, observation[key])
    elif isinstance(space, spaces.Tuple):
        for part, value in zip(space.spaces, observation, strict=True):
            yield from _parts_of(part, value)
    else:
        yield observation


def _is_mask(leaf: gym.Space) -> bool:
    if isinstance(leaf, spaces.Box):
        return bool((leaf.low >= 0).all() and (leaf.high <= 1).all())
    return isinstance(leaf, spaces.MultiBinary)


def _size(leaf: gym.Space) -> int:
    if not isinstance(leaf, _LEAVES):
        raise TypeError(f"{type(leaf).__name__} is not flattened")
    if isinstance(leaf, spaces.Discrete):
        return int(leaf.n)
    if isinstance(leaf, spaces.MultiDiscrete):
        return sum(map(int, leaf.nvec.flat))
    return math.prod(leaf.shape)


def _bounds(leaf: gym.Space) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(leaf, spaces.Box):
        with np.errstate(over="ignore"):
            return leaf.low.ravel().astype(np.float32), leaf.high.ravel().astype(np.float32)
    size = _size(leaf)
    return np.zeros(size, np.float32), np.ones(size, np.float32)


def _numbers(leaf: gym.Space, part: Any, xp: Any) -> Any:
    """A part of an observation as ``float32`` numbers ``[..., size]``."""
    values = xp.asarray(part)
    if isinstance(leaf, spaces.Discrete):
        return _one_of(values, int(leaf.start), int(leaf.n), xp)
    batch = values.shape[: values.ndim - len(leaf.shape or ())]
    flat = values.reshape(*batch, -1)
    if isinstance(leaf, spaces.MultiDiscrete):
        places = zip(leaf.start.flat, leaf.nvec.flat, strict=True)
        return xp.concatenate([_one_of(flat[..., i], int(a), int(n), xp) for i, (a, n) in enumerate(places)], -1)
    return xp.asarray(flat, dtype=xp.float32)


def _one_of(values: Any, start: int, number: int, xp: Any) -> Any:
    """Ones in the places of the values, zeros elsewhere."""
    place = {"device": values.device} if xp is not np else {}
    return xp.asarray(values[..., None] == xp.arange(start, start + number, **place), dtype=xp.float32)

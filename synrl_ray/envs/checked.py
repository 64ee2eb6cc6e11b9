"""Environments that fail in one way, whatever goes wrong in them."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy import ndarray

from synrl_ray.envs.contract import PRESENT, Breach, flag_of, info_of, number_of, reader_of, values_of
from synrl_ray.envs.flat import FlatSpace, action_mask, flattened
from synrl_ray.errors import UserError, reason_of

RAISED = (Exception, SystemExit)
"""What environments raise. Ctrl-C is not among them."""
ATTEMPTS = 3
"""Times that a new environment is tried, since a failure that is rare is borne."""

_SIGNS_OF_OLD_GYM = ("values to unpack", "unexpected keyword argument 'seed'")  # in what Gymnasium's wrappers raise


class EnvironmentFailure(UserError):
    """An environment raised an exception, or returned what its contract does not allow.

    Args:
        name: of the environment.
        what: it did.
        remedy: what to do about it.
    """

    def __init__(self, name: str, what: str, remedy: str) -> None:
        self.name, self.what = name, what
        super().__init__(f"environment {name!r} failed: {what}", remedy)

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.name, self.what, self.remedy)


class CheckedEnv(gym.Wrapper, RecordConstructorArgs):
    """Fails by :class:`EnvironmentFailure` alone, and returns exactly what Gymnasium's interface says.

    What means the same is converted: a list to an array, ``float64`` to the space's ``float32``, a NumPy number to a
    ``float``. The bounds of a ``Box`` are not enforced, since real environments overshoot them. Observations of several
    parts are flattened (:class:`~synrl_ray.envs.flat.FlatSpace`), and where they mask actions one has to be allowed.

    Args:
        env: any environment.
        name: for messages.
    """

    def __init__(self, env: gym.Env, name: str) -> None:
        RecordConstructorArgs.__init__(self, name=name)
        super().__init__(env)
        self.name = name
        space = env.observation_space
        read = reader_of(space)
        self._read, self._shape, self._dtype = read, space.shape, space.dtype
        self.mask = None
        flat = flattened(space)
        if isinstance(flat, FlatSpace):
            self.observation_space = flat
            self._read, self._shape = lambda observation: flat.flatten(read(observation)), None
            self.mask = action_mask(flat, env.action_space)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Raises:
            EnvironmentFailure: if the environment raises or breaks the contract.
        """
        try:
            returned = self.env.reset(seed=seed, options=options)
            observation, info = values_of(returned, "reset")
            return self._read_going_on(observation), info_of(info)
        except UserError:
            raise
        except RAISED as error:
            raise self._failure("reset", error) from error

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step.

        Raises:
            EnvironmentFailure: if the environment raises or breaks the contract.
        """
        try:
            returned: Any = self.env.step(action)
            if type(returned) is tuple and len(returned) == 5:
                observation, reward, terminated, truncated, info = returned
                if (  # nearly always, and quick to see
                    type(observation) is ndarray
                    and observation.shape == self._shape
                    and observation.dtype == self._dtype
                    and type(reward) is float
                    and type(terminated) is type(truncated) is bool
                    and type(info) is dict
                ):
                    return returned
            observation, reward, terminated, truncated, info = values_of(returned, "step")
            ends = flag_of(terminated, "terminated"), flag_of(truncated, "truncated")
            read = self._read if ends[0] else self._read_going_on  # a truncated step's value is needed
            return read(observation), number_of(reward), *ends, info_of(info)
        except UserError:
            raise
        except RAISED as error:
            raise self._failure("step", error) from error

    def _read_going_on(self, observation: Any) -> Any:
        """An observation after which an action is taken, or would have been had the episode not been cut."""
        found = self._read(observation)
        if self.mask is not None and self.mask.forbids_all(found):
            raise Breach("an action mask that allows no action", "allow one, or terminate the episode")
        return found

    def close(self) -> None:
        """Release what the environment holds, as far as it still can."""
        with suppress(*RAISED):
            self.env.close()

    def _failure(self, call: str, error: BaseException) -> EnvironmentFailure:
        remedy = "mend the environment"
        if isinstance(error, Breach):
            remedy = error.remedy
        elif any(sign in str(error) for sign in _SIGNS_OF_OLD_GYM):
            remedy = f"{PRESENT}: reset(seed, options) returns 2 values, step(action) 5"
        return EnvironmentFailure(self.name, cause_of(error, call), remedy)


def checked(env: gym.Env, name: str | None = None) -> CheckedEnv:
    """An environment in a :class:`CheckedEnv`, once.

    Args:
        env: any environment.
        name: for messages; its id, or its class, by default.
    """
    return env if isinstance(env, CheckedEnv) else CheckedEnv(env, name or name_of(env))


def name_of(env: gym.Env) -> str:
    """The id of an environment, or its class where it is not registered."""
    return env.spec.id if env.spec is not None else type(env.unwrapped).__name__


def require_working(make: Callable[[], gym.Env]) -> None:
    """Reset and step once, so that an environment that never works is refused before anything is started.

    Args:
        make: makes a checked environment.

    Raises:
        EnvironmentFailure: of the last of :data:`ATTEMPTS` environments, if all failed.
    """
    for attempt in range(1, ATTEMPTS + 1):
        env = make()
        try:
            env.action_space.seed(attempt)
            observation, _ = env.reset(seed=attempt)
            env.step(env.action_space.sample(**_allowed_by(env, observation)))
            return
        except EnvironmentFailure:
            if attempt == ATTEMPTS:
                raise
        finally:
            env.close()


def _allowed_by(env: gym.Env, observation: Any) -> dict[str, Any]:
    """What a random action has to be told of those that are allowed, if there is a mask."""
    mask = env.mask if isinstance(env, CheckedEnv) else None
    if mask is None:
        return {}
    allowed = mask.allowed(observation).astype(np.int8)
    each = tuple(np.split(allowed, np.cumsum(mask.sizes[:-1])))
    return {"mask": each if isinstance(env.action_space, gym.spaces.MultiDiscrete) else each[0]}


def cause_of(error: BaseException, call: str) -> str:
    """What went wrong in ``reset`` or ``step``, in one line."""
    if isinstance(error, EnvironmentFailure):
        return error.what
    return f"{call}() returned {error.what}" if isinstance(error, Breach) else f"{call}() raised {describe(error)}"


def describe(error: BaseException) -> str:
    """An exception in one line, with the place where it was raised, since no traceback is shown."""
    place = ""
    if frames := traceback.extract_tb(error.__traceback__, limit=-1):
        place = f" ({Path(frames[0].filename).name}, line {frames[0].lineno})"
    return f"{reason_of(error, named=True)}{place}"

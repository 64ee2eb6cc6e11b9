"""CarRacing: frames and actions prepared for a policy."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from synrl_ray.errors import UserError
from synrl_ray.settings.preprocessing import CarRacingFrames

_DRAWING = "synrl_ray.envs.car_racing_drawing"
_GYMNASIUMS = "gymnasium.envs.box2d.car_racing:CarRacing"
_ABOVE_THE_BAR, _AS_WIDE = slice(0, 84), slice(6, 90)


def make_car_racing(env_id: str, kwargs: Mapping[str, Any], frames: CarRacingFrames, *, training: bool) -> gym.Env:
    """CarRacing with actions as ``frames.actions`` says; observations ``[1 or 3, size, size]`` of ``uint8``.

    A step is ``frames.action_repeat`` frames of the game, or fewer at an episode's end; the time limit counts frames.

    Args:
        env_id: registered id of Gymnasium's CarRacing, or ``module:Id``.
        kwargs: keyword arguments of ``gymnasium.make``; ``continuous`` is always true beneath.
        frames: how frames and actions are prepared.
        training: with the early end and the fast drawing, as far as ``frames`` asks for them.

    Raises:
        UserError: if the id is no CarRacing.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    spec = gym.spec(name)
    if spec.entry_point != _GYMNASIUMS:
        raise UserError(f"car_racing frames are for CarRacing, not for {env_id!r}", "set env=CarRacing-v3")
    settings = {**kwargs, "continuous": True}
    if training and frames.fast_drawing:
        drawn, settings["bar"] = "DrawnFast", not frames.crop
    else:
        drawn = "DrawnOnDemand"
    env = gym.make(dataclasses.replace(spec, entry_point=f"{_DRAWING}:{drawn}"), **settings)
    if training and frames.stop_off_track_after:
        env = EndOffTrack(env, frames.stop_off_track_after)
    env = RepeatedActions(env, frames.action_repeat)
    env = PreparedPictures(env, grey=frames.grey, crop=frames.crop, size=frames.size)
    if frames.actions == "steering_pedal":
        env = SteeringAndPedal(env)
    elif frames.actions == "discrete":
        env = DiscreteActions(env, frames.discrete_actions)
    return env


class EndOffTrack(gym.Wrapper, RecordConstructorArgs):
    """Ends an episode after a number of frames without a new tile (a new tile is worth more than a frame costs).

    The end is a terminal state and no truncation: a truncated episode is bootstrapped from its last value, which would
    credit a car in the grass with the return of going on. ``info["off_track"]`` marks it.

    Args:
        env: CarRacing, one frame a step.
        frames: without a new tile, in a row.
    """

    def __init__(self, env: gym.Env, frames: int) -> None:
        RecordConstructorArgs.__init__(self, frames=frames)
        super().__init__(env)
        self.frames = frames
        self._without_tile = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        """Start a race."""
        self._without_tile = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        """One frame."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._without_tile = self._without_tile + 1 if float(reward) <= 0 else 0
        if self._without_tile >= self.frames and not (terminated or truncated):
            terminated, info = True, {**info, "off_track": True}
        return observation, reward, terminated, truncated, info


class RepeatedActions(gym.Wrapper, RecordConstructorArgs):
    """An action lasts for some frames, of which the last one is drawn. Rewards are added up.

    Args:
        env: wrappers around :class:`~synrl_ray.envs.car_racing_drawing.DrawnOnDemand`.
        frames: of each action; fewer where the episode ends.
    """

    def __init__(self, env: gym.Env, frames: int) -> None:
        RecordConstructorArgs.__init__(self, frames=frames)
        super().__init__(env)
        self.frames = frames

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start a race; the picture is ``[96, 96, 3]``."""
        _, info = self.env.reset(seed=seed, options=options)
        return self._picture(), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One decision; the picture is ``[96, 96, 3]``."""
        total = 0.0
        for _ in range(self.frames):
            _, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return self._picture(), total, terminated, truncated, info

    def _picture(self) -> np.ndarray:
        return self.unwrapped.picture()  # type: ignore[attr-defined]


class PreparedPictures(gym.ObservationWrapper, RecordConstructorArgs):
    """Pictures ``[1 or 3, size, size]`` of ``uint8``, cropped, grey and resized.

    Args:
        env: observations ``[96, 96, 3]``.
        grey: one channel, with the usual weights of luma (0.299, 0.587, 0.114).
        crop: cut off the bar of indicators and as much of each side; the car stays in the middle.
        size: width and height.
    """

    def __init__(self, env: gym.Env, *, grey: bool, crop: bool, size: int) -> None:
        import cv2  # slow to import, and only needed here

        RecordConstructorArgs.__init__(self, grey=grey, crop=crop, size=size)
        super().__init__(env)
        self.grey, self.crop, self.size = grey, crop, size
        self._cv2 = cv2
        self.observation_space = spaces.Box(0, 255, (1 if grey else 3, size, size), np.uint8)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """The picture of one frame."""
        cv2 = self._cv2
        if self.crop:
            observation = observation[_ABOVE_THE_BAR, _AS_WIDE]
        if self.grey:
            observation = cv2.cvtColor(np.ascontiguousarray(observation), cv2.COLOR_RGB2GRAY)
        if observation.shape[0] != self.size:
            observation = cv2.resize(observation, (self.size, self.size), interpolation=cv2.INTER_AREA)
        channels_first = observation[None] if self.grey else observation.transpose(2, 0, 1)
        return np.ascontiguousarray(channels_first)


class SteeringAndPedal(gym.ActionWrapper, RecordConstructorArgs):
    """Actions ``Box(-1, 1, (2,))``: steering, and a pedal that is gas where positive and brake where negative."""

    def __init__(self, env: gym.Env) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def action(self, action: np.ndarray) -> np.ndarray:
        """Steering, gas and brake."""
        steering, pedal = action
        return np.array([steering, max(pedal, 0.0), max(-pedal, 0.0)], np.float32)


class DiscreteActions(gym.ActionWrapper, RecordConstructorArgs):
    """Actions ``Discrete(n)``: entries of a table.

    Args:
        env: continuous actions.
        table: steering, gas and brake of each action.
    """

    def __init__(self, env: gym.Env, table: tuple[tuple[float, float, float], ...]) -> None:
        RecordConstructorArgs.__init__(self, table=table)
        super().__init__(env)
        self.table = np.array(table, np.float32)
        self.action_space = spaces.Discrete(len(table))

    def action(self, action: Any) -> np.ndarray:
        """Steering, gas and brake."""
        return self.table[action]

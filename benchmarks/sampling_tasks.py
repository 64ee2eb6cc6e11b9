"""What ``sampling.py`` measures: experiments of this project, and their environments for the other libraries."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from synrl_ray.envs.make import make_environment
from synrl_ray.experiment import A2C, PPO, Experiment
from synrl_ray.registry import get_experiment
from synrl_ray.settings.preprocessing import CarRacingFrames

HIDDEN_SIZES = {"nature": (512,), "small": (256,)}


class Contender(Protocol):
    """One library at one task."""

    def run(self) -> int:
        """Sample and learn for one iteration; return the environment steps."""

    def close(self) -> None:
        """End environments and processes."""


@dataclass
class Task:
    """One experiment as it is measured."""

    title: str
    experiment: Experiment
    steps: int
    """Environment steps of an iteration, of whole updates."""
    stacked: int = 1
    """Frames that the other libraries' environments stack."""
    kinds: tuple[str, ...] = field(default=("ann",))
    """Policies that stock RLlib is measured with."""

    @property
    def settings(self) -> PPO | A2C:
        """Of the algorithm."""
        settings = self.experiment.algorithm
        assert isinstance(settings, (PPO, A2C))
        return settings

    def with_convolutions(self, name: str | None) -> Task:
        """The same with other convolutions, where it has any."""
        if name is None or self.experiment.ann.conv_layers is None:
            return self
        layout: dict[str, Any] = {"conv_layers": name, "hidden_sizes": HIDDEN_SIZES[name]}
        experiment = dataclasses.replace(
            self.experiment,
            spiking=dataclasses.replace(self.experiment.spiking, **layout),
            ann=dataclasses.replace(self.experiment.ann, **layout),
        )
        return dataclasses.replace(self, experiment=experiment)

    def make_environment(self) -> gym.Env:
        """One environment for the other libraries: the same wrappers, Gymnasium's own drawing."""
        environment = self.experiment.environment
        preprocessing = environment.preprocessing
        if isinstance(preprocessing, CarRacingFrames):
            preprocessing = dataclasses.replace(preprocessing, fast_drawing=False)
        env = make_environment(environment.id, environment.kwargs, preprocessing, training=True)
        if environment.reward_scale != 1.0:
            env = gym.wrappers.TransformReward(env, lambda reward: environment.reward_scale * float(reward))
        return env

    def make_stacked_environment(self) -> gym.Env:
        """As :meth:`make_environment`, with the frames stacked along the first axis."""
        env = self.make_environment()
        return StackedFrames(env, self.stacked) if self.stacked > 1 else env


class StackedFrames(gym.Wrapper):
    """The newest frames ``[size, H, W]``, oldest first; zeros before an episode's start."""

    def __init__(self, env: gym.Env, size: int) -> None:
        super().__init__(env)
        _, height, width = env.observation_space.shape or ()
        self.observation_space = gym.spaces.Box(0, 255, (size, height, width), np.uint8)
        self.frames = np.zeros((size, height, width), np.uint8)

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict]:
        observation, info = self.env.reset(**kwargs)
        self.frames = np.zeros_like(self.frames)
        self.frames[-1:] = observation
        return self.frames, info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict]:
        observation, *rest = self.env.step(action)
        self.frames = np.concatenate((self.frames[1:], observation))
        return self.frames, *rest


def cartpole() -> Task:
    experiment = get_experiment("cartpole-ppo")
    title = "PPO, 8 environments, a batch of 2,048 steps"
    return Task(title, experiment, steps=2048, kinds=("spiking", "ann"))


def breakout() -> Task:
    title = "A2C, 16 games, fragments of 8 steps (stock RLlib: PPO, one epoch)"
    task = Task(title, get_experiment("breakout-a2c"), steps=2048, stacked=4)
    return task.with_convolutions("nature")


def car_racing() -> Task:
    title = "PPO, 8 environments, 8 frames a decision, a batch of 2,048 decisions"
    return Task(title, get_experiment("car-racing-ppo"), steps=2048, stacked=4)


TASKS = {"cartpole": cartpole, "breakout": breakout, "car-racing": car_racing}

"""Tasks of any Gymnasium environment: each sets it in its own way.

A task is a pure function of a split and a seed, and no two splits share one: a checksum of what is set decides which
split a task belongs to, a third of all tasks each, and a seed draws until it meets one of its own split. That holds for
choices among few values, too, and for a sampler that somebody else has written.

Legend: M tasks, E episodes of each.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import gymnasium as gym
import numpy as np

from synrl_ray.envs.checked import describe
from synrl_ray.envs.make import make_environment
from synrl_ray.envs.task_envs import Place, TaskEnvs, make_task_envs, places_of, vector_size
from synrl_ray.errors import UserError, reason_of
from synrl_ray.meta.tasks import SPLITS, Split, checked, task_generator, uniforms
from synrl_ray.settings.meta import EnvironmentTasks
from synrl_ray.settings.search import Choice, LogUniform, Range

_TRIES = 200
"""Draws for one task: a third of all tasks belongs to its split, so that luck does not need so many."""
_PROBES = 8
"""Pairs of tasks that are played alike, to see whether they differ."""
_PROBE_STEPS = 50

Task = Mapping[str, Any]
"""Parameter → value."""


@dataclass(frozen=True, eq=False)
class EnvironmentBatch:
    """M tasks.

    Args:
        settings: of their family.
        places: how parameters reach the environment.
        tasks: what each sets.
        split, seeds: what they were drawn by.
    """

    settings: EnvironmentTasks
    places: Mapping[str, Place]
    tasks: tuple[Task, ...]
    split: Split
    seeds: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.seeds)

    def envs(self, copies: int) -> TaskEnvs:
        """So many environments for each task, side by side; made once.

        Raises:
            UserError: for an environment that cannot be set to a task.
        """
        if copies not in self._made:
            made = make_task_envs(self.settings.id, self.settings.kwargs, self.tasks, self.places, copies)
            self._made[copies] = made
        return self._made[copies]

    def close(self) -> None:
        """Close the environments that were made."""
        for envs in self._made.values():
            envs.close()
        self._made.clear()

    @cached_property
    def _made(self) -> dict[int, TaskEnvs]:
        return {}

    def uniforms(self, count: int, stream: int) -> np.ndarray:
        """Numbers in [0, 1), ``[M, count]``, others for each stream."""
        return uniforms(self.split, self.seeds, count, stream)


class EnvironmentDistribution:
    """A distribution of such tasks.

    Args:
        settings: which.

    Raises:
        UserError: for an environment that cannot be made or seen, a parameter that it does not have, a sampler that
            cannot be used, or a split without tasks.

    Example:
        >>> from synrl_ray.settings.search import Uniform
        >>> ranges = {"length": Uniform(0.3, 0.7)}
        >>> tasks = EnvironmentDistribution(EnvironmentTasks(id="CartPole-v1", parameters=ranges))
        >>> batch = tasks.sample("test", range(4))
        >>> all(0.3 <= task["length"] <= 0.7 for task in batch.tasks), len(set(tasks.identities("test", range(4))))
        (True, 4)
    """

    def __init__(self, settings: EnvironmentTasks) -> None:
        self.settings = settings
        self._sampler = None if settings.sampler is None else _sampler_at(settings.sampler)
        with closing(make_environment(settings.id, settings.kwargs)) as env:
            self.num_features = vector_size(env.observation_space, settings.id)
            self.action_space: gym.Space = env.action_space
            if len(settings.observation_scale) not in (0, 1, self.num_features):
                given = len(settings.observation_scale)
                problem = f"observation_scale has {given} numbers for {self.num_features} features"
                raise UserError(problem, "give one for each, or one for all")
            self.places = places_of(env, settings.id, sorted(self._drawn("train", 0)))

    def sample(self, split: Split, seeds: Sequence[int]) -> EnvironmentBatch:
        """The tasks of these seeds; the same split and seed give the same one, whatever it is drawn together with.

        Raises:
            UserError: for an unknown split, no seeds, or seeds outside 0 … 2^62 - 1; a split that has no tasks; or
                what a sampler gives that is no task of the family.
        """
        checked(split, seeds)
        tasks = tuple(self._drawn(split, seed) for seed in seeds)
        for task, seed in zip(tasks, seeds, strict=True):
            if set(task) != set(self.places):
                problem = (
                    f"the sampler sets {sorted(task)} in the task with seed {seed}, {sorted(self.places)} in others"
                )
                raise UserError(problem, "let it set the same parameters in all tasks")
        return EnvironmentBatch(self.settings, self.places, tasks, split, tuple(map(int, seeds)))

    def identities(self, split: Split, seeds: Sequence[int]) -> list[str]:
        """What is the same for equal tasks, and for no others."""
        return [_canonical(task) for task in self.sample(split, seeds).tasks]

    def require_told_apart(self, split: Split, num_tasks: int) -> None:
        """Refuse tasks that are all the same, or in which a parameter changes nothing that an agent could notice.

        Raises:
            UserError: for those, with the number of tasks that differ or the parameter's name.
        """
        drawn = {_canonical(task): task for task in self.sample(split, range(num_tasks)).tasks}
        if len(drawn) < 2:
            problem = f"the {num_tasks} {split} tasks of {self.settings.id} are {len(drawn)} distinct one"
            raise UserError(problem, "widen the ranges of its parameters")
        tasks = list(drawn.values())
        for name in sorted(self.places):
            others = [task for task in tasks[1:] if task[name] != tasks[0][name]][:_PROBES]
            changed = [{**tasks[0], name: task[name]} for task in others]
            if changed and not self._differ(tasks[0], changed):
                problem = (
                    f"{num_tasks} {split} tasks of {self.settings.id} cannot be told apart by {name!r}: "
                    f"{len(changed) + 1} values change nothing in {_PROBE_STEPS} steps"
                )
                raise UserError(problem, "choose a parameter that the environment reads in each episode")

    def _differ(self, task: Task, others: Sequence[Task]) -> bool:
        """Whether any of the others answers the same actions in another way."""
        with closing(make_task_envs(self.settings.id, self.settings.kwargs, [task, *others], self.places, 1)) as envs:
            return self._answer_differently(envs, len(others) + 1)

    def _answer_differently(self, envs: TaskEnvs, count: int) -> bool:
        running = np.ones(count, np.bool_)
        seen = envs.reset([0] * count)
        self.action_space.seed(0)
        for _ in range(_PROBE_STEPS):
            action = np.asarray(self.action_space.sample())
            rows = np.concatenate([seen, np.zeros((count, 1))], 1)
            if (rows != rows[0]).any():
                return True
            seen, rewards, ended = envs.step(np.stack([action] * count), running)
            if (rewards != rewards[0]).any() or (ended != ended[0]).any():
                return True
            if ended[0]:
                seen = envs.reset([1] * count)
        return bool((seen != seen[0]).any())

    def _drawn(self, split: Split, seed: int) -> Task:
        generator = task_generator(split, seed)
        seen = set()
        for _ in range(_TRIES):
            task = self._candidate(generator)
            name = _canonical(task)
            if SPLITS[zlib.crc32(name.encode()) % len(SPLITS)] == split:
                return task
            seen.add(name)
        problem = f"{_TRIES} draws of {self.settings.id} are {len(seen)} distinct tasks, and none is for {split}"
        raise UserError(problem, "give the parameters more values")

    def _candidate(self, generator: np.random.Generator) -> Task:
        if self._sampler is None:
            drawn = self.settings.parameters
            return {name: _value(drawn[name], float(generator.random())) for name in sorted(drawn)}
        try:
            return {str(name): value for name, value in self._sampler.sample(int(generator.integers(2**31))).items()}
        except Exception as error:
            problem = f"sample() of {self.settings.sampler} failed ({describe(error)})"
            raise UserError(problem, "let it return a dictionary of parameters and values") from error


def _value(bounds: Range, uniform: float) -> Any:
    if isinstance(bounds, Choice):
        return bounds.options[int(uniform * len(bounds.options))]
    if isinstance(bounds, LogUniform):
        return float(bounds.low * (bounds.high / bounds.low) ** uniform)
    return float(bounds.low + (bounds.high - bounds.low) * uniform)


def _canonical(task: Task) -> str:
    """One text for equal values, whatever holds them.

    Raises:
        UserError: for what has no such text, or another one in each process.
    """
    plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in task.items()}
    try:
        return json.dumps({name: _number(value) for name, value in plain.items()}, sort_keys=True)
    except (OverflowError, TypeError, ValueError) as error:
        remedy = "let tasks be made of numbers, texts and lists of them"
        raise UserError(f"a task holds what is no plain value ({reason_of(error)})", remedy) from error


def _number(value: Any) -> Any:
    """1, 1.0 and True as one, and both zeros."""
    if isinstance(value, (list, tuple)):
        return [_number(each) for each in value]
    return float(value) + 0.0 if isinstance(value, (bool, int, float)) else value


def _sampler_at(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        sampler = getattr(import_module(module), name)()
    except Exception as error:
        raise UserError(
            f"sampler {path!r} cannot be made ({reason_of(error, named=True)})", "write module:Class"
        ) from error
    if not callable(getattr(sampler, "sample", None)):
        raise UserError(f"sampler {path!r} has no sample(seed)", "let it return a dictionary of parameters and values")
    return sampler

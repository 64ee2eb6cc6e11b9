"""Policies that act in an environment, judged again: what is asked for, and the environment that it is about."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from synrl_ray.envs.make import environment_factory
from synrl_ray.errors import UserError
from synrl_ray.evaluation.episodes import BatchPolicy, EvaluationResult, evaluate_policy
from synrl_ray.evaluation.statistics import stratified_bootstrap_interval
from synrl_ray.experiment import Environment, Evaluation, EvolutionExperiment, Experiment, LocalExperiment
from synrl_ray.policies.description import Description
from synrl_ray.results import Film
from synrl_ray.running.imports import admit_policy
from synrl_ray.running.kind import EvaluationOptions, Player
from synrl_ray.running.run_folder import CONFIG, RunFolder
from synrl_ray.settings.checked import from_json

EVALUATION_OPTIONS = frozenset({"episodes", "seed", "video"})
EPISODES_CUT = "evaluation_episodes_cut"
"""Column of a row."""
_LONGEST_ENVIRONMENT = 2**17
"""Characters of what ``policy.json`` says of it: a map of 2**14 cells, from which an environment makes far more."""


def environment(experiment: Experiment | LocalExperiment | EvolutionExperiment) -> Environment:
    """Every such experiment has one."""
    return experiment.environment


def evaluation_share(experiment: Experiment | LocalExperiment | EvolutionExperiment) -> float:
    """Environment steps between two evaluations, of all."""
    return experiment.evaluation.interval_steps / experiment.stopping.env_steps


def factory_of(environment: Environment, **extra: Any) -> Callable[[], gymnasium.Env]:
    """Makes the reference environment that policies are judged on, without what is for training only."""
    return environment_factory(environment.id, environment.kwargs, environment.preprocessing, **extra)


def evaluate_in(policy: BatchPolicy, environment: Environment, *, episodes: int, seed: int) -> EvaluationResult:
    """Greedy evaluation of a policy in an environment."""
    return evaluate_policy(policy, factory_of(environment), episodes=episodes, seed=seed)


def interim_evaluation(policy: BatchPolicy, environment: Environment, protocol: Evaluation) -> dict[str, float]:
    """What a row says of greedy episodes during training; the same in whichever process.

    Their seeds come after those of the final evaluation, so that the two never share one.
    """
    seed = protocol.first_seed + protocol.episodes
    outcome = evaluate_in(policy, environment, episodes=protocol.interim_episodes, seed=seed)
    low, high = stratified_bootstrap_interval(outcome.returns, np.mean)  # of what stands beside it
    num_cut = outcome.protocol.get("episodes_cut", 0)
    return {
        "evaluation_return_mean": float(outcome.returns.mean()),
        "evaluation_return_low": low,
        "evaluation_return_high": high,
        **({EPISODES_CUT: num_cut} if num_cut else {}),
    }


def described_environment(environment: Environment) -> dict[str, Any]:
    """What ``policy.json`` says of the environment that a policy was trained on."""
    prepared = environment.preprocessing
    return {
        "id": environment.id,
        "kwargs": dict(environment.kwargs),
        "preprocessing": asdict(prepared) if prepared else None,
    }


def environment_of(description: Description, changed: str | None = None) -> Environment:
    """The environment that a policy was trained on.

    Args:
        description: what ``policy.json`` says.
        changed: where it has keyword arguments that replace the environment's own.

    Raises:
        UserError: if ``policy.json`` names none.
    """
    try:
        named = description["environment"]
        if changed is not None:
            named = {**named, "kwargs": {**named["kwargs"], **description[changed]}}
        if len(json.dumps(named)) > _LONGEST_ENVIRONMENT:
            raise ValueError("it is too long")
        environment: Environment = from_json(Environment, named, "environment")
        return environment
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{description.file} names no environment", "restore it or train again") from error


def admitted_environment(
    policy: Any, description: Description, *, trust: bool, changed: str | None = None
) -> Environment:
    """The environment of :func:`environment_of`, whose module may be imported, and which has the policy's spaces.

    Raises:
        UserError: if not.
    """
    environment = environment_of(description, changed)
    admit_policy(environment, description.folder, trust=trust)
    env = factory_of(environment)()
    try:
        for name in ("observation_space", "action_space"):
            trained, found = getattr(policy, name), getattr(env, name)
            if trained != found:
                raise UserError(
                    f"environment {environment.id!r} has the {name.replace('_', ' ')} {found},"
                    f" the policy's is {trained}",
                    "evaluate it on the environment that it was trained on",
                )
    finally:
        env.close()
    return environment


@dataclass(frozen=True)
class Judging:
    """Which episodes are to be played."""

    environment: Environment
    episodes: int
    first_seed: int
    experiment: Any = None
    """Of the policy's run, where its ``config.json`` is there."""

    @staticmethod
    def asked(policy: Any, description: Description, options: EvaluationOptions, *, kind: str) -> Judging:
        """Those of the options; of the run's protocol, or the usual one, where they say nothing.

        Raises:
            UserError: as :func:`admitted_environment`; for another run's ``config.json``.
        """
        environment = admitted_environment(policy, description, trust=options.trust)
        experiment = experiment_of_run(description, kind)
        protocol = Evaluation() if experiment is None else experiment.evaluation
        seed = protocol.first_seed if options.seed is None else options.seed
        return Judging(environment, options.episodes or protocol.episodes, seed, experiment)

    def player(self, policy: BatchPolicy) -> Player:
        """That policy at play."""
        return Player(policy, self.environment, self.first_seed)

    def film(self, policy: BatchPolicy, path: Path | None) -> Film | None:
        """Write a video of one episode, if one is wanted."""
        if path is None:
            return None
        from synrl_ray.evaluation.video import record_episode

        make = factory_of(self.environment, render_mode="rgb_array")
        film = record_episode(policy, make, path, seed=self.first_seed)
        return Film(path=str(path), cut_after=film.env_steps if film.is_cut else None)


def experiment_of_run(description: Description, kind: str) -> Any:
    """The experiment in the ``config.json`` beside a policy; ``None`` where there is none.

    Raises:
        UserError: for one of another kind of run.
    """
    file = description.folder / CONFIG
    if not file.exists():
        return None
    experiment: Any = RunFolder.open(description.folder).spec().experiment
    if experiment.kind != kind:
        problem = f"{file} is of another kind of run ({experiment.kind}) than {description.file.name} ({kind})"
        raise UserError(problem, "restore it or train again")
    return experiment

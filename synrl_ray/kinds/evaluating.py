"""``synrl evaluate``: judge the policy of a run folder again, without Ray."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from synrl_ray.errors import UserError
from synrl_ray.evaluation.episodes import BatchPolicy, evaluate_policy
from synrl_ray.experiment import (
    Environment,
    Evaluation,
    Experiment,
    GridworldTasks,
    LocalExperiment,
    MetaEvaluation,
    MetaExperiment,
    OmniglotTasks,
)
from synrl_ray.kinds.episodes import ENERGY_DECISIONS, describe, factory_of, protocol_of
from synrl_ray.policies.description import DESCRIPTION_FILE, damage_of, format_of, read_description
from synrl_ray.policies.energy import decision_energy
from synrl_ray.policies.layers import numbers_per_observation, rows_at_once
from synrl_ray.policies.local.policy import LocalPolicy, describes_local_policy
from synrl_ray.policies.policy import Policy, load_network_policy
from synrl_ray.policies.recording import ObservationRecorder, SpikeWatcher
from synrl_ray.running.imports import admit_policy
from synrl_ray.running.run_folder import RunFolder

_IMAGES_AT_ONCE, _ENVIRONMENTS_AT_ONCE = 500, 32
"""Fewer where much is computed for each of them."""
_LONGEST_ENVIRONMENT = 2**17
"""Characters of what ``policy.json`` says of it: a map of 2**14 cells, from which an environment makes far more."""


def evaluate_folder(
    path: Path,
    *,
    episodes: int | None,
    seed: int | None,
    video: Path | None = None,
    shots: int | None = None,
    official_runs: bool = False,
    trust: bool = False,
) -> dict[str, Any]:
    """Greedy evaluation on the environment named in ``policy.json``; the folder is not changed.

    Args:
        path: a folder with ``policy.safetensors`` and ``policy.json``.
        episodes: how many; the run's protocol, or 100, where not given.
        seed: of the first episode's environment.
        video: where to write a video of the first episode.
        shots: samples from which a meta-learner adapts, if other than in its training.
        official_runs: judge a learner of Omniglot by the 20 official one-shot runs.
        trust: import the module that the environment is in, though the folder is not this user's.

    Raises:
        UserError: for a damaged folder, an environment that cannot be made or is in a module that a stranger asks to
            import, a refused video format, or an option that means nothing for what the folder holds.
    """
    for option, value, least in (("--episodes", episodes, 1), ("--seed", seed, 0), ("--shots", shots, 1)):
        if value is not None and value < least:
            raise UserError(f"{option} {value} is too small", f"it is at least {least}")
    options = {"--episodes": episodes, "--seed": seed, "--video": video, "--shots": shots}
    given = [option for option, value in options.items() if value is not None]
    is_meta = format_of(path).startswith("meta")
    if official_runs:
        with damage_of(path / DESCRIPTION_FILE):
            read_description(path)
        if given or not is_meta:
            problem = (
                f"{given[0]} and --official-runs do not go together" if given else "--official-runs is for learners"
            )
            raise UserError(problem, "leave one out" if given else "train omniglot-maml with --set ways=20 shots=1")
        return _evaluate_official_runs(path)
    if describes_classifier(path):
        if given:
            raise UserError(f"{given[0]} means nothing for a classifier", "leave it out")
        return evaluate_classifier(path)
    if is_meta:
        if video is not None:
            raise UserError("--video means nothing for a meta-learner", "leave it out")
        return _evaluate_meta(path, num_tasks=episodes, seed=seed, shots=shots)
    if shots is not None:
        raise UserError("--shots means nothing for a policy", "leave it out: it is for meta-learners")
    if describes_local_policy(path):
        return _evaluate_local(path, episodes=episodes, seed=seed, video=video, trust=trust)
    policy = load_network_policy(path)
    description = read_description(path)
    environment = environment_of(path)
    admit_policy(environment, path, trust=trust)
    require_same_spaces(policy, environment)
    protocol = _protocol(path)
    first_seed = protocol.first_seed if seed is None else seed
    film = _film(SpikeWatcher(policy), environment, video, first_seed)
    numbers = policy.network.numbers_per_observation
    recorder = ObservationRecorder(policy, rows_at_once(numbers, ENERGY_DECISIONS))
    outcome = evaluate_policy(
        recorder,
        factory_of(environment),
        episodes=episodes or protocol.episodes,
        seed=first_seed,
        max_parallel=rows_at_once(numbers, _ENVIRONMENTS_AT_ONCE),
    )
    return {
        "experiment": description.get("experiment"),
        "policy": policy.config.kind,
        "run": str(path),
        **describe(outcome.summary()),
        "env_steps": outcome.env_steps,
        "env_steps_per_second": round(outcome.env_steps / max(outcome.seconds, 1e-9), 1),
        "protocol": protocol_of(outcome, environment),
        "energy": decision_energy(policy, recorder.observations, recorder.states),
        **film,
    }


def _evaluate_local(
    path: Path, *, episodes: int | None, seed: int | None, video: Path | None, trust: bool
) -> dict[str, Any]:
    """Exact regret where it can be known, and greedy episodes."""
    from synrl_ray.kinds.local.result import evaluate_local
    from synrl_ray.policies.local.policy import load_local_policy

    policy = load_local_policy(path)
    environment = environment_of(path)
    admit_policy(environment, path, trust=trust)
    require_same_spaces(policy, environment)
    protocol = _protocol(path)
    first_seed = protocol.first_seed if seed is None else seed
    film = _film(policy, environment, video, first_seed)
    return {
        "experiment": read_description(path).get("experiment"),
        "policy": policy.kind,
        "run": str(path),
        **evaluate_local(policy, environment, episodes=episodes or protocol.episodes, seed=first_seed),
        **film,
    }


def _evaluate_meta(path: Path, *, num_tasks: int | None, seed: int | None, shots: int | None) -> dict[str, Any]:
    """Adaptation to test tasks, the same ones for every learner."""
    from synrl_ray.kinds.meta.result import judge_learner, size_of
    from synrl_ray.meta.building import require_room
    from synrl_ray.meta.files import load_maml

    if seed is not None:
        raise UserError("--seed means nothing for a meta-learner", "leave it out: all are judged on the same tasks")
    if num_tasks == 1:
        raise UserError("--episodes 1 is too small", "it is at least 2: the interval is over tasks")
    maml, learner, trained_on = load_maml(path)
    description = read_description(path)
    if isinstance(trained_on, OmniglotTasks) and trained_on.data is None:  # whichever set was at hand then
        data: Any = description.get("data") if isinstance(description.get("data"), str) else None
        trained_on = replace(trained_on, data=data)
    tasks = trained_on
    if shots is not None:
        if isinstance(tasks, GridworldTasks):
            raise UserError("--shots means nothing for a learner that plays", "leave it out")
        try:
            tasks = replace(tasks, shots=shots)
        except ValueError as error:
            raise UserError(f"--shots {shots} is too large", str(error)) from error
        require_room(maml, tasks)
    protocol = _meta_protocol(path)
    judged = judge_learner(
        maml, learner, tasks, num_tasks=num_tasks or protocol.tasks, inner_steps=protocol.inner_steps
    )
    if not isinstance(trained_on, GridworldTasks) and tasks != trained_on:
        judged["protocol"]["trained_on"] = size_of(trained_on)
    return {
        "experiment": description.get("experiment"),
        "policy": learner.kind,
        "run": str(path),
        **judged,
    }


def _evaluate_official_runs(path: Path) -> dict[str, Any]:
    """Adaptation to the official one-shot runs of Omniglot."""
    from synrl_ray.kinds.meta.result import judge_by_official_runs
    from synrl_ray.meta.files import load_maml

    maml, learner, tasks = load_maml(path)
    description = read_description(path)
    steps = _meta_protocol(path).inner_steps
    return {
        "experiment": description.get("experiment"),
        "policy": learner.kind,
        "run": str(path),
        **judge_by_official_runs(maml, tasks, trained_on=str(description.get("data")), inner_steps=steps),
    }


def _meta_protocol(path: Path) -> MetaEvaluation:
    """The protocol of the learner's run."""
    if (path / "config.json").exists():
        experiment = RunFolder.open(path).spec().experiment
        if not isinstance(experiment, MetaExperiment):
            raise UserError(f"{path / 'config.json'} is not that of a meta-learner", "restore it or train again")
        return experiment.evaluation
    try:
        return TypeAdapter(MetaEvaluation).validate_python(read_description(path).get("evaluation", {}))
    except ValidationError as error:
        raise UserError(
            f"the evaluation in {path / DESCRIPTION_FILE} is damaged", "restore it or train again"
        ) from error


def _film(policy: BatchPolicy, environment: Environment, video: Path | None, seed: int) -> dict[str, Any]:
    """Write a video of one episode, if one is wanted; what the result says of it."""
    if video is None:
        return {}
    from synrl_ray.evaluation.video import record_episode

    film = record_episode(policy, factory_of(environment, render_mode="rgb_array"), video, seed=seed)
    return {"video": str(video), **({"video_cut_after": film.env_steps} if film.is_cut else {})}


def environment_of(path: Path) -> Environment:
    """The environment that the folder's policy was trained on.

    Raises:
        UserError: if ``policy.json`` names none.
    """
    try:
        described = json.dumps(read_description(path)["environment"])
        if len(described) > _LONGEST_ENVIRONMENT:
            raise ValueError("it is too long")
        return TypeAdapter(Environment).validate_json(described)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path / DESCRIPTION_FILE} names no environment", "restore it or train again") from error


def evaluate_classifier(path: Path) -> dict[str, Any]:
    """Accuracy on the official test set."""
    import torch

    from synrl_ray.data.mnist import load_mnist
    from synrl_ray.evaluation.proportion import wilson_interval
    from synrl_ray.supervised.files import load_classifier

    model = load_classifier(path)
    _, test = load_mnist(model.classes)
    at_once = rows_at_once(numbers_per_observation(model.network), _IMAGES_AT_ONCE)
    with torch.no_grad():
        predicted = torch.cat([model(part).argmax(1) for part in torch.from_numpy(test.images).split(at_once)])
    num_correct = int((predicted.numpy() == test.labels).sum())
    return {
        "experiment": read_description(path).get("experiment"),
        "policy": model.config.kind,
        "run": str(path),
        "accuracy": num_correct / len(test),
        "accuracy_ci95": list(wilson_interval(num_correct, len(test))),
        "errors": len(test) - num_correct,
        "protocol": {"data": "MNIST, official test set", "classes": list(model.classes), "test_images": len(test)},
    }


def describes_classifier(path: Path) -> bool:
    """Whether a folder holds a classifier rather than a policy."""
    return format_of(path).startswith("classifier")


def require_same_spaces(policy: Policy | LocalPolicy, environment: Environment) -> None:
    """Raise :class:`UserError` if the environment has other spaces than the policy."""
    env = factory_of(environment)()
    try:
        for kind in ("observation_space", "action_space"):
            trained, found = getattr(policy, kind), getattr(env, kind)
            if trained != found:
                raise UserError(
                    f"environment {environment.id!r} has the {kind.replace('_', ' ')} {found},"
                    f" the policy's is {trained}",
                    "evaluate it on the environment that it was trained on",
                )
    finally:
        env.close()


def _protocol(path: Path) -> Evaluation:
    """The protocol of the run, if its ``config.json`` is there."""
    if not (path / "config.json").exists():
        return Evaluation()
    experiment = RunFolder.open(path).spec().experiment
    return experiment.evaluation if isinstance(experiment, Experiment | LocalExperiment) else Evaluation()

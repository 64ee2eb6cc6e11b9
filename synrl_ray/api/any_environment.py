"""``--env``: an experiment for an environment that no file describes, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from synrl_ray.defaults import DEFAULT_ALGORITHM, default_experiment, default_kwargs, reasons
from synrl_ray.envs.registration import foreign_module
from synrl_ray.errors import UserError
from synrl_ray.experiment import Environment, Experiment
from synrl_ray.overrides import apply_overrides, changed_settings, resolve_setting, shown_settings
from synrl_ray.running.imports import announce_import, announce_imports
from synrl_ray.settings.facts import SpaceFacts

ALGORITHM = "algorithm"
"""The setting that chooses an algorithm, where all else is chosen too."""


def experiment_for(
    env_id: str, texts: Sequence[str], settings: Mapping[str, Any], config: Path | None = None
) -> Experiment:
    """The experiment that is trained on an environment.

    Args:
        env_id: as ``gymnasium.make`` takes it.
        texts, settings: what is set by hand, see :func:`~synrl_ray.overrides.apply_overrides`. What the environment is
            made with is set first, since its spaces may hang on that; ``algorithm`` is one of the settings here.
        config: the file that some of them are from, named where it has a module imported.

    Raises:
        UserError: if the environment cannot be made, no policy serves its spaces, or a setting is wrong.
    """
    from synrl_ray.policies.facts import facts_of, game_of  # imports torch, which the other commands' mistakes need not

    game = game_of(env_id)
    unknown = SpaceFacts(
        observations="images" if game else "vectors",
        size=1,
        have_spread=False,
        actions="discrete",
        num_actions=1,
        time_limit=1,
        game=game,
    )
    parts = [(item.partition("=")[0].strip(), item) for item in texts]
    algorithm = settings.get(ALGORITHM)
    for key, item in parts:
        algorithm = item.partition("=")[2].strip() if key == ALGORITHM else algorithm
    if algorithm is not None and not isinstance(algorithm, str):
        raise UserError(f"setting 'algorithm' cannot be {json.dumps(algorithm)}", "write its name, such as ppo")
    draft = default_experiment(env_id, unknown, algorithm)
    first = {key for key in (*settings, *(key for key, _ in parts)) if _is_of_environment(draft, key)}
    made = cast(
        Experiment,
        apply_overrides(
            draft, [item for key, item in parts if key in first], {k: v for k, v in settings.items() if k in first}
        ),
    ).environment
    _announce(made, config)
    facts = facts_of(made, game)
    experiment = default_experiment(env_id, facts, algorithm)
    environment = replace(
        experiment.environment, kwargs={**default_kwargs(facts), **made.kwargs}, preprocessing=made.preprocessing
    )
    experiment = replace(experiment, environment=environment)
    left = {key: value for key, value in settings.items() if key not in {*first, ALGORITHM}}
    rest = [item for key, item in parts if key not in {*first, ALGORITHM}]
    experiment = cast(Experiment, apply_overrides(experiment, rest, left))
    if config is not None:
        announce_imports(experiment.spiking.modules, left, config)
    return experiment


def chosen_block(experiment: Experiment) -> str:
    """What was chosen for an environment and why, a line for each reason, every setting as ``--set`` takes it."""
    facts = experiment.facts
    assert facts is not None
    default = default_experiment(experiment.environment.id, facts, experiment.algorithm.name)
    by_hand = changed_settings(experiment, default)
    of_algorithm = f"{ALGORITHM}={experiment.algorithm.name}"
    if experiment.algorithm.name != DEFAULT_ALGORITHM:
        by_hand.insert(0, of_algorithm)
    rows: list[tuple[str, str]] = []
    head = f"{experiment.environment.id}: chosen by the defaults for {facts.observations}; --set NAME=VALUE replaces"
    for reason in reasons(default):
        names = [name for name in shown_settings(experiment, reason.paths) if name not in by_hand]
        if of_algorithm not in by_hand and any(path.startswith("algorithm.") for path in reason.paths):
            names.insert(0, of_algorithm)
        if names:
            rows.append((" ".join(names), reason.why))
    width = max(len(names) for names, _ in rows)
    lines = [f"  {names:<{width}}  # {why}" for names, why in rows]
    if by_hand:
        lines.append(f"  {' '.join(by_hand):<{width}}  # set by hand")
    return "\n".join([head, *lines])


def _is_of_environment(draft: Experiment, key: str) -> bool:
    """Whether a setting says how the environment is made.

    Raises:
        UserError: if it is another environment.
    """
    try:
        path = resolve_setting(draft, key)
    except UserError:  # of another algorithm, perhaps; what is wrong is said when all is known
        return False
    if path == "environment.id":
        raise UserError(f"--env does not go with the setting {key}", "name the environment once")
    return path == "environment.kwargs" or path.startswith("environment.preprocessing")


def _announce(environment: Environment, config: Path | None) -> None:
    """Name the module that a file of settings has imported for an environment that the user has named."""
    asked = foreign_module(environment.id, environment.kwargs)
    if config is not None and asked is not None and asked != foreign_module(environment.id):
        announce_import(asked, config)

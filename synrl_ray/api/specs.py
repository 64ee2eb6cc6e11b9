"""From what is asked for to experiments and runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from synrl_ray.api.any_environment import experiment_for
from synrl_ray.commands import command
from synrl_ray.errors import UserError
from synrl_ray.experiment import AnyExperiment, PolicyKind
from synrl_ray.files import at_hand
from synrl_ray.kinds import kind_of
from synrl_ray.overrides import apply_overrides, read_settings
from synrl_ray.registry import get_experiment
from synrl_ray.running.imports import announce_imports
from synrl_ray.running.kind import ENV_STEPS
from synrl_ray.running.spec import RunSpec

_MOST_SEEDS = 10_000
_LARGEST_SEED = 2**31 - 1  # numpy's generators take 32 bits, and env runners count on from it
Settings = Mapping[str, Any] | Sequence[str]
"""Setting → value, or ``key=value`` texts as the command takes them. A setting is named by its path
(``algorithm.lr``) or its last name, where one path alone ends in it."""


def make_experiment(
    experiment: str | AnyExperiment | None = None,
    settings: Settings | None = None,
    *,
    config: str | Path | None = None,
    env: str | None = None,
) -> AnyExperiment:
    """An experiment with other settings.

    Args:
        experiment: id, as `synrl list` shows it, or an experiment to start from.
        settings: what to replace.
        config: a JSON file of settings, such as the ``best.json`` of a search; ``settings`` come after it.
        env: instead of an experiment, the environment that one is made for. Its settings follow from the environment's
            spaces; ``algorithm`` is one of them here, such as ``{"algorithm": "a2c"}``.

    Raises:
        UserError: for an unknown experiment, environment or setting, a value that a setting cannot have, or spaces that
            no policy serves.

    Example:
        >>> make_experiment("cartpole-ppo", {"lr": 3e-4, "spiking.hidden_sizes": (32,)}).spiking.hidden_sizes
        (32,)
        >>> make_experiment(env="Pendulum-v1", settings={"num_envs": 4}).environment.num_envs
        4
    """
    given = read_settings(at_hand(Path(config))) if config else {}
    named = settings if isinstance(settings, Mapping) else {}
    texts = () if settings is None or isinstance(settings, Mapping) else settings
    if env is not None:
        if experiment is not None:
            shown = experiment if isinstance(experiment, str) else experiment.id
            raise UserError(f"--env does not go with the experiment {shown!r}", "leave one of them out")
        return experiment_for(env, texts, {**given, **named}, None if config is None else Path(config))
    if experiment is None:
        raise UserError("no experiment is named", "name one, or an environment as env")
    described = get_experiment(experiment) if isinstance(experiment, str) else experiment
    made = apply_overrides(described, texts, {**given, **named})
    if config:
        modules = kind_of(described).modules
        announce_imports(set(modules([made])) - set(modules([described])), given, Path(config))
    return made


def make_specs(
    experiment: str | AnyExperiment | None,
    policy: PolicyKind | None = None,
    *,
    seed: int | None = None,
    seeds: int | None = None,
    num_workers: int = 0,
    num_learners: int = 0,
    gpus_per_learner: float = 0.0,
    stop_steps: int | None = None,
    settings: Settings | None = None,
    config: str | Path | None = None,
    env: str | None = None,
) -> list[RunSpec]:
    """The runs that are asked for: one, or one for each of several seeds. Arguments as of :func:`synrl_ray.train`.

    Raises:
        UserError: for options that name nothing, exclude one another or are out of range.
    """
    texts = () if settings is None or isinstance(settings, Mapping) else settings
    if settings is not None and not isinstance(settings, Mapping) and not settings:
        raise UserError("--set names no setting", "write for instance --set lr=3e-4")
    if experiment is None and env is None and any("=" not in item for item in texts):
        raise UserError("--set has swallowed the experiment's name", "name the experiment before the options")
    if experiment is None and env is None:
        remedy = f"`{command('list')}` shows all; or --env ID for any environment, or --resume RUN_DIR"
        raise UserError("no experiment is named", remedy)
    if seed is not None and seeds is not None:
        raise UserError("--seed and --seeds exclude each other", "--seeds N trains the seeds 0 to N-1")
    scale = (("--num-workers", num_workers, 0), ("--num-learners", num_learners, 0))
    for option, value, least in (("--seeds", seeds, 1), ("--seed", seed, 0), *scale):
        if value is not None and value < least:
            raise UserError(f"{option} {value} is too small", f"it is at least {least}")
    if seeds is not None and seeds > _MOST_SEEDS:
        raise UserError(f"--seeds {seeds:,} are too many", f"they are {_MOST_SEEDS:,} at most")
    if seed is not None and seed > _LARGEST_SEED:
        raise UserError(f"--seed {seed} is too large", f"it is at most {_LARGEST_SEED}")
    made = make_experiment(experiment, settings, config=config, env=env)
    kind = kind_of(made)
    if stop_steps is not None:
        if kind.unit != ENV_STEPS:
            instead = fields(made.stopping)[0].name
            remedy = f"write --set {instead}=N instead of --stop-steps"
            raise UserError(f"{made.id} does not count environment steps", remedy)
        made = apply_overrides(made, [f"stopping.env_steps={stop_steps}"])
    made = kind.with_data(made)
    chosen = _chosen_policy(made, policy)
    num_learners = kind.learners(made, num_workers, num_learners)
    scales: dict[str, Any] = {"num_workers": num_workers, "num_learners": num_learners}
    return [
        RunSpec(experiment=made, policy=chosen, seed=s, gpus_per_learner=gpus_per_learner, **scales)
        for s in (range(seeds) if seeds is not None else [seed or 0])
    ]


def _chosen_policy(experiment: AnyExperiment, policy: PolicyKind | None) -> PolicyKind:
    """The kind of policy that is asked for, or the experiment's first one."""
    if policy is not None and policy not in experiment.policies:
        have = " and ".join(experiment.policies)
        raise UserError(f"{experiment.id} has no {policy} policy", f"it has {have}: leave --policy out, or name it")
    return policy or experiment.policies[0]

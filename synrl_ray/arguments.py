"""Options that several commands share, and the runs that they describe."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, Token

from synrl_ray.commands import command
from synrl_ray.errors import UserError
from synrl_ray.files import at_hand, located, rename_durably, sync_tree

if TYPE_CHECKING:
    from synrl_ray.experiment import AnyExperiment
    from synrl_ray.running.kind import Kind
    from synrl_ray.running.spec import RunSpec

PolicyKind = Literal["spiking", "ann", "tabular"]  # as in experiment.py, which would make help slow
Json = Annotated[bool, Parameter(name="--json")]


def _integer(kind: Any, tokens: Sequence[Token]) -> int:
    """Whole numbers only, where the parser would round ``0.5``."""
    return int(tokens[0].value)


_LARGEST_SEED = 2**31 - 1  # numpy's generators take 32 bits, and env runners count on from it
Integer = Annotated[int, Parameter(converter=_integer)]
Settings = Annotated[list[str] | None, Parameter(name="--set", consume_multiple=True)]


def fetched(url: str, run_dir: Path | None) -> Path:
    """The folder that a run's copy is fetched into, ``runs/EXPERIMENT/POLICY-seedN`` where none is named.

    Raises:
        UserError: if something is there already.
    """
    from synrl_ray.running.folder_copy import FolderCopy
    from synrl_ray.running.lock import LOCK_FILE
    from synrl_ray.running.run_folder import RunFolder
    from synrl_ray.running.storage import Storage

    path = located(run_dir or Path("runs", *url.rstrip("/").split("/")[-2:]))
    RunFolder.require_free(path)
    draft = path.with_name(f".{path.name}.fetching")  # of the same file system; what a killed process has left goes
    shutil.rmtree(draft, ignore_errors=True)
    try:
        Storage(url).pull(draft)
        sync_tree(draft)
        (path / LOCK_FILE).unlink(missing_ok=True)  # of a process that was killed
        rename_durably(draft, path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    try:
        FolderCopy(path).begin(url, adopt=True)
    except UserError as error:
        go_on = f"`{command('train', '--resume', path)}` goes on without a copy, with --storage with one elsewhere"
        raise UserError(error.message, f"the run was fetched into {path}: {go_on}") from error
    return path


@contextmanager
def policy_folder(place: str) -> Iterator[Path]:
    """A folder with a policy: a path, or what of a copy is needed to judge it, fetched for the block."""
    from synrl_ray.running.storage import Storage, is_url

    if not is_url(place):
        yield located(Path(place))
        return
    with tempfile.TemporaryDirectory() as folder:
        Storage(place).pull(Path(folder), policy_only=True)
        yield Path(folder)


def run_specs(
    name: str | None,
    policy: PolicyKind | None,
    *,
    seed: int | None,
    seeds: int | None,
    num_workers: int,
    stop_steps: int | None,
    settings: Sequence[str] | None,
    config: Path | None = None,
    num_learners: int = 0,
) -> list[RunSpec]:
    """The runs that the options of a command describe: one, or one for each of several seeds.

    Raises:
        UserError: for options that name nothing, exclude one another or are out of range.
    """
    from dataclasses import fields

    from synrl_ray.kinds import kind_of
    from synrl_ray.overrides import apply_overrides, read_settings
    from synrl_ray.registry import get_experiment
    from synrl_ray.running.kind import ENV_STEPS
    from synrl_ray.running.spec import RunSpec

    if settings == []:
        raise UserError("--set names no setting", "write for instance --set lr=3e-4")
    if name is None and any("=" not in item for item in settings or []):
        raise UserError("--set has swallowed the experiment's name", "name the experiment before the options")
    if name is None:
        raise UserError("no experiment is named", f"`{command('list')}` shows all; or --resume RUN_DIR")
    if seed is not None and seeds is not None:
        raise UserError("--seed and --seeds exclude each other", "--seeds N trains the seeds 0 to N-1")
    scale = (("--num-workers", num_workers, 0), ("--num-learners", num_learners, 0))
    for option, value, least in (("--seeds", seeds, 1), ("--seed", seed, 0), *scale):
        if value is not None and value < least:
            raise UserError(f"{option} {value} is too small", f"it is at least {least}")
    if seed is not None and seed > _LARGEST_SEED:
        raise UserError(f"--seed {seed} is too large", f"it is at most {_LARGEST_SEED}")
    described, given = get_experiment(name), read_settings(at_hand(config)) if config else {}
    kind, experiment = kind_of(described), apply_overrides(described, settings or [], given)
    if config:
        _announce_import(kind, described, experiment, given, config)
    if stop_steps is not None:
        if kind.unit != ENV_STEPS:
            instead = fields(experiment.stopping)[0].name
            remedy = f"write --set {instead}=N instead of --stop-steps"
            raise UserError(f"{name} does not count environment steps", remedy)
        experiment = apply_overrides(experiment, [f"stopping.env_steps={stop_steps}"])
    experiment = kind.with_data(experiment)
    chosen = chosen_policy(experiment, policy)
    if num_learners and not kind.takes_learners(experiment):
        raise UserError(f"--num-learners means nothing for {name}", "it is for PPO, A2C and REINFORCE: leave it out")
    return [
        RunSpec(experiment=experiment, policy=chosen, seed=s, num_workers=num_workers, num_learners=num_learners)
        for s in (range(seeds) if seeds is not None else [seed or 0])
    ]


def _announce_import(
    kind: Kind[Any], described: AnyExperiment, experiment: AnyExperiment, given: Mapping[str, Any], config: Path
) -> None:
    """Name the module that an environment is in, if a file of settings asks for that environment."""
    from synrl_ray.overrides import apply_overrides
    from synrl_ray.running.imports import announce_import

    of_file = apply_overrides(described, [], given)
    asked = kind.environment(of_file)
    if kind.environment(experiment) == asked != kind.environment(described):
        for module in kind.modules([of_file]):
            announce_import(module, config)


def chosen_policy(experiment: AnyExperiment, policy: PolicyKind | None) -> PolicyKind:
    """The kind of policy that is asked for, or the experiment's first one."""
    if policy is not None and policy not in experiment.policies:
        have = " and ".join(experiment.policies)
        raise UserError(f"{experiment.id} has no {policy} policy", f"it has {have}: leave --policy out, or name it")
    return policy or experiment.policies[0]

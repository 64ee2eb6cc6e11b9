"""Where runs and policies lie: a folder, or the copy of one at a URL."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from synrl_ray.commands import command
from synrl_ray.errors import UserError, reason_of, told_of
from synrl_ray.files import located, named, rename_durably, sync_tree
from synrl_ray.policies.packing import is_packed, unpacked
from synrl_ray.running.folder_copy import FolderCopy
from synrl_ray.running.lock import LOCK_FILE
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.storage import Storage, is_url


def fetched(url: str, run_dir: Path | None) -> Path:
    """The folder that a run's copy is fetched into, ``runs/EXPERIMENT/POLICY-seedN`` where none is named.

    Raises:
        UserError: if something is there already.
    """
    path = named(located(run_dir or Path("runs", *url.rstrip("/").split("/")[-2:])))
    RunFolder.require_free(path)
    Storage(url).require_apart(path)
    draft = path.with_name(f".{path.name}.fetching-{secrets.token_hex(8)}")  # of the same file system
    try:
        Storage(url).pull(draft)
        sync_tree(draft)
        (path / LOCK_FILE).unlink(missing_ok=True)  # of a process that was killed
        rename_durably(draft, path)
    except OSError as error:  # such as another process that has fetched something there meanwhile
        raise UserError(f"{path} cannot be written ({reason_of(error)})", "choose another --run-dir") from error
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
    """A folder with a policy: a path; or for the block a packed one, or what of a copy is needed to judge it."""
    if is_packed(place):
        with unpacked(place if is_url(place) else located(Path(place))) as files:
            yield files
        return
    if not is_url(place):
        yield located(Path(place))
        return
    with tempfile.TemporaryDirectory() as folder:
        Storage(place).pull(Path(folder), policy_only=True)
        with told_of(place, Path(folder)):
            yield Path(folder)


def run_folders(specs: Sequence[RunSpec], run_dir: Path | None, *, several: bool) -> list[Path]:
    """The folder of each run: ``run_dir``, or with several seeds one below it; ``runs/EXPERIMENT`` where not given."""
    if run_dir is not None and not several:
        return [located(run_dir)]
    base = located(run_dir or Path("runs") / specs[0].experiment.id)
    return [base / f"{spec.policy}-seed{spec.seed}" for spec in specs]


def copy_place(storage: str | None) -> str | None:
    """Where copies go, absolute: what trains may run in another folder."""
    return storage if storage is None or is_url(storage) else str(located(Path(storage)).absolute())

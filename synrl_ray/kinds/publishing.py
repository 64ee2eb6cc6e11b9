"""From finished runs to a folder that can be audited: configuration, thinned metrics, result and policy of each seed.

``experiments/results/EXPERIMENT/POLICY`` is made of it; ``synrl evaluate`` takes it like a run's folder, and with
``--check`` computes its figures again.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from synrl_ray.errors import UserError
from synrl_ray.evaluation.saving import save_figures
from synrl_ray.files import remove, write_atomically
from synrl_ray.kinds import kind_of
from synrl_ray.policies.description import DESCRIPTION_FILE, WEIGHTS_FILE, damage_of
from synrl_ray.results import RESULT_FILE, Result, write_result
from synrl_ray.running.metrics_table import METRICS_TABLE, as_csv, thinned
from synrl_ray.running.run_folder import CONFIG, METRICS, RunFolder
from synrl_ray.running.spec import RunSpec

MOST_ROWS = 200
MOST_POLICY_BYTES = 200 * 1024
"""Of a policy that is kept for every seed; of larger ones the first seed's is kept."""


def publish(runs: Sequence[Path], out: Path) -> Result:
    """Write what an audit needs of the runs of one set of seeds, in place of what was published there before.

    Args:
        runs: folders of finished runs, or of seeds that were published before, which differ in their seeds alone.
        out: the folder; it appears whole, and what it replaces is there until then.
    Returns:
        The result of all of them.
    Raises:
        UserError: if a run has not ended or has no policy, they are not of one experiment and policy, or two of them
            are of the same seed; and for a folder with anything else in it.
    """
    out = out.resolve()
    _require_published(out)
    folders = sorted((RunFolder.open(path.resolve()) for path in runs), key=lambda folder: folder.spec().seed)
    specs, found = [folder.spec() for folder in folders], [folder.result() for folder in folders]
    results = [result for result in found if result is not None]
    if len(results) < len(found):
        unfinished = folders[found.index(None)].path
        raise UserError(f"the run in {unfinished} has not ended", "go on with it first, or leave it out")
    for folder, spec in zip(folders, specs, strict=True):
        if (spec.experiment, spec.policy) != (specs[0].experiment, specs[0].policy):
            problem = f"{folder.path} is of another experiment or policy than {folders[0].path}"
            raise UserError(problem, "name seeds of one thing only")
    for (first, one), (second, other) in pairwise(zip(folders, specs, strict=True)):
        if one.seed == other.seed:
            raise UserError(f"{first.path} and {second.path} are both of seed {one.seed}", "leave one of them out")
    draft = out.with_name(f".{out.name}.{secrets.token_hex(8)}")
    try:
        result = _write(draft, folders, specs, results)
        _replace(out, draft)
    finally:
        remove(draft)
    return result


def _write(draft: Path, folders: Sequence[RunFolder], specs: Sequence[RunSpec], results: Sequence[Result]) -> Result:
    first = _place_of_policy(folders[0])
    is_small = (first / WEIGHTS_FILE).stat().st_size <= MOST_POLICY_BYTES
    for folder, spec, result in zip(folders, specs, results, strict=True):
        place = draft / f"seed{spec.seed}"
        write_atomically(place / CONFIG, json.dumps(spec.to_json(), indent=2) + "\n")
        write_atomically(place / METRICS_TABLE, as_csv(thinned(folder.metrics(), MOST_ROWS)))
        write_result(place, result)
        if is_small:
            _copy_policy(_place_of_policy(folder), place)
    shutil.copy(draft / f"seed{specs[0].seed}" / CONFIG, draft / CONFIG)
    _copy_policy(first, draft)
    kind = kind_of(specs[0].experiment)
    with damage_of(folders[0].path.parent, "restore the results of its runs"):
        combined = results[0] if len(results) == 1 else kind.combine(results, specs[0])
    write_result(draft, combined)
    for picture in first.glob("*.png"):
        shutil.copy(picture, draft / picture.name)
    save_figures(kind.figures(folders), draft)
    return combined


def _replace(out: Path, draft: Path) -> None:
    """Put the draft where the folder is, which goes only then."""
    if not out.exists():
        draft.rename(out)
        return
    before = draft.with_name(f"{draft.name}.before")
    out.rename(before)
    try:
        draft.rename(out)
    except BaseException:
        before.rename(out)
        raise
    remove(before)


def _require_published(out: Path) -> None:
    """Refuse to replace anything but what was published before: files of results, and folders of seeds.

    Raises:
        UserError: for another folder, or a file.
    """
    if not out.exists():
        return
    is_published = out.is_dir() and (out / RESULT_FILE).is_file() and not (out / METRICS).exists()
    others = [path.name for path in out.iterdir() if path.is_dir() and not _is_seed(path)] if is_published else [""]
    if others:
        what = f"{others[0]} is in it" if is_published else "no result was published there"
        raise UserError(f"{out} is not to be replaced: {what}", "choose another folder, or move it away")


def _is_seed(path: Path) -> bool:
    return re.fullmatch(r"seed\d+", path.name) is not None and not (path / METRICS).exists()


def _place_of_policy(folder: RunFolder) -> Path:
    """The run's folder; of a published seed whose policy is large, the one above it if that policy is this seed's."""
    above = folder.path.parent
    if (folder.path / WEIGHTS_FILE).exists():
        return folder.path
    if (above / WEIGHTS_FILE).exists() and (above / CONFIG).exists() and RunFolder(above).spec() == folder.spec():
        return above
    raise UserError(f"{folder.path} holds no policy", "name the run that it was published from")


def _copy_policy(source: Path, target: Path) -> None:
    for name in (WEIGHTS_FILE, DESCRIPTION_FILE):
        shutil.copy(source / name, target / name)

"""From finished runs to a folder that can be audited: configuration, thinned metrics, result and policy of each seed.

``experiments/results/EXPERIMENT/POLICY`` is made of it; ``synrl evaluate`` takes it like a run's folder, and with
``--check`` computes its figures again.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from synrl_ray.errors import UserError
from synrl_ray.evaluation.saving import save_figures
from synrl_ray.files import remove, write_atomically
from synrl_ray.kinds import kind_of
from synrl_ray.policies.description import DESCRIPTION_FILE, WEIGHTS_FILE, damage_of
from synrl_ray.results import Result, write_result
from synrl_ray.running.metrics_table import METRICS_TABLE, as_csv, thinned
from synrl_ray.running.run_folder import CONFIG, RunFolder

MOST_ROWS = 200
MOST_POLICY_BYTES = 200 * 1024
"""Of a policy that is kept for every seed; of larger ones the first seed's is kept."""


def publish(runs: Sequence[Path], out: Path) -> Result:
    """Write what an audit needs of the runs of one set of seeds, in place of what lies there.

    Args:
        runs: folders of finished runs, or of seeds that were published before, which differ in their seeds alone.
        out: the folder; it appears whole or not at all.
    Returns:
        The result of all of them.
    Raises:
        UserError: if a run has not ended or has no policy, or they are not of one experiment and policy.
    """
    folders = [RunFolder.open(path) for path in runs]
    specs, found = [folder.spec() for folder in folders], [folder.result() for folder in folders]
    results = [result for result in found if result is not None]
    if len(results) < len(found):
        unfinished = runs[found.index(None)]
        raise UserError(f"the run in {unfinished} has not ended", "go on with it first, or leave it out")
    for path, spec in zip(runs, specs, strict=True):
        if (spec.experiment, spec.policy) != (specs[0].experiment, specs[0].policy):
            raise UserError(f"{path} is of another experiment or policy than {runs[0]}", "name seeds of one thing only")
    first = _place_of_policy(folders[0])
    draft = out.with_name(f".{out.name}.{secrets.token_hex(8)}")
    try:
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
        with damage_of(runs[0].parent, "restore the results of its runs"):
            combined = results[0] if len(results) == 1 else kind.combine(results, specs[0])
        write_result(draft, combined)
        for picture in first.glob("*.png"):
            shutil.copy(picture, draft / picture.name)
        save_figures(kind.figures(folders), draft)
        remove(out)
        draft.rename(out)
    finally:
        remove(draft)
    return combined


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

"""From finished runs to a folder that can be audited: configuration, thinned metrics, result and policy of each seed.

``experiments/results/EXPERIMENT/POLICY`` is made of it; ``synrl evaluate`` takes it like a run's folder, and with
``--check`` computes its figures again.
"""

from __future__ import annotations

import csv
import io
import json
import math
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synrl_ray.errors import UserError
from synrl_ray.evaluation.saving import save_figures
from synrl_ray.files import remove, write_atomically
from synrl_ray.kinds import kind_of
from synrl_ray.policies.description import DESCRIPTION_FILE, WEIGHTS_FILE, damage_of
from synrl_ray.results import Result, write_result
from synrl_ray.running.run_folder import CONFIG, RunFolder

MOST_ROWS = 200
MOST_POLICY_BYTES = 200 * 1024
"""Of a policy that is kept for every seed; of larger ones the first seed's is kept."""
METRICS_TABLE = "metrics.csv"
"""Of each seed: what is kept of its ``metrics.jsonl``."""


def publish(runs: Sequence[Path], out: Path) -> Result:
    """Write what an audit needs of the runs of one set of seeds, in place of what lies there.

    Args:
        runs: folders of finished runs, which differ in their seeds alone.
        out: the folder; it appears whole or not at all.
    Returns:
        The result of all of them.
    Raises:
        UserError: if a run has not ended, or they are not of one experiment and policy.
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
    draft = out.with_name(f".{out.name}.{secrets.token_hex(8)}")
    try:
        is_small = (runs[0] / WEIGHTS_FILE).stat().st_size <= MOST_POLICY_BYTES
        for folder, spec, result in zip(folders, specs, results, strict=True):
            place = draft / f"seed{spec.seed}"
            write_atomically(place / CONFIG, json.dumps(spec.to_json(), indent=2) + "\n")
            write_atomically(place / METRICS_TABLE, as_csv(thinned(folder.metrics(), MOST_ROWS)))
            write_result(place, result)
            if is_small:
                _copy_policy(folder.path, place)
        shutil.copy(draft / f"seed{specs[0].seed}" / CONFIG, draft / CONFIG)
        _copy_policy(runs[0], draft)
        kind = kind_of(specs[0].experiment)
        with damage_of(runs[0].parent, "restore the results of its runs"):
            combined = results[0] if len(results) == 1 else kind.combine(results, specs[0])
        write_result(draft, combined)
        for picture in runs[0].glob("*.png"):
            shutil.copy(picture, draft / picture.name)
        save_figures(kind.figures(folders), draft)
        remove(out)
        draft.rename(out)
    finally:
        remove(draft)
    return combined


def _copy_policy(source: Path, target: Path) -> None:
    for name in (WEIGHTS_FILE, DESCRIPTION_FILE):
        shutil.copy(source / name, target / name)


def thinned(rows: Sequence[Mapping[str, Any]], most: int) -> list[Mapping[str, Any]]:
    """At most so many rows, the last among them: those with an evaluation first, then others, evenly spread."""
    judged = [i for i, row in enumerate(rows) if any(name.startswith("evaluation_") for name in row)]
    others = sorted({*range(len(rows))} - {*judged})
    kept = _spread(judged, most)
    kept += _spread(others, most - len(kept))
    if rows and len(rows) - 1 not in kept:
        kept = [*kept[: most - 1], len(rows) - 1]
    return [rows[i] for i in sorted(kept)]


def _spread(items: Sequence[int], most: int) -> list[int]:
    """All items, or so many of them, evenly spread and with the last one."""
    if len(items) <= most:
        return list(items)
    return [items[(i + 1) * len(items) // most - 1] for i in range(most)]


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table, with six digits of each number; a cell is empty where a row has no such column."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def rows_of_csv(text: str) -> list[dict[str, Any]]:
    """Inverse of :func:`as_csv`, whose text may be a stranger's: cells that are no finite number are left out."""
    reader = csv.DictReader(io.StringIO(text))
    return [{name: value for name, cell in row.items() if (value := _number(cell)) is not None} for row in reader]


def _number(cell: Any) -> float | None:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value

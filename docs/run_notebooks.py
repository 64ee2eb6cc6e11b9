"""Execute notebooks and keep their outputs, so that what is committed is what the code of today gives.

Run: python docs/run_notebooks.py [NOTEBOOK ...]     (`make notebooks`)

Each runs in an empty folder, from which ``../../experiments`` leads to where it does from ``docs/notebooks``. Nothing
but outputs changes: ids and metadata are written alike each time, and no times are.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

REPOSITORY = Path(__file__).parents[1]
NOTEBOOKS = Path(__file__).parent / "notebooks"
DATA = "SYNRL_DATA"
"""The folder with data sets, which may be named from here."""
LONGEST_SECONDS = 900
"""Of a cell, many times what the slowest takes: others may share the cores."""
_ABSOLUTE = re.compile(r"(?<![\w/.:<])/(?:tmp|home|root|work|usr|opt|var|mnt|Users)/\S*")
_LOGGED_BY_RAY = re.compile(r"^\[\d{4}-\d\d-\d\d [\d:,]+ [A-Z] \d+ \d+\] .*\n", re.MULTILINE)
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(source: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs that it gives in an empty folder.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell raises.
    """
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        cell.pop("outputs", None)
    notebook = normalised(notebook)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / NOTEBOOKS.relative_to(REPOSITORY)
        place.mkdir(parents=True)
        (Path(folder) / "experiments").symlink_to(REPOSITORY / "experiments")
        client = NotebookClient(
            notebook,
            timeout=LONGEST_SECONDS,
            startup_timeout=LONGEST_SECONDS,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": str(place)}},
        )
        # This checkout, wherever the package is installed from; and one thread, as `synrl train` takes.
        python_path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
        env = {**os.environ, "PYTHONPATH": python_path, "OMP_NUM_THREADS": "1"}
        if os.environ.get(DATA):
            env[DATA] = str(Path(os.environ[DATA]).resolve())
        client.execute(env=env)
    return normalised(notebook)


def faults(notebook: nbformat.NotebookNode) -> list[str]:
    """What must not be committed: cells that did not run, or out of order, errors, and paths of this machine."""
    found = []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for place, cell in enumerate(code, start=1):
        if cell.execution_count != place:
            found.append(f"code cell {place} has the number {cell.execution_count}")
        found += [f"code cell {place}: {o.ename}" for o in cell.outputs if o.output_type == "error"]
        found += [f"code cell {place} shows {path}" for text in _texts(cell) for path in _ABSOLUTE.findall(text)]
    if not any(cell.outputs for cell in code):
        found.append("there are no outputs")
    return found


def _texts(cell: nbformat.NotebookNode) -> Iterator[str]:
    for output in cell.outputs:
        yield output.get("text", "")
        for kind, content in output.get("data", {}).items():
            if not kind.startswith("image/png"):
                yield str(content)


def normalised(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Cells numbered by their place, and no metadata but the kernel's name."""
    cells: list[Any] = []
    for place, cell in enumerate(notebook.cells):
        kept = {"cell_type": cell.cell_type, "id": f"cell-{place:02}", "metadata": {}, "source": cell.source}
        if cell.cell_type == "code":
            kept |= {"execution_count": cell.get("execution_count"), "outputs": _joined(cell.get("outputs", []))}
        cells.append(kept)
    return nbformat.from_dict({"cells": cells, "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5})


def _joined(outputs: list[Any]) -> list[Any]:
    """Outputs without what Ray says of itself, and lines of progress that followed one another as one output."""
    kept: list[Any] = []
    for output in outputs:
        if output.output_type == "stream":
            output.text = _LOGGED_BY_RAY.sub("", output.text)
        if output.get("text") == "" or output.get("data", {}).get("text/html") == "":
            continue
        if kept and output.output_type == kept[-1].output_type == "stream" and output.name == kept[-1].name:
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebooks", nargs="*", help="their names or numbers, such as 03; all by default")
    wanted = parser.parse_args(argv).notebooks
    known = sorted(NOTEBOOKS.glob("*.ipynb"))
    chosen = [file for file in known if not wanted or any(file.name.startswith(Path(name).name) for name in wanted)]
    if not chosen:
        parser.error(f"none is named {' or '.join(wanted)}: there are {', '.join(file.stem for file in known)}")
    for file in chosen:
        began, computed = time.monotonic(), _computed()
        notebook = execute(file)
        if found := faults(notebook):
            raise SystemExit(f"{file.name}: {'; '.join(found)}")
        nbformat.write(notebook, file)
        seconds = f"{time.monotonic() - began:.0f} s, of which a core computed {_computed() - computed:.0f} s"
        print(f"{file.stem}: {seconds}; {file.stat().st_size / 1e3:.0f} kB", flush=True)


def _computed() -> float:
    """Seconds of computing of the kernels so far; Ray's own processes, which outlive them, are not in it."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()

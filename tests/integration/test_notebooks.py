"""The notebooks: what is committed is whole and shows nothing of a machine, and what it shows still comes out."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import nbformat
import pytest
from data_at_hand import folder_with

REPOSITORY = Path(__file__).parents[2]
NOTEBOOKS = sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb"))
MOST_BYTES = 400_000
LOADS = {"02-spiking-classifier": "mnist", "05-maml": "omniglot"}
"""Which data sets."""

_spec = importlib.util.spec_from_file_location("run_notebooks", REPOSITORY / "docs" / "run_notebooks.py")
assert _spec is not None
assert _spec.loader is not None
run_notebooks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(run_notebooks)

each = pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)


def test_there_are_notebooks_and_the_index_has_each() -> None:
    index = (REPOSITORY / "docs" / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert len(NOTEBOOKS) == 8
    assert [file.name for file in NOTEBOOKS if f"({file.name})" not in index] == []


@each
def test_what_is_committed_is_whole(file: Path) -> None:
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    assert run_notebooks.faults(notebook) == []
    assert file.stat().st_size < MOST_BYTES


@each
def test_what_is_committed_is_written_as_it_would_be_again(file: Path) -> None:
    notebook = nbformat.read(file, as_version=4)
    assert nbformat.writes(run_notebooks.normalised(notebook)) + "\n" == file.read_text(encoding="utf-8")


def _cell(**changes: object) -> nbformat.NotebookNode:
    shown = nbformat.v4.new_output("stream", text="fine\n")
    cell = nbformat.v4.new_code_cell("x", execution_count=1, outputs=[shown])
    return nbformat.v4.new_notebook(cells=[nbformat.from_dict({**cell, **changes})])


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"execution_count": 3}, "code cell 1 has the number 3"),
        ({"outputs": []}, "there are no outputs"),
        ({"outputs": [nbformat.v4.new_output("error", ename="ValueError", evalue="", traceback=[])]}, "ValueError"),
        ({"outputs": [nbformat.v4.new_output("stream", text="in /home/ada/runs/x")]}, "/home/ada/runs/x"),
    ],
)
def test_what_must_not_be_committed_is_found(changes: dict[str, object], fault: str) -> None:
    assert run_notebooks.faults(_cell()) == []
    assert any(fault in found for found in run_notebooks.faults(_cell(**changes)))


@pytest.mark.ray
@each
def test_all_run_from_a_clean_state(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if file.stem in LOADS:
        monkeypatch.setenv("SYNRL_DATA", str(folder_with(LOADS[file.stem])))
    assert run_notebooks.faults(run_notebooks.execute(file)) == []

"""The tables of the documents are those of the committed results."""

import importlib.util
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("tables", REPOSITORY / "benchmarks" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "benchmarks")  # as where it is run
        spec.loader.exec_module(module)
    return module


def test_tables_are_those_of_the_committed_results(tables):
    stale = [name for document in tables.DOCUMENTS for name in tables.stale((REPOSITORY / document).read_text())]
    assert stale == [], "run `make tables`"


def test_every_table_stands_in_a_document(tables):
    shown = [name for document in tables.DOCUMENTS for name in tables.names_in((REPOSITORY / document).read_text())]
    assert sorted(shown) == sorted(tables.TABLES)


def test_a_figure_that_was_changed_by_hand_is_noticed(tables):
    text = (REPOSITORY / "README.md").read_text()
    assert tables.stale(text.replace("| 475 |", "| 476 |")) == ["summary"]


def test_cells_of_another_number_than_columns_are_refused(tables):
    with pytest.raises(ValueError, match="1 cells in a table of 2 columns"):
        tables.markdown(iter([("a", "b"), ("1",)]))

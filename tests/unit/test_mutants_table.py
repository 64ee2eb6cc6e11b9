"""The table of mutation testing names what is there: files, tests, and mutants that are argued away."""

import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from mutants import mutants_of  # noqa: E402

TABLE = tomllib.loads((ROOT / "tests/mutants.toml").read_text())


@pytest.mark.parametrize("package", TABLE["packages"])
def test_every_pattern_finds_a_file_and_every_test_is_there(package):
    settings = TABLE["packages"][package]
    for pattern in settings["files"]:
        assert list((ROOT / "synrl_ray").glob(pattern)), pattern
    for name in settings["tests"]:
        assert (ROOT / "tests" / name).exists(), name


@pytest.mark.parametrize("file", sorted({row["file"] for row in TABLE["equivalent"]}))
def test_what_is_argued_away_is_a_mutant_of_this_code(file):
    named = {(mutant.line, mutant.change) for mutant in mutants_of(ROOT / file, ROOT)}
    for row in TABLE["equivalent"]:
        if row["file"] == file:
            assert (row["line"], row["change"]) in named
            assert row["why"].endswith(".")


def mutated(tmp_path, source):
    (tmp_path / "module.py").write_text(source)
    return {mutant.change: mutant for mutant in mutants_of(tmp_path / "module.py", tmp_path)}


def test_mutants_by_hand(tmp_path):
    found = mutated(tmp_path, "def f(a, b=2):\n    if not a:\n        g(a, b)\n    return a + b <= 0\n")
    assert set(found) == {
        "2 -> 3",
        "2 -> 1",
        "not a -> a",
        "g(a, b) -> g(b, a)",
        "g(a, b) -> pass",
        "a + b -> a - b",
        "a + b <= 0 -> a + b < 0",
        "a + b <= 0 -> a + b > 0",
        "0 -> 1",
        "0 -> -1",
    }
    assert found["g(a, b) -> pass"].source == "def f(a, b=2):\n    if not a:\n        pass\n    return a + b <= 0\n"
    assert (found["0 -> 1"].number, found["0 -> 1"].line) == (4, "return a + b <= 0")


def test_what_is_said_and_what_is_only_typed_is_left_alone(tmp_path):
    source = '''"""One."""
from typing import Literal
def f(a: Literal[1]) -> Literal[2]:
    """Two."""
    logger.info("three", 3)
    raise ValueError(f"{a + 1}", 4)
'''
    assert set(mutated(tmp_path, source)) == {
        "logger.info(\"three\", 3) -> return None; logger.info('three', 3)",
        'raise ValueError(f"{a + 1}", 4) -> pass',
    }


def test_lines_stay_where_they_are(tmp_path):
    found = mutated(tmp_path, "x = [\n    1,\n    f(\n        a,\n        b),\n]\ny = 2\n")
    for mutant in found.values():
        assert mutant.source.count("\n") == 7
        compile(mutant.source, "module.py", "exec")
    assert found["2 -> 3"].number == 7

"""``CONTRIBUTING.md``: what its lists add to a copy of the project works there, and nothing else has to be changed."""

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.timeout(1_200)  # what is added is tested in a process of its own, which imports torch and Ray
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
COPIED = ("synrl_ray", "experiments", "tests", "docs", "pyproject.toml", "CONTRIBUTING.md")
BLOCK = re.compile(r"^\*\*`([^`]+)`\*\*\n```(python|diff)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A file of its own, or the change of one that is there."""

    path: str
    language: str
    text: str


LISTS = {
    title: [Block(*found) for found in BLOCK.findall(text)]
    for title, text in re.findall(r"^### an? ([^\n]+)\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
EXECUTED = {title: blocks for title, blocks in LISTS.items() if blocks}
IN_A_CONTRACT = "unit/test_architecture.py::test_every_folder_of_what_must_not_know_its_like_is_in_a_contract"
OF_ALL = {  # tests that are there, and hold what a list adds to what its like have to do
    "neuron": ["unit/policies/test_composition.py", "unit/policies/test_networks_page.py"],
    "local rule": ["unit/policies/test_local_rules.py", IN_A_CONTRACT],
    "gradient algorithm": [
        "unit/algorithms/test_algorithm_config.py::test_table_has_every_algorithm_that_an_experiment_can_have",
        IN_A_CONTRACT,
    ],
    "environment": [],
    "kind of run": [
        "unit/kinds/test_kinds.py::test_every_experiment_and_every_format_has_a_kind_and_every_kind_has_both",
        "unit/kinds/test_kinds.py::test_a_kind_is_a_folder_with_the_same_files_as_the_others",
        "unit/kinds/test_kinds.py::test_a_kind_travels_to_other_processes_by_names",
        IN_A_CONTRACT,
    ],
    "task distribution": [],
}  # fmt: skip

OF_ITS_OWN = ("-k", "refractory or not test_composition")  # that file asks all of every part
"""Of tests of all neurons those of the new one: the others are run elsewhere."""


def changed(text: str, diff: str) -> str:
    """The text after a change, each part of which is found exactly once."""
    for part in diff.split("@@\n"):
        lines = [line + "\n" for line in part.splitlines()]
        before, after = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
        places = [found.span() for found in re.finditer(f"^{re.escape(before)}", text, re.MULTILINE)]
        assert len(places) == 1, f"found {len(places)} times:\n{before}"
        ((begin, end),) = places
        text = text[:begin] + after + text[end:]
    return text


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The project with everything that the lists add."""
    folder = tmp_path_factory.mktemp("contributing")
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("results") if name == "experiments" else None
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, folder / name)
    for blocks in EXECUTED.values():
        for path, language, text in blocks:
            file = folder / path
            if language == "diff":
                file.write_text(changed(file.read_text(), text))
            else:
                assert not file.exists(), f"{path} is there already"
                file.parent.mkdir(exist_ok=True)
                file.write_text(text)
    return folder


def in_copy(copy, *command, **options):
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    environment.pop("SYNRL_EXPERIMENTS", None)
    return subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True, check=False, **options
    )


@pytest.fixture(scope="module")
def outcomes(copy):
    """Outcomes of all tests that the lists bring or name, by file: they share one process, which imports torch once."""
    asked = [f"tests/{test}" for tests in OF_ALL.values() for test in tests]
    asked += [block.path for blocks in EXECUTED.values() for block in blocks if is_new_test(block)]
    report = copy / "report.xml"
    plain = ("-p", "no:cacheprovider", "-p", "no:xdist", f"--junitxml={report}")
    run = in_copy(copy, "-m", "pytest", *plain, *OF_ITS_OWN, *dict.fromkeys(asked))
    assert report.exists(), run.stdout + run.stderr
    found = defaultdict(list)
    for case in ElementTree.parse(report).iter("testcase"):
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        found[case.get("classname").replace(".", "/") + ".py"].append(
            (case.get("name"), None if bad is None else bad.text)
        )
    return found


def is_new_test(block):
    return block.language == "python" and block.path.startswith("tests/")


def test_every_list_brings_its_tests():
    assert set(EXECUTED) == set(OF_ALL)
    for title, blocks in EXECUTED.items():
        assert any(block.path.startswith("tests/") for block in blocks), title
    assert [title for title in LISTS if title not in EXECUTED] == ["field of the result", "option of a command"]


def test_every_block_of_code_is_executed():
    fenced = re.findall(r"^```(\w+)$", PAGE[PAGE.index("## How to add") :], re.MULTILINE)
    assert len(fenced) == sum(map(len, EXECUTED.values()))


@pytest.mark.parametrize("title", EXECUTED)
def test_what_is_added_works(title, outcomes):
    files = {f"tests/{test.partition('::')[0]}" for test in OF_ALL[title]}
    files |= {block.path for block in EXECUTED[title] if is_new_test(block)}
    for file in files:
        assert outcomes[file], f"no test of {file} has run"
        assert [(name, why) for name, why in outcomes[file] if why is not None] == []


def test_what_is_added_is_in_the_projects_style(copy):
    paths = sorted({block.path for blocks in EXECUTED.values() for block in blocks if block.path.endswith(".py")})
    for command in (["check"], ["format", "--check"]):
        ran = in_copy(copy, "-m", "ruff", *command, *paths)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_what_is_added_keeps_the_import_contracts(copy):
    ran = in_copy(copy, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_change_whose_context_is_not_there_is_no_change():
    assert changed("a\nb\n", " a\n+new\n") == "a\nnew\nb\n"
    assert changed("a\nb\n", "-b\n+c\n@@\n-a\n") == "c\n"
    with pytest.raises(AssertionError, match="found 0 times"):
        changed("a\n", " b\n+new\n")
    with pytest.raises(AssertionError, match="found 2 times"):
        changed("a\na\n", " a\n+new\n")

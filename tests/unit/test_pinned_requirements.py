"""`requirements.txt` pins every extra, beside the same torch, without what would replace that torch."""

import re
import tomllib
from pathlib import Path

import pytest

from synrl_ray.meta.learn2learn_loader import INSTALL

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
INSTALLATION = ROOT / "docs" / "installation.md"
LINES = (ROOT / "requirements.txt").read_text().splitlines()
BOUND_TO_ANOTHER_TORCH = ("torchvision", "torchaudio", "nvidia-", "cuda-")  # Triton's pin is what this torch asks for


def name_of(requirement):
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")


PINNED = {name_of(line) for line in LINES}


@pytest.mark.parametrize(
    ("extra", "requirement"), [(name, each) for name in EXTRAS if name != "all" for each in EXTRAS[name]]
)
def test_every_requirement_of_an_extra_is_pinned(extra, requirement):
    assert name_of(requirement) in PINNED


def test_all_is_every_extra_of_the_package_but_those_that_pip_cannot_build():
    of_the_package = sorted(set(EXTRAS) - {"all", "dev", "docs", "peers", "learn2learn", "box2d-py"})
    assert EXTRAS["all"] == [f"{PROJECT['project']['name']}[{','.join(of_the_package)}]"]


def test_the_installation_page_has_a_row_for_each_extra_and_the_command_for_learn2learn():
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \| .* \| (.*) \|$", INSTALLATION.read_text(), re.MULTILINE))
    assert set(EXTRAS) - {"dev"} <= set(rows)
    assert INSTALL.endswith(f"or {rows['learn2learn'].strip('`')}")


def test_pins_are_names_and_versions_only():
    assert [line for line in LINES if not re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+( ; [^:@/]+)?", line)] == []


def test_there_is_one_torch_and_it_is_the_one_that_make_installs():
    wanted = re.search(r"^TORCH \?= (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert [line for line in LINES if name_of(line) == "torch"] == [f"torch=={wanted}"]


def test_nothing_that_is_pinned_or_asked_for_binds_another_torch_or_a_second_opencv():
    asked = [name for entry in PROJECT["tool"]["uv"]["dependency-metadata"] for name in entry["requires-dist"]]
    for name in [*PINNED, *map(name_of, asked)]:
        assert not name.startswith(BOUND_TO_ANOTHER_TORCH)
        assert name != "opencv-python"


@pytest.mark.parametrize("extra", ["peers", "report", "tune"])
def test_printed_commands_install_an_extra_with_the_pins(extra):
    paths = [path for folder in ("synrl_ray", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    text = " ".join(word for path in [*paths, *(ROOT / "docs").glob("*.md")] for word in path.read_text().split())
    commands = re.findall(rf"uv pip install [^`]{{0,60}}'\.\[{extra}\]'", text)
    assert commands
    assert set(commands) == {f"uv pip install -c requirements.txt -e '.[{extra}]'"}

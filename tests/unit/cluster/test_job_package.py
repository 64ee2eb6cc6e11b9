"""What a job ships: held to the archive that Ray itself makes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from synrl_ray.cluster.package import EXCLUDES, measure_package
from synrl_ray.errors import UserError

REPOSITORY = Path(__file__).parents[3]
SHIPPED = {"pyproject.toml", "synrl_ray/cli.py", "synrl_ray/tests/kept.py", "experiments/a.py", "experiments/é.py"}
LEFT_OUT = {
    ".git/objects/pack",
    ".venv/lib/torch.so",
    "runs/a/result.json",
    "experiments/results/a/result.json",
    "tests/unit/test_a.py",
    "docs/guide.md",
    "benchmarks/speed.py",
    "synrl_ray/__pycache__/cli.cpython-311.pyc",
    "named-by-gitignore.bin",
    "synrl_ray/named-below.bin",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for number, name in enumerate(sorted(SHIPPED | LEFT_OUT)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (100 + number))
    (tmp_path / ".gitignore").write_text("runs/\nnamed-by-gitignore.bin\n")
    (tmp_path / "synrl_ray" / ".gitignore").write_text("named-below.bin\n")
    (tmp_path / "empty").mkdir()
    return tmp_path


def ray_archive(project: Path, target: Path, excludes: list[str]) -> Path:
    from ray._private.ray_constants import get_runtime_env_default_excludes
    from ray._private.runtime_env.packaging import create_package

    excludes = [*get_runtime_env_default_excludes(), *excludes]
    create_package(str(project), target, include_gitignore=True, excludes=excludes)
    return target


def test_ships_the_project_and_leaves_the_rest(project: Path) -> None:
    files = measure_package(project).files
    assert set(files) - {".gitignore", "synrl_ray/.gitignore", "empty/"} == SHIPPED


def test_size_is_that_of_the_archive_ray_makes(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    package = measure_package(project)
    archive = ray_archive(project, tmp_path_factory.mktemp("zip") / "package.zip", list(EXCLUDES))
    assert package.size == archive.stat().st_size
    assert set(package.files) == set(zipfile.ZipFile(archive).namelist())


def test_rayignore_alone_has_the_same_effect(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A plain `ray job submit --working-dir .` knows nothing of EXCLUDES."""
    (project / ".rayignore").write_text((REPOSITORY / ".rayignore").read_text())
    archive = ray_archive(project, tmp_path_factory.mktemp("zip") / "package.zip", [])
    assert set(zipfile.ZipFile(archive).namelist()) == set(measure_package(project).files)


def test_rayignore_names_the_excludes() -> None:
    lines = (REPOSITORY / ".rayignore").read_text().splitlines()
    assert tuple(line for line in lines if line and not line.startswith("#")) == EXCLUDES


def test_over_the_limit_names_the_largest_entries(project: Path) -> None:
    (project / "data").mkdir()
    (project / "data" / "frames.bin").write_bytes(b"x" * 2_000_000)
    (project / "notes.txt").write_bytes(b"x" * 30_000)
    with pytest.raises(UserError, match=r"2\.0. MB, over the limit of 1\.00 MB; largest: data/ 2\.00 MB, notes\.txt"):
        measure_package(project, size_limit=1_000_000)
    assert measure_package(project).size > 2_000_000


def test_a_directory_that_is_no_project_is_not_walked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no project directory"):
        measure_package(tmp_path)


def test_this_repository_stays_under_the_limit() -> None:
    files = measure_package(REPOSITORY).files
    assert {"pyproject.toml", "synrl_ray/__init__.py"} <= set(files)
    assert any(name.startswith("experiments/") and name.endswith(".py") for name in files)
    assert not any(name.startswith(("tests/", "experiments/results/", "runs/")) for name in files)

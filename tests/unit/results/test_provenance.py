"""The commit is that of the package's own repository, or nothing is said."""

import subprocess

import pytest

from synrl_ray.results import code_commit, versions


@pytest.fixture
def checkout(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    run(tmp_path, "init", "--quiet")
    run(tmp_path, "add", ".")
    commit(tmp_path)
    return package


def run(folder, *words):
    done = subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder):
    run(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "first")


def test_a_checkout_has_its_commit(checkout):
    assert code_commit(checkout) == run(checkout, "rev-parse", "HEAD")


def test_changes_since_the_commit_are_said(checkout):
    (checkout / "__init__.py").write_text("x = 1\n")
    assert code_commit(checkout) == run(checkout, "rev-parse", "HEAD") + "+changes"


def test_changes_outside_the_package_are_not_its_own(checkout):
    (checkout.parent / "notes.txt").write_text("x")
    run(checkout.parent, "add", "notes.txt")
    assert code_commit(checkout) == run(checkout, "rev-parse", "HEAD")


def test_an_installed_package_has_no_commit_though_it_lies_in_a_repository(checkout):
    installed = checkout.parent / "venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert code_commit(installed) is None


def test_without_a_repository_there_is_no_commit(tmp_path):
    assert code_commit(tmp_path) is None


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert code_commit(checkout) is None


def test_versions_are_those_of_installed_packages():
    found = versions()
    assert {"python", "torch", "numpy"} <= set(found)
    assert all(found.values())

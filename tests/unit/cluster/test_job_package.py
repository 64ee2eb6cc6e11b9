"""What a job ships: held to the archive that Ray itself makes."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
import yaml

from synrl_ray.cluster.package import EXCLUDES, NOT_NEEDED, measure_package
from synrl_ray.cluster.secret_files import SECRET_PATTERNS
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


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A project of one file."""
    write(tmp_path / "bare", ["pyproject.toml"])
    return tmp_path / "bare"


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


def lines(name: str) -> tuple[str, ...]:
    """Return the patterns of one of the repository's ignore files."""
    text = (REPOSITORY / name).read_text()
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


def test_rayignore_names_the_excludes() -> None:
    assert lines(".rayignore") == EXCLUDES


def test_the_image_gets_no_more_than_a_job() -> None:
    """Docker's patterns start at the top, those of git are found at any depth."""
    everywhere = [name if name.startswith("/") else f"/**/{name}" for name in (*NOT_NEEDED, *SECRET_PATTERNS)]
    assert set(lines("docs/Dockerfile.dockerignore")) - {"**/.*_cache", ".hypothesis"} == {n[1:] for n in everywhere}


def test_ray_up_leaves_secrets_out() -> None:
    """Rsync finds a name without a leading slash at any depth, as git does."""
    excluded = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())["rsync_exclude"]
    assert set(SECRET_PATTERNS) - {"auth_token"} <= set(excluded)
    assert "auth_token" in lines(".gitignore")


SECRETS = {
    ".env",
    ".env.production",
    "deploy/prod.env",
    ".envrc",
    "key.pem",
    "certs/deep/SERVER.PEM",
    "tls.key",
    "a.p12",
    "a.PFX",
    "putty.ppk",
    "a.jks",
    "release.keystore",
    "passwords.kdbx",
    "id_rsa",
    "keys/id_ed25519.pub",
    "id_ecdsa_work",
    ".ssh/config",
    "home/.ssh/known_hosts",
    ".gnupg/trustdb.gpg",
    ".aws/credentials",
    ".azure/a.json",
    ".kube/config",
    ".config/gcloud/a.db",
    "x/.config/gcloud/a.db",
    ".docker/config.json",
    ".netrc",
    "_netrc",
    ".pypirc",
    ".npmrc",
    ".git-credentials",
    ".pgpass",
    ".vault-token",
    "credentials.json",
    "client_secret_12.json",
    "auth_token",
    "config/checkpoint.key",
    ".my.cnf",
    ".htpasswd",
    "kaggle.json",
    ".ENV",
    ".Netrc",
    "Id_Rsa",
}
HARMLESS = {
    "secrets.py",
    "synrl_ray/secrets.py",
    "environment.yaml",
    "env.py",
    "env/a.py",
    "token.py",
    "tokens.txt",
    "keys.py",
    "key.py",
    "monkey.py",
    "pem.txt",
    ".config/other.toml",
    ".docker/compose.yaml",
    "credentials.py",
    "experiments/id_task.py",
    "config.json",
    "a.pem.py",
}


def write(root: Path, names: list[str]) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")


def names_sent(project: Path, target: Path) -> set[str]:
    """Return what is in the archive that Ray makes of the project when it is told what ``synrl submit`` tells it."""
    return set(zipfile.ZipFile(ray_archive(project, target, measure_package(project).excludes)).namelist())


@pytest.mark.parametrize("rayignore", [False, True], ids=["synrl submit", "ray job submit"])
def test_secrets_are_not_sent_and_what_a_job_needs_is(bare: Path, tmp_path: Path, rayignore: bool) -> None:
    write(bare, [*SECRETS, *HARMLESS])
    if rayignore:
        (bare / ".rayignore").write_text((REPOSITORY / ".rayignore").read_text())
        sent = set(zipfile.ZipFile(ray_archive(bare, tmp_path / "a.zip", [])).namelist())
        assert sent & SECRETS <= {".ENV", ".Netrc", "Id_Rsa"}, "its patterns know capitals in endings only"
    else:
        sent = names_sent(bare, tmp_path / "a.zip")
        assert sent & SECRETS == set()
        assert sent == set(measure_package(bare).files)
    assert sent >= HARMLESS


def test_what_is_left_out_is_said_in_one_line(bare: Path) -> None:
    assert measure_package(bare).notice == ""
    write(bare, [".env", ".ssh/id_rsa", ".ssh/config", "a.pem", "b.pem", "c.pem", "d.pem"])
    (bare / "odd\nname").symlink_to("/")
    assert measure_package(bare).notice == (
        r"not sent: .env, .ssh, a.pem and 3 more (may hold secrets); odd\nname (a link out of the project)"
    )


def test_links_do_not_lead_out_of_the_project(bare: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    write(outside, ["id_file", "folder/data.txt"])
    write(bare, [".env", "inside.txt", "folder/module.py"])
    links = {
        "plain.txt": outside / "id_file",
        "data": outside / "folder",
        "folder/chain": Path("../data"),
        "settings": Path(".env"),
        "up": Path("."),
        "broken": Path("nowhere"),
        "loop": Path("loop"),
        "odd [name]! #*\\.txt ": outside / "id_file",
        "kept.txt": Path("inside.txt"),
        "kept": Path("folder"),
    }
    for name, target in links.items():
        (bare / name).symlink_to(target)
    os.mkfifo(bare / "pipe")
    package = measure_package(bare)
    assert package.left_out == {
        ".env": "may hold secrets",
        "broken": "a link to nothing",
        "data": "a link out of the project",
        "folder/chain": "a link out of the project",
        "kept/chain": "a link out of the project",
        "loop": "a link to nothing",
        "odd [name]! #*\\.txt ": "a link out of the project",
        "pipe": "no regular file",
        "plain.txt": "a link out of the project",
        "settings": "a link to what may hold secrets",
        "up": "a link to a folder around it",
    }
    sent = names_sent(bare, tmp_path / "a.zip")
    assert sent == set(package.files)
    assert sent == {"pyproject.toml", "inside.txt", "folder/module.py", "kept.txt", "kept/module.py"}


def test_a_name_that_is_no_text_is_not_sent(bare: Path, tmp_path: Path) -> None:
    (bare / os.fsdecode(b"caf\xe9.txt")).write_text("content")
    package = measure_package(bare)
    assert package.notice == r"not sent: caf\udce9.txt (a name that is no text)"
    assert names_sent(bare, tmp_path / "a.zip") == {"pyproject.toml"}
    "".join(package.excludes).encode()


@pytest.mark.parametrize("refused", ["iterdir", "open"])
def test_what_cannot_be_read_is_named(
    bare: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refused: str
) -> None:
    """Root may read everything: the system's refusal is played."""
    write(bare, ["data/a.txt"])
    closed, real = bare / ("data" if refused == "iterdir" else "data/a.txt"), getattr(Path, refused)

    def refuse(path: Path, *given: object, **named: object) -> object:
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *given, **named)

    monkeypatch.setattr(Path, refused, refuse)
    with pytest.raises(UserError) as caught:
        measure_package(bare)
    assert (
        str(caught.value) == f"{closed} cannot be read (Permission denied) — make it readable, or name it in .rayignore"
    )
    assert caplog.text == ""


def test_a_project_reached_through_a_link_is_no_link_out_of_it(bare: Path, tmp_path: Path) -> None:
    write(bare, ["a.py"])
    (tmp_path / "link").symlink_to(bare)
    package = measure_package(tmp_path / "link")
    assert (set(package.files), package.left_out) == ({"pyproject.toml", "a.py"}, {})


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

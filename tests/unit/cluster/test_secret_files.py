"""Which files may hold secrets, by their names and by what links lead to."""

import os

import pytest

from synrl_ray.cluster.secret_files import gitignore_patterns, reason_to_leave_out


@pytest.fixture
def root(tmp_path):
    root = (tmp_path / "project").resolve()
    root.mkdir()
    return root


def touch(root, name):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize(
    "name",
    [
        ".env", ".env.local", "prod.env", "key.pem", "KEY.PEM", "a/b/server.key", "id_rsa", "id_rsa.old", ".SSH",
        "deep/.aws", ".config/gcloud", "x/.config/gcloud", "client_secret_12.json", ".netrc", "odd\nname.pem",
        "auth_token",
    ],
)  # fmt: skip
def test_names_that_stand_for_secrets_at_any_depth_and_in_any_case(root, name):
    assert reason_to_leave_out(touch(root, name), root) == "may hold secrets"


@pytest.mark.parametrize(
    "name", ["environment.py", ".environment", "key.pem.py", "id_file", "gcloud", "config.json", "tokens.txt", "pem"]
)
def test_other_names_are_sent(root, name):
    assert reason_to_leave_out(touch(root, name), root) is None


def test_folders_are_sent_and_what_is_no_file_is_not(root):
    (root / "folder").mkdir()
    os.mkfifo(root / "pipe")
    assert reason_to_leave_out(root / "folder", root) is None
    assert reason_to_leave_out(root / "pipe", root) == "no regular file"
    assert reason_to_leave_out(touch(root, os.fsdecode(b"caf\xe9")), root) == "a name that is no text"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("inside.txt", None),
        ("folder", None),
        ("folder/deep", None),
        ("nowhere", "a link to nothing"),
        ("link", "a link to nothing"),
        ("..", "a link out of the project"),
        ("../elsewhere", "a link out of the project"),
        (".", "a link to a folder around it"),
        (".ssh", "a link to what may hold secrets"),
        (".ssh/config", "a link to what may hold secrets"),
        ("folder/.ssh/config", "a link to what may hold secrets"),
        ("folder/key.pem", "a link to what may hold secrets"),
    ],
)
def test_a_link_is_judged_by_what_it_leads_to(root, target, reason):
    for name in ("inside.txt", "folder/deep/file", ".ssh/config", "folder/.ssh/config", "folder/key.pem"):
        touch(root, name)
    touch(root.parent, "elsewhere")
    (root / "link").symlink_to(target)
    assert reason_to_leave_out(root / "link", root) == reason


def test_a_link_in_a_folder_to_that_folder_would_be_walked_for_ever(root):
    touch(root, "a/b/file")
    for target in ("..", "../.."):
        link = root / "a" / "b" / "up"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        assert reason_to_leave_out(link, root) == "a link to a folder around it"


def test_patterns_for_ray_and_git_are_found_at_any_depth():
    patterns = gitignore_patterns()
    assert {".env", "*.pem", "*.PEM", "**/.config/gcloud", "**/.docker/config.json"} <= set(patterns)
    assert "ID_RSA*" not in patterns
    assert all(pattern.startswith("**/") for pattern in patterns if "/" in pattern)
    assert not any(pattern.startswith("**/") for pattern in patterns if "/" not in pattern.removeprefix("**/"))

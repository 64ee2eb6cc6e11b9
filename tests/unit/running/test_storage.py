"""Copies of run folders elsewhere: what is sent, in which order, and what comes back."""

import json
from pathlib import Path

import fsspec
import pytest

from synrl_ray.errors import UserError
from synrl_ray.running.storage import FolderCopy, Storage, is_url


@pytest.fixture
def run(tmp_path):
    """A run's folder with two checkpoints."""
    folder = tmp_path / "run"
    for name in ("checkpoint.old/a", "checkpoint/a", "tensorboard/events", "config.json", "policy.json", "result.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


@pytest.fixture(params=["path", "file", "memory"])
def url(request, tmp_path):
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
    return {"path": "", "file": "file://", "memory": "memory://"}[request.param] + f"{tmp_path}/there/run"


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_copy_comes_back_as_it_went(run, url, tmp_path):
    Storage(url).push(run)
    Storage(url).pull(tmp_path / "back")
    assert names(tmp_path / "back") == names(run)
    assert all((tmp_path / "back" / name).read_text() == name for name in names(run))


def test_only_the_policy_comes_back_for_an_evaluation(run, url, tmp_path):
    Storage(url).push(run)
    Storage(url).pull(tmp_path / "back", policy_only=True)
    assert names(tmp_path / "back") == {"config.json", "policy.json", "result.json"}


def test_a_second_push_sends_what_has_changed_and_removes_what_is_gone(run, url, tmp_path, monkeypatch):
    storage = Storage(url)
    storage.push(run)
    sent = []
    put = type(storage._fs).put_file
    monkeypatch.setattr(
        type(storage._fs), "put_file", lambda fs, a, b, **k: (sent.append(Path(b).name), put(fs, a, b, **k))
    )
    (run / "config.json").write_text("changed")
    (run / "policy.json").unlink()
    storage.push(run)
    assert sent == ["config.json"]
    storage.pull(tmp_path / "back")
    assert names(tmp_path / "back") == names(run)
    assert (tmp_path / "back/config.json").read_text() == "changed"


def test_the_older_checkpoint_goes_first_and_the_result_last(run, tmp_path, monkeypatch):
    storage, sent = Storage(str(tmp_path / "there")), []
    monkeypatch.setattr(type(storage._fs), "put_file", lambda fs, a, b, **k: sent.append(b.partition("there/")[2]))
    storage.push(run)
    assert sent[:2] == ["checkpoint.old/a", "checkpoint/a"]
    assert sent[-1] == "result.json"


def test_a_place_is_free_if_it_is_empty_or_new_and_nothing_is_left_there(run, url):
    storage = Storage(url)
    storage.require_free(run)
    assert storage._names() == []
    storage.push(run)
    with pytest.raises(UserError, match="holds a run") as caught:
        storage.require_free(run)
    assert f"--resume {url}" in caught.value.remedy


def test_bad_places_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="nonsense"):
        Storage("nonsense://bucket/run")
    with pytest.raises(UserError, match="file/run cannot be written"):
        Storage(str(tmp_path / "file/run")).require_free(tmp_path / "run")
    with pytest.raises(UserError, match="is empty"):
        Storage(str(tmp_path / "nothing")).pull(tmp_path / "back")


@pytest.mark.parametrize("place", ["", "inside", ".."])
def test_a_copy_within_the_run_or_around_it_is_refused(run, place):
    with pytest.raises(UserError, match="lie in one another"):
        Storage(str(run / place)).require_free(run)


def test_the_copy_of_an_ended_run_is_completed_once(run, tmp_path, monkeypatch):
    (run / "result.json").write_text("{}")
    FolderCopy(run).complete()  # none is noted
    FolderCopy(run).note(str(tmp_path / "there"))
    FolderCopy(run).complete()
    assert names(tmp_path / "there") == names(run)
    monkeypatch.setattr(Storage, "push", lambda *_: pytest.fail("it is complete"))
    FolderCopy(run).complete()


def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, monkeypatch):
    storage = Storage(str(tmp_path))
    monkeypatch.setattr(storage, "_names", lambda: ["../../evil"])
    with pytest.raises(UserError, match="evil"):
        storage.pull(tmp_path / "a/b")


def test_a_folder_remembers_its_copy(run, tmp_path):
    FolderCopy(run).update()  # none is noted
    assert not (tmp_path / "there").exists()
    FolderCopy(run).note(str(tmp_path / "there"))
    FolderCopy(run).update()
    assert names(tmp_path / "there") == names(run)
    (run / "storage.json").write_text(json.dumps([]))
    with pytest.raises(UserError, match=r"storage.json is damaged"):
        FolderCopy(run).update()


def test_urls_are_told_from_paths():
    assert is_url("s3://bucket/runs")
    assert not is_url("/mnt/nfs/runs")

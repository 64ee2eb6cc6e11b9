"""Places for copies of run folders: what is sent, in which order, what comes back, and what stays untouched."""

import errno
import itertools
import json
import os
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest

from synrl_ray.errors import UserError
from synrl_ray.running.checkpoints import Checkpoints, Position
from synrl_ray.running.storage import CLAIM, Claim, Storage, is_url

RUN, OTHER = "a" * 32, "b" * 32


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


def claimed(url) -> Storage:
    storage = Storage(url)
    storage.claim(RUN)
    return storage


def put(url, name, content="theirs"):
    """A file that no run has put there."""
    fs, root = fsspec.core.url_to_fs(url)
    fs.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
    fs.pipe_file(f"{root}/{name}", content.encode())


def read(url, name):
    fs, root = fsspec.core.url_to_fs(url)
    return fs.cat_file(f"{root}/{name}").decode()


def test_a_copy_comes_back_as_it_went(run, url, tmp_path):
    claimed(url).push(run, RUN)
    Storage(url).pull(tmp_path / "back")
    assert names(tmp_path / "back") == names(run)
    assert all((tmp_path / "back" / name).read_text() == name for name in names(run))


def test_only_the_policy_comes_back_for_an_evaluation(run, url, tmp_path):
    claimed(url).push(run, RUN)
    Storage(url).pull(tmp_path / "back", policy_only=True)
    assert names(tmp_path / "back") == {"config.json", "policy.json", "result.json"}


def test_a_second_push_sends_what_has_changed_and_removes_what_is_gone(run, url, tmp_path, monkeypatch):
    storage = claimed(url)
    storage.push(run, RUN)
    sent = []
    put_file = type(storage._fs).put_file
    monkeypatch.setattr(
        type(storage._fs), "put_file", lambda fs, a, b, **k: (sent.append(Path(b).name), put_file(fs, a, b, **k))
    )
    (run / "config.json").write_text("changed")
    (run / "policy.json").unlink()
    storage.push(run, RUN)
    assert sent == ["config.json"]
    storage.pull(tmp_path / "back")
    assert names(tmp_path / "back") == names(run)
    assert (tmp_path / "back/config.json").read_text() == "changed"


def test_a_copy_never_deletes_what_the_run_has_not_put_there(run, url, tmp_path):
    for name in ("notes.txt", "checkpoint/theirs", "deep/er/data"):
        put(url, name)
    storage = claimed(url)
    storage.push(run, RUN)
    (run / "checkpoint" / "a").unlink()
    storage.push(run, RUN)
    Storage(url).push(run, RUN)  # another process, which remembers nothing
    assert [read(url, name) for name in ("notes.txt", "checkpoint/theirs", "deep/er/data")] == ["theirs"] * 3
    Storage(url).pull(tmp_path / "back")
    assert names(tmp_path / "back") == names(run), "what others have put there is no part of the run"


def test_what_a_push_that_was_cut_short_has_put_there_is_still_removed(run, url, monkeypatch):
    storage = claimed(url)

    def fail(*arguments, **options):
        raise OSError("no network")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "_write_claim", lambda claim: (Storage._write_claim(storage, claim), fail()))
        with pytest.raises(UserError, match="no network"):
            storage.push(run, RUN)
    put(url, "policy.json", "half")
    (run / "policy.json").unlink()
    Storage(url).push(run, RUN)
    assert not Storage(url).has("policy.json")


def test_the_older_checkpoint_goes_first_and_the_result_last(run, tmp_path, monkeypatch):
    storage, sent = claimed(str(tmp_path / "there")), []
    monkeypatch.setattr(type(storage._fs), "put_file", lambda fs, a, b, **k: sent.append(b.partition("there/")[2]))
    storage.push(run, RUN)
    assert sent[:2] == ["checkpoint.old/a", "checkpoint/a"]
    assert sent[-1] == "result.json"


@pytest.mark.parametrize("died_at", range(20))
def test_a_push_that_is_cut_short_anywhere_leaves_a_whole_checkpoint(tmp_path, monkeypatch, died_at):
    """Also where the checkpoints have files of other names: those that are gone made both look damaged."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "me"))
    (tmp_path / "run").mkdir()
    checkpoints, storage = Checkpoints(tmp_path / "run"), claimed(str(tmp_path / "there"))

    def save(number):
        def write(path):
            path.mkdir()
            (path / f"only-{number}").write_text("x")

        checkpoints.save(write, Position(iteration=number))

    for number in (1, 2, 3):
        save(number)
        storage.push(tmp_path / "run", RUN)
    save(4)
    calls = itertools.count()

    def dying(call):
        def may_die(*arguments, **options):
            if next(calls) == died_at:
                raise OSError("no network")
            return call(*arguments, **options)

        return may_die

    for name in ("put_file", "rm_file", "makedirs"):
        monkeypatch.setattr(type(storage._fs), name, dying(getattr(type(storage._fs), name)))
    with suppress(UserError):
        storage.push(tmp_path / "run", RUN)
    assert Checkpoints(tmp_path / "there").newest().position.iteration in (2, 3, 4)


@pytest.mark.parametrize("first", [True, False])
def test_a_claim_that_cannot_be_written_to_its_end_is_not_there_by_half(run, tmp_path, monkeypatch, first):
    """A full disk or a killed process left an empty one: the copy could neither be fetched nor gone on with."""
    storage = Storage(str(tmp_path / "there"))
    if not first:
        storage.claim(RUN)
        storage.push(run, RUN)
        (run / "more").write_text("")

    def fail(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(UserError, match="No space left on device"):
            storage.claim(RUN) if first else storage.push(run, RUN)
    assert not [path for path in (tmp_path / "there").iterdir() if path.name.startswith(".")]
    again = Storage(str(tmp_path / "there"))
    again.claim(RUN)
    again.push(run, RUN)


def test_a_place_is_free_if_it_is_empty_or_new_and_nothing_is_left_there(run, url):
    storage = Storage(url)
    storage.require_free(run)
    assert storage._names() == []
    claimed(url).push(run, RUN)
    with pytest.raises(UserError, match="holds another run") as caught:
        storage.require_free(run)
    assert f"--resume {url}" in caught.value.remedy or not is_url(url)
    storage.require_free(run, RUN)


def test_the_second_of_two_runs_with_one_place_is_refused_at_its_start(run, url):
    claimed(url)
    with pytest.raises(UserError, match="holds another run"):
        Storage(url).claim(OTHER)
    Storage(url).claim(RUN)  # the run itself goes on


def test_two_runs_that_come_at_the_same_moment_are_told_apart(url, monkeypatch):
    storage = Storage(url)
    create = storage._create_claim

    def a_moment_later(claim):
        if storage._local_root() is None:  # the last one to write has the place
            create(claim)
            Storage(url)._write_claim(Claim(OTHER))
        else:  # the first one
            Storage(url).claim(OTHER)
            create(claim)

    monkeypatch.setattr(storage, "_create_claim", a_moment_later)
    with pytest.raises(UserError, match="holds another run"):
        storage.claim(RUN)


@pytest.mark.parametrize("claim", [Claim(OTHER).to_json(), None])
def test_every_push_looks_whose_the_place_is(run, url, claim):
    storage = claimed(url)
    storage.push(run, RUN)
    fs, root = fsspec.core.url_to_fs(url)
    if claim is None:
        fs.rm_file(f"{root}/{CLAIM}")
    else:
        put(url, CLAIM, claim)
    (run / "config.json").write_text("changed")
    (run / "policy.json").unlink()
    with pytest.raises(UserError, match="holds another run"):
        storage.push(run, RUN)
    assert (read(url, "config.json"), read(url, "policy.json")) == ("config.json", "policy.json")


def test_a_copy_of_a_version_without_claims_is_adopted_whole(run, url, tmp_path):
    for name in names(run):
        put(url, name, name)
    with pytest.raises(UserError, match="holds another run"):
        Storage(url).claim(RUN)
    Storage(url).claim(RUN, adopt=True)
    (run / "policy.json").unlink()
    Storage(url).push(run, RUN)
    Storage(url).pull(tmp_path / "back")
    assert names(tmp_path / "back") == names(run)


HOSTILE = ["../x", "/etc/x", "a/../../x", "", ".", "a//b", "a\nb", 3, None]


@pytest.mark.parametrize(
    "claim",
    ["", "{", "[]", "null", '{"format": 1}', '{"format": 2}', "[" * 100_000]
    + [json.dumps({"format": 1, "run": run, "files": []}) for run in ("", "x" * 32, 7, "A" * 32, "0" * 31)]
    + [json.dumps({"format": 1, "run": "0" * 32, "files": [name]}) for name in HOSTILE]
    + [json.dumps({"format": 1, "run": "0" * 32, "files": "abc"})],
)
def test_a_damaged_or_hostile_claim_is_a_line(url, claim, tmp_path):
    put(url, CLAIM, claim)
    for action in (lambda: Storage(url).claim(RUN), lambda: Storage(url).pull(tmp_path / "back")):
        with pytest.raises(UserError, match=r"synrl-copy.json is damaged") as caught:
            action()
        assert "\n" not in str(caught.value)


def test_links_are_neither_sent_nor_written_through_nor_fetched(run, tmp_path):
    there, secret = tmp_path / "there", tmp_path / "secret"
    secret.write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    (run / "link").symlink_to(secret)
    (run / "links").symlink_to(tmp_path / "elsewhere")
    storage = claimed(str(there))
    storage.push(run, RUN)
    assert {"link", "links"}.isdisjoint(path.name for path in there.iterdir())

    (there / "config.json").unlink()
    (there / "config.json").symlink_to(secret)  # a stranger's copy: fetching it would bring the secret along
    storage.pull(tmp_path / "back")
    assert "config.json" not in names(tmp_path / "back")
    (run / "config.json").write_text("changed")
    with pytest.raises(UserError, match=r"a link, or what is no file, in the place of config.json"):
        storage.push(run, RUN)
    assert secret.read_text() == "secret"

    (there / "config.json").unlink()
    os.rename(there / "checkpoint", tmp_path / "elsewhere" / "checkpoint")
    (there / "checkpoint").symlink_to(tmp_path / "elsewhere" / "checkpoint")
    (run / "checkpoint" / "a").write_text("new")
    with pytest.raises(UserError, match="in the place of checkpoint/a"):
        storage.push(run, RUN)
    assert (tmp_path / "elsewhere/checkpoint/a").read_text() == "checkpoint/a"


def test_a_pipe_in_the_place_of_the_claim_is_not_waited_for(tmp_path):
    (tmp_path / "there").mkdir()
    os.mkfifo(tmp_path / "there" / CLAIM)
    with pytest.raises(UserError, match="no file"):
        Storage(str(tmp_path / "there")).claim(RUN)


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


def test_colons_in_a_path_are_no_chain_of_places(run, tmp_path):
    storage = Storage(str(tmp_path / "my::runs"))
    storage.claim("a" * 32)
    assert (tmp_path / "my::runs" / CLAIM).exists()
    assert not (tmp_path / "my").exists()


def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, monkeypatch):
    storage = Storage(str(tmp_path))
    monkeypatch.setattr(storage, "_names", lambda: ["../../evil"])
    with pytest.raises(UserError, match="evil"):
        storage.pull(tmp_path / "a/b")


def test_urls_are_told_from_paths():
    assert is_url("s3://bucket/runs")
    assert not is_url("/mnt/nfs/runs")

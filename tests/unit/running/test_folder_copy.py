"""A run folder's copy: what the folder says of its place counts only under this user's key, for this very folder."""

import json
import os
import shutil
from dataclasses import replace

import pytest

from synrl_ray.api.places import fetched
from synrl_ray.cli import main
from synrl_ray.errors import UserError
from synrl_ray.registry import get_experiment
from synrl_ray.results import Result
from synrl_ray.running import seeds
from synrl_ray.running.folder_copy import FolderCopy
from synrl_ray.running.run_folder import Position, RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.storage import Storage

RESULT = Result(experiment="x", policy="ann", score="loss", figures={"loss": 1.0}, protocol={})
SPEC = RunSpec(experiment=get_experiment("sinusoid-maml"), policy="ann", seed=0, num_workers=0)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "me"))
    return tmp_path / "me"


def write(path):
    path.mkdir()
    (path / "state").write_text("")


@pytest.fixture
def run(tmp_path):
    """A run whose checkpoints are no pickles: nothing else asks whose it is."""
    folder = RunFolder.create(tmp_path / "run", SPEC)
    folder.save_checkpoint(write, Position(iteration=1))
    return folder


@pytest.fixture
def no_training(monkeypatch):
    """Resuming gets as far as Ray."""

    class Reached(Exception):
        pass

    def reach(*arguments, **options):
        raise Reached

    monkeypatch.setattr(seeds, "ray_session", reach)
    return Reached


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1)
    return err


def test_a_folder_remembers_its_copy(run, tmp_path):
    run.copy.update()  # none is noted
    run.copy.begin(str(tmp_path / "there"))
    again = FolderCopy(run.path)
    assert again.target == run.copy.target
    again.update()
    assert (tmp_path / "there/config.json").read_bytes() == (run.path / "config.json").read_bytes()
    assert not (tmp_path / "there/storage.json").exists()


def test_the_copy_of_an_ended_run_is_completed_once(run, tmp_path, monkeypatch):
    run.write_result(RESULT)
    FolderCopy(run.path).complete()  # none is noted
    run.copy.begin(str(tmp_path / "there"))
    FolderCopy(run.path).complete()
    assert (tmp_path / "there/result.json").exists()
    monkeypatch.setattr(Storage, "push", lambda *_: pytest.fail("it is complete"))
    FolderCopy(run.path).complete()


@pytest.mark.parametrize("content", ["", "[]", "{", "{}", "null", "[" * 100_000])
def test_a_damaged_note_is_a_line(run, content):
    (run.path / "storage.json").write_text(content)
    with pytest.raises(UserError, match=r"storage.json is damaged"):
        _ = FolderCopy(run.path).target


def strangers_note(run, url):
    """As the version before wrote it, and as a stranger would."""
    (run.path / "storage.json").write_text(json.dumps({"url": url, "run": "0" * 32, "hmac": "0" * 64}))


@pytest.mark.parametrize("options", [[], ["--trust"]])
def test_resuming_never_touches_a_place_that_a_strangers_folder_names(run, tmp_path, capsys, options, no_training):
    """It was pushed there, overwrote and deleted what lay there, before any check."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    strangers_note(run, str(mine))
    line = refused(capsys, "train", "--resume", str(run.path), *options)
    assert f"names '{mine}' as the place of its copy, which you have not told it on this machine" in line
    assert "add --storage" in line
    assert [(path.name, path.read_text()) for path in mine.iterdir()] == [("thesis.tex", "years of work")]


def test_an_ended_run_of_a_stranger_is_not_copied_either(run, tmp_path, capsys):
    run.write_result(RESULT)
    strangers_note(run, str(tmp_path / "mine"))
    refused(capsys, "train", "--resume", str(run.path))
    assert not (tmp_path / "mine").exists()


def test_the_place_may_be_given_again(run, tmp_path, no_training):
    strangers_note(run, str(tmp_path / "elsewhere"))
    with pytest.raises(no_training):
        main(["train", "--resume", str(run.path), "--storage", str(tmp_path / "there")])
    assert FolderCopy(run.path).target.url == str(tmp_path / "there")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("change", ["moved", "copied", "url", "run"])
def test_a_note_counts_for_its_folder_place_and_run_only(run, tmp_path, change):
    run.copy.begin(str(tmp_path / "there"))
    path = run.path
    if change in ("moved", "copied"):
        path = tmp_path / "other"
        shutil.copytree(run.path, path) if change == "copied" else os.rename(run.path, path)
    else:
        note = json.loads((path / "storage.json").read_text())
        (path / "storage.json").write_text(json.dumps({**note, change: {"url": "/x", "run": "0" * 32}[change]}))
    with pytest.raises(UserError, match="which you have not told it"):
        _ = FolderCopy(path).target


def test_a_run_that_was_moved_goes_on_with_its_copy_when_that_is_named_again(run, tmp_path, no_training):
    run.copy.begin(str(tmp_path / "there"))
    run.copy.update()
    before = run.copy.target
    os.rename(run.path, tmp_path / "moved")
    with pytest.raises(no_training):
        main(["train", "--resume", str(tmp_path / "moved"), "--storage", str(tmp_path / "there")])
    assert FolderCopy(tmp_path / "moved").target == before


def test_a_new_run_is_refused_a_place_that_another_has_claimed(run, tmp_path, capsys):
    run.copy.begin(f"{tmp_path}/there/sinusoid-maml/ann-seed0")
    options = ["--policy", "ann", "--run-dir", str(tmp_path / "new"), "--storage", str(tmp_path / "there")]
    assert "holds another run" in refused(capsys, "train", "sinusoid-maml", *options)
    assert not (tmp_path / "new").exists()


def test_a_fetched_copy_points_to_where_it_was_fetched_from(run, tmp_path):
    run.copy.begin(str(tmp_path / "there"))
    strangers_note(run, "/somewhere")  # even if its own folder names another place by then
    run.copy.update()
    shutil.copy(run.path / "storage.json", tmp_path / "there/storage.json")
    url = f"file://{tmp_path}/there"
    folder = fetched(url, tmp_path / "back")
    target = FolderCopy(folder).target
    assert target.url == url
    (folder / "checkpoint/position.json").unlink()
    FolderCopy(folder).update()
    assert not (tmp_path / "there/checkpoint/position.json").exists()


def test_a_place_has_one_run_also_after_its_copy_was_fetched(run, tmp_path):
    """Both went on pushing there under one id, and mixed their checkpoints."""
    url = f"file://{tmp_path}/there"
    run.copy.begin(url)
    run.copy.update()
    folder = RunFolder(fetched(url, tmp_path / "back"))
    with pytest.raises(UserError, match="holds another run"):
        run.copy.update()
    folder.save_checkpoint(write, Position(iteration=2))
    folder.copy.update()
    assert RunFolder(tmp_path / "there").checkpoint().position.iteration == 2


def test_a_copy_comes_into_a_folder_with_the_lock_of_a_killed_process(run, tmp_path):
    run.copy.begin(str(tmp_path / "there"))
    run.copy.update()
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / ".lock").write_text("")
    assert RunFolder(fetched(f"file://{tmp_path}/there", tmp_path / "back")).checkpoint() is not None


def test_a_place_that_can_only_be_read_says_where_the_run_is_now(run, tmp_path, monkeypatch, no_training):
    run.copy.begin(str(tmp_path / "there"))
    run.copy.update()
    with monkeypatch.context() as patch:

        def fail(*arguments):
            raise OSError("read-only")

        patch.setattr(Storage, "_write_claim", fail)
        with pytest.raises(UserError, match="cannot be written") as caught:
            fetched(f"file://{tmp_path}/there", tmp_path / "back")
    assert f"`synrl train --resume {tmp_path}/back`" in caught.value.remedy
    with pytest.raises(no_training):
        main(["train", "--resume", str(tmp_path / "back")])


def test_a_place_is_neither_claimed_nor_noted_for_a_run_that_is_in_use(run, tmp_path, capsys):
    run.copy.begin(str(tmp_path / "there"))
    with run.locked():
        line = refused(capsys, "train", "--resume", str(run.path), "--storage", str(tmp_path / "elsewhere"))
    assert "is in use" in line
    assert FolderCopy(run.path).target.url == str(tmp_path / "there")
    assert not (tmp_path / "elsewhere").exists()


def test_the_summary_of_several_runs_is_not_written_through_a_link(run, tmp_path, capsys):
    for seed in (0, 1):
        RunFolder.create(tmp_path / f"runs/ann-seed{seed}", replace(SPEC, seed=seed)).write_result(RESULT)
    (tmp_path / "mine").mkdir()
    (tmp_path / "runs/ann-2seeds").symlink_to(tmp_path / "mine")
    options = ["--policy", "ann", "--seeds", "2", "--run-dir", str(tmp_path / "runs")]
    refused(capsys, "train", "sinusoid-maml", *options)
    assert not list((tmp_path / "mine").iterdir())


def test_without_a_key_the_place_is_known_until_the_process_ends(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    run.copy.begin(str(tmp_path / "there"))
    run.copy.update()
    assert (tmp_path / "there/config.json").exists()
    with pytest.raises(UserError, match="which you have not told it"):
        _ = FolderCopy(run.path).target

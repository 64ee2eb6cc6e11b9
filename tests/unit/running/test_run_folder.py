import errno
import json
import os
from dataclasses import asdict

import pytest

from synrl_ray.errors import UserError
from synrl_ray.kinds.control.kind import KIND
from synrl_ray.registry import get_experiment
from synrl_ray.results import Result
from synrl_ray.running.progress import ignore
from synrl_ray.running.run_folder import Position, RunFolder
from synrl_ray.running.seeds import resume_run
from synrl_ray.running.spec import RunSpec

SPEC = RunSpec(experiment=get_experiment("cartpole-ppo"), policy="ann", seed=3, num_workers=1)


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", SPEC)


def names(path):
    return sorted(entry.name for entry in path.iterdir())


def error_line(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- creating and opening ------------------------------------------------------------------------------------


def test_new_folder_holds_its_specification_and_nothing_else(folder):
    assert names(folder.path) == ["config.json"]
    assert RunFolder.open(folder.path).spec() == SPEC


def test_empty_folder_is_free(tmp_path):
    assert RunFolder.require_free(tmp_path) is None
    assert RunFolder.create(tmp_path, SPEC).spec() == SPEC


def test_folder_of_a_run_is_not_free_and_says_how_to_go_on(folder):
    line = error_line(RunFolder.require_free, folder.path)
    assert line.startswith(f"run folder {folder.path} exists — continue it with `synrl train --resume {folder.path}`")
    assert error_line(RunFolder.create, folder.path, SPEC) == line


def test_folder_of_something_else_is_not_free(tmp_path):
    (tmp_path / "cat.png").write_bytes(b"")
    assert error_line(RunFolder.create, tmp_path, SPEC).startswith(f"{tmp_path} exists and is no run folder")
    assert names(tmp_path) == ["cat.png"]


def test_file_in_the_place_of_the_folder_is_not_free(tmp_path):
    (tmp_path / "run").write_text("")
    assert error_line(RunFolder.create, tmp_path / "run", SPEC).startswith(
        f"{tmp_path / 'run'} exists and is no run folder"
    )


def test_folder_that_cannot_be_written_is_named_with_the_reason(tmp_path):
    (tmp_path / "file").write_text("")
    line = error_line(RunFolder.create, tmp_path / "file" / "run", SPEC)
    assert line.startswith(f"run folder {tmp_path / 'file' / 'run'} cannot be written (Not a directory)")


def test_a_run_folder_may_be_a_link_to_another_disk(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "scratch")
    folder = RunFolder.create(tmp_path / "run", SPEC)
    folder.append_metrics({"iteration": 1})
    folder.save_checkpoint(lambda path: path.mkdir(), Position(iteration=1))
    with folder.locked():
        assert folder.checkpoint().position.iteration == 1


def test_a_file_in_the_place_of_a_folder_is_a_line(folder):
    (folder.path / "tensorboard").write_text("")
    with pytest.raises(UserError, match=r"cannot be written \(Not a directory: .*tensorboard"), folder.writable():
        (folder.path / "tensorboard" / "events").write_text("")


def test_a_full_disk_is_named_whatever_a_package_calls_it(folder):
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"), folder.writable():
        raise OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28]")


def test_opening_what_is_no_run_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        assert error_line(RunFolder.open, path).startswith(f"{path} is no run folder (no config.json)")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"3", b"{}", b'{"format": 1}'])
def test_damaged_specification_is_named(folder, content):
    (folder.path / "config.json").write_bytes(content)
    assert error_line(folder.spec).startswith(f"{folder.path / 'config.json'} is damaged (")


def test_specification_with_a_wrong_field_names_it(folder):
    data = SPEC.to_json()
    data["experiment"]["algorithm"]["lr"] = -1
    (folder.path / "config.json").write_text(json.dumps(data))
    assert "algorithm.lr must be > 0, got" in error_line(folder.spec)


# --- metrics ---------------------------------------------------------------------------------------------


def test_metrics_come_back_in_order(folder):
    rows = [{"iteration": i, "return_mean": None if i == 1 else float(i)} for i in (1, 2, 3)]
    for row in rows:
        folder.append_metrics(row)
    assert folder.metrics() == rows


def test_what_becomes_known_later_joins_the_row_of_its_iteration(folder):
    lines = [{"iteration": 1, "loss": 2.0}, {"iteration": 2}, {"iteration": 1, "score": 5.0}, {"iteration": 3}]
    for line in lines:
        folder.append_metrics(line)
    joined = [{"iteration": 1, "loss": 2.0, "score": 5.0}, {"iteration": 2}, {"iteration": 3}]
    assert folder.metrics() == joined
    assert folder.metrics("score") == joined[:1]
    folder.rewind_metrics(2)
    assert folder.metrics() == joined[:2]


def test_rows_are_in_order_where_only_a_later_line_of_one_can_be_read(folder):
    (folder.path / "metrics.jsonl").write_text('{"iter\n{"iteration": 2}\n{"iteration": 1, "score": 5.0}\n')
    assert folder.metrics() == [{"iteration": 1, "score": 5.0}, {"iteration": 2}]


def test_a_number_that_no_float_holds_is_a_damaged_line(folder):
    rows = f'{{"iteration": 1, "score": {10**400}}}\n{{"iteration": 2, "score": {10**300}}}\n'
    (folder.path / "metrics.jsonl").write_text(rows)
    assert folder.metrics() == [{"iteration": 2, "score": 10**300}]


def test_run_without_metrics_has_no_rows(folder):
    assert folder.metrics() == []


@pytest.mark.parametrize("torn", ['{"iteration": 3, "ret', "{", '{"iteration": 3, "name": "\\u00'])
def test_last_line_cut_short_is_left_out(folder, torn):
    (folder.path / "metrics.jsonl").write_text('{"iteration": 1}\n{"iteration": 2}\n' + torn)
    assert folder.metrics() == [{"iteration": 1}, {"iteration": 2}]


def test_rewinding_drops_later_rows_and_the_torn_line_so_that_appending_works(folder):
    (folder.path / "metrics.jsonl").write_text('{"iteration": 1}\n{"iteration": 2}\n{"iteration": 3}\n{"iter')
    folder.rewind_metrics(2)
    folder.append_metrics({"iteration": 3, "again": 1})
    assert folder.metrics() == [{"iteration": 1}, {"iteration": 2}, {"iteration": 3, "again": 1}]


def test_a_damaged_line_takes_no_other_with_it(folder):
    """It took all rows after it along, silently, for good."""
    path = folder.path / "metrics.jsonl"
    content = b'{"iteration": 1}\n{"itera\xff\x00\n{"iteration": 3}\n[]\n{"iteration": 5}\n\x00\x00'
    path.write_bytes(content)
    assert [row["iteration"] for row in folder.metrics()] == [1, 3, 5]
    (told,) = folder.rewind_metrics(3)
    assert told.startswith(f"2 lines, the first line 2, of {path} cannot be read and left out; ")
    assert told.endswith("the file as it was is metrics.jsonl.damaged")
    assert [row["iteration"] for row in folder.metrics()] == [1, 3]
    assert (folder.path / "metrics.jsonl.damaged").read_bytes() == content
    assert folder.rewind_metrics(3) == []


def test_damaged_lines_at_the_end_are_told_of_too(folder):
    """They were taken for what a crash leaves, which is a part of one line, and dropped without a word."""
    content = b'{"iteration": 1}\n{"itera\xff\x00\n[]\n{"iter'
    (folder.path / "metrics.jsonl").write_bytes(content)
    (told,) = folder.rewind_metrics(3)
    assert told.startswith("2 lines, the first line 2, of ")
    assert (folder.path / "metrics.jsonl.damaged").read_bytes() == content


@pytest.mark.parametrize("line", ["3", "[]", "null", "{}", '{"iteration": "1"}', "[" * 100_000, '{"iteration": 1e400}'])
def test_a_line_that_is_no_row_is_left_out(folder, line):
    (folder.path / "metrics.jsonl").write_text(f'{line}\n{{"iteration": 2}}\n')
    assert folder.metrics() == [{"iteration": 2}]


def test_rows_are_not_appended_through_a_link(folder, tmp_path):
    (folder.path / "metrics.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        folder.append_metrics({"iteration": 1})
    assert not (tmp_path / "elsewhere").exists()


def test_rewinding_to_the_start_leaves_no_rows(folder):
    folder.append_metrics({"iteration": 1})
    folder.rewind_metrics(0)
    assert folder.metrics() == []


def test_failed_rewinding_keeps_the_rows(folder, monkeypatch):
    folder.append_metrics({"iteration": 1})

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        folder.rewind_metrics(0)
    assert folder.metrics() == [{"iteration": 1}]


# --- result ----------------------------------------------------------------------------------------------


def test_result_is_none_before_the_end_and_comes_back_after(folder):
    assert folder.result() is None
    result = Result(experiment="x", policy="ann", score="loss", figures={"loss": 1.5}, protocol={})
    folder.write_result(result)
    assert folder.result() == result


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_damaged_result_is_named(folder, content):
    (folder.path / "result.json").write_bytes(content)
    assert error_line(folder.result).startswith(f"{folder.path / 'result.json'} is damaged")


# --- specification ---------------------------------------------------------------------------------------


def test_specification_survives_json():
    assert RunSpec.from_json(json.loads(json.dumps(SPEC.to_json()))) == SPEC
    assert asdict(SPEC)["num_workers"] == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format 2 is not known"),
        ({"policy": "lstm"}, "policy 'lstm' is not known"),
        ({"seed": "one"}, "'one'"),
        ({"experiment": []}, "must be a dictionary"),
        ({"experiment": {"id": "x"}}, "is missing"),
    ],
)
def test_damaged_specification_is_a_value_error(change, reason):
    with pytest.raises(ValueError, match=reason):
        RunSpec.from_json({**SPEC.to_json(), **change})


def test_moving_the_end_of_a_run_that_trains_elsewhere_is_refused_and_leaves_it_as_it_is(folder):
    before = (folder.path / "config.json").read_text()
    with folder.locked(), pytest.raises(UserError, match="is in use"):
        resume_run(folder.path, KIND, stop_steps=7, address=None, watch=ignore)
    assert (folder.path / "config.json").read_text() == before


def test_an_end_before_the_first_step_is_refused_and_leaves_the_run_as_it_is(folder):
    before = (folder.path / "config.json").read_text()
    with pytest.raises(UserError, match="--stop-steps 0 is too small"):
        resume_run(folder.path, KIND, stop_steps=0, address=None, watch=ignore)
    assert (folder.path / "config.json").read_text() == before


@pytest.mark.parametrize("options", [{"stop_steps": 0}, {"stop_steps": 777, "gpus_per_learner": 5.0}])
def test_a_resumption_that_is_refused_moves_neither_end_nor_copy(folder, tmp_path, options):
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    with pytest.raises(UserError):
        resume_run(
            folder.path,
            KIND,
            address=None,
            watch=ignore,
            storage=str(tmp_path / "new"),
            **{"stop_steps": None} | options,
        )
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_a_resumption_does_not_copy_a_run_into_itself(folder):
    with pytest.raises(UserError, match="lie in one another"):
        folder.copy.begin(str(folder.path / "copy"))
    assert not (folder.path / "copy").exists()


def test_folder_on_another_machine_asks_for_a_shared_one(tmp_path):
    with (
        pytest.raises(UserError, match=r"is not on this machine — .*shared folder"),
        RunFolder(tmp_path / "a").locked(),
    ):
        pass

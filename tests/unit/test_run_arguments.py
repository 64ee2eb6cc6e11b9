"""From a command's options to the runs that they describe."""

import json
from pathlib import Path

import pytest

from synrl_ray.api.places import fetched
from synrl_ray.api.specs import make_specs
from synrl_ray.errors import UserError
from synrl_ray.running.storage import Storage

OPTIONS = {"policy": None, "seed": None, "seeds": None, "num_workers": 0, "stop_steps": None, "settings": None}


def test_a_run_keeps_to_the_set_of_omniglot_that_is_at_hand(tmp_path, monkeypatch):
    archives = tmp_path / "omniglot"
    archives.mkdir()
    monkeypatch.setenv("SYNRL_DATA", str(tmp_path))
    for number in (1, 2):
        (archives / f"images_background_small{number}.zip").touch()
    [spec] = make_specs("omniglot-maml", **OPTIONS)
    assert spec.experiment.tasks.data == "omniglot-small"
    [named] = make_specs("omniglot-maml", **OPTIONS | {"settings": ["data=omniglot-background"]})
    assert named.experiment.tasks.data == "omniglot-background"


def test_a_job_finds_settings_and_policies_beside_the_runs(tmp_path, monkeypatch):
    (tmp_path / "job").mkdir()
    monkeypatch.chdir(tmp_path / "job")
    monkeypatch.setenv("SYNRL_RUN_ROOT", str(tmp_path))
    (tmp_path / "best.json").write_text(json.dumps({"initial_policy": "runs/before"}))
    [spec] = make_specs("taxi-stdp-q", **OPTIONS, config=Path("best.json"))
    assert spec.experiment.initial_policy == str(tmp_path / "runs/before")
    (tmp_path / "job/runs/before").mkdir(parents=True)  # shipped with the job
    [spec] = make_specs("taxi-stdp-q", **OPTIONS, config=Path("best.json"))
    assert spec.experiment.initial_policy == "runs/before"


def test_a_copy_is_fetched_whole_or_not_at_all(tmp_path, monkeypatch):
    there = tmp_path / "there/some-id/ann-seed0"
    there.mkdir(parents=True)
    for name in ("config.json", "metrics.jsonl"):
        (there / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    fetch, get = Storage(str(there))._fs.get_file, type(Storage(str(there))._fs)

    def breaks(fs, source, target, **options):
        if source.endswith("metrics.jsonl"):
            raise OSError("connection lost")
        fetch(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(get, "get_file", breaks)
        with pytest.raises(UserError, match="connection lost"):
            fetched(f"file://{there}", None)
    assert [path for path in tmp_path.glob("runs/**/*") if path.is_file()] == []
    path = fetched(f"file://{there}", None)
    assert path.resolve() == tmp_path / "runs/some-id/ann-seed0"
    assert sorted(entry.name for entry in path.iterdir()) == ["config.json", "metrics.jsonl", "storage.json"]

"""A study's files: read back as written, damaged ones in one line, and the best settings as `--config` takes them."""

import json
import os
from contextlib import nullcontext
from dataclasses import replace

import pytest
from studies import drawn, make_study, make_trial

from synrl_ray.errors import UserError
from synrl_ray.experiment import Choice
from synrl_ray.overrides import apply_overrides, read_settings, setting_values
from synrl_ray.registry import get_experiment
from synrl_ray.tuning import session
from synrl_ray.tuning.study_folder import StudyFolder
from synrl_ray.tuning.trials import best_trial, unfinished

STUDY = make_study("num_epochs=2..4", "spiking.reset=zero/subtract")
SETTINGS = drawn(STUDY)


@pytest.fixture
def folder(tmp_path):
    return StudyFolder.create(tmp_path / "study", STUDY)


def test_files_are_read_back_as_written(folder):
    trials = [
        make_trial(0, 1.0, 2.0, **SETTINGS),
        make_trial(1, state="failed", **SETTINGS),
        make_trial(2, -1.5, state="running", **SETTINGS),
    ]
    trials[1].error = "bad"
    folder.write_trials(trials)
    again = StudyFolder.open(folder.path)
    assert again.study() == STUDY
    assert again.trials() == trials
    assert unfinished(trials) == [trials[2]]
    assert trials[0].progress == [25.0, 50.0]


def test_the_best_has_the_highest_last_score_then_the_highest_mean():
    trials = [
        make_trial(0, 500.0, 100.0),
        make_trial(1, 100.0, 400.0),
        make_trial(2, 300.0, 400.0, state="stopped"),
        make_trial(3, 999.0, state="failed"),
        make_trial(4),
    ]
    assert best_trial(trials) is trials[2]
    assert best_trial([make_trial(0, state="failed")]) is None


def test_best_settings_make_the_round_trip_to_train(folder):
    """What is set by hand and what was found, sizes among it, gives the experiment of the trial."""
    experiment = get_experiment("cartpole-ppo")
    by_hand = apply_overrides(experiment, ["spiking.hidden_sizes=8,8", "gamma=0.9"])
    settings = setting_values(by_hand, ["spiking.hidden_sizes", "gamma"])
    path = folder.write_best({**settings, "algorithm.lr": 2e-3, "spiking.reset": "zero"})
    found = read_settings(path)
    assert found["spiking.hidden_sizes"] == [8, 8]
    again = apply_overrides(experiment, ["gamma=0.8"], found)
    assert again.spiking.hidden_sizes == (8, 8)
    assert (again.algorithm.lr, again.algorithm.gamma, again.spiking.reset) == (2e-3, 0.8, "zero")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "is no JSON"),
        ("[1]", "holds no settings"),
        ('{"lr": NaN}', "is no JSON"),
        ('{"lrr": 1}', "unknown setting 'lrr'"),
        ('{"lr": -1}', "setting 'lr' cannot be -1"),
        ('{"lr": {"a": 1}}', "setting 'lr' cannot be"),
    ],
)
def test_a_damaged_config_is_one_line(tmp_path, content, expected):
    (tmp_path / "best.json").write_text(content)
    with pytest.raises(UserError) as caught:
        apply_overrides(get_experiment("cartpole-ppo"), (), read_settings(tmp_path / "best.json"))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


DAMAGE = ["{", "[]", '{"trial": 0}', "1", "null"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("study.json", ""), *((name, content) for name in ("study.json", "trials.jsonl") for content in DAMAGE)],
)
def test_a_damaged_study_is_one_line(folder, name, content):
    folder.write_trials([make_trial(0, 1.0, **SETTINGS)])
    (folder.path / name).write_text(content)
    with pytest.raises(UserError, match="is damaged") as caught:
        folder.study(), folder.trials()
    assert "\n" not in str(caught.value)


def test_damaged_rows_are_found(folder):
    row = make_trial(0, 1.0, **SETTINGS).to_json()
    (folder.path / "trials.jsonl").write_text(json.dumps(row) + "\n")
    assert len(folder.trials()) == 1
    settings = (
        {},
        {**SETTINGS, "gamma": 0.9},
        {**SETTINGS, "spiking.reset": "maybe"},
        {**SETTINGS, "spiking.reset": "none"},  # which a setting may be, but none of these options
        {**SETTINGS, "algorithm.num_epochs": "many"},
    )
    changes = ({"trial": 1}, {"state": "lost"}, {"curve": [1]}, {"total": 0})
    for change in (*changes, *({"settings": each} for each in settings)):
        row = make_trial(0, 1.0, **SETTINGS).to_json() | change
        (folder.path / "trials.jsonl").write_text(json.dumps(row) + "\n")
        with pytest.raises(UserError, match="is damaged"):
            folder.trials()


def test_a_folder_is_held_by_one_search(folder):
    with folder.locked(), pytest.raises(UserError, match="is in use"), folder.locked():
        pass


def test_a_search_goes_on_beside_files_that_are_no_trials(folder, monkeypatch):
    """A ``.DS_Store`` ended it with a traceback, a pipe named like Tune's own folder kept it waiting for ever."""
    folder.runs.mkdir()
    (folder.runs / ".DS_Store").write_text("")
    os.mkfifo(folder.path / ".tune")

    class Reached(Exception):
        pass

    def reach(*arguments, **options):
        raise Reached

    monkeypatch.setattr(session, "ray_session", lambda *_, **__: nullcontext())
    monkeypatch.setattr(session, "_check", lambda study: None)
    monkeypatch.setattr(session, "_run_tune", reach)
    with pytest.raises(Reached):
        session.resume_study(folder.path, address=None, say=print)


def test_a_trial_that_is_a_link_to_elsewhere_is_refused_at_the_start(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "ray_session", lambda *_, **__: pytest.fail("Ray was started"))
    folder.runs.mkdir()
    (folder.runs / "0000").symlink_to(tmp_path)
    with pytest.raises(UserError, match="holds a link to elsewhere, trials/0000"):
        session.resume_study(folder.path, address=None, say=print)


def test_taken_and_missing_folders(folder, tmp_path):
    with pytest.raises(UserError, match="exists — continue it with `synrl tune --resume"):
        StudyFolder.create(folder.path, make_study())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(UserError, match="is no study folder"):
        StudyFolder.create(tmp_path / "other", make_study())
    with pytest.raises(UserError, match=r"no study\.json"):
        StudyFolder.open(tmp_path)


def test_small_choices_limit_the_trials():
    study = make_study(samples=10)
    space = {"spiking.reset": Choice(("zero", "subtract"))}
    study = replace(study, run=replace(study.run, experiment=replace(study.run.experiment, search_space=space)))
    assert study.num_trials == 2

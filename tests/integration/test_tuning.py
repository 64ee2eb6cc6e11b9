"""Searches under Tune: stopped and resumed, a trial that fails, a population that copies its best."""

from __future__ import annotations

import os
import pickle
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from synrl_ray.errors import UserError
from synrl_ray.overrides import apply_overrides, read_settings
from synrl_ray.registry import get_experiment
from synrl_ray.running.checkpoints import Checkpoints
from synrl_ray.running.run_folder import Position, RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.tuning.searching import RandomProposer
from synrl_ray.tuning.session import resume_study, search
from synrl_ray.tuning.space import search_space
from synrl_ray.tuning.study import Study
from synrl_ray.tuning.study_folder import StudyFolder
from synrl_ray.tuning.trainable import TrialTrainable

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def _study(*ranges: str, steps: int, **options: object) -> Study:
    settings = ["steps_per_iteration=20000", "interval_steps=20000", f"env_steps={steps}"]
    experiment = apply_overrides(get_experiment("taxi-q-learning"), settings)
    experiment = replace(experiment, search_space=search_space(experiment, "tabular", extra=ranges))
    run = RunSpec(experiment=experiment, policy="tabular", seed=0, num_workers=0)
    return Study(run=run, **options)  # type: ignore[arg-type]


def test_a_stopped_search_goes_on_and_keeps_what_has_ended(tmp_path: Path) -> None:
    folder = StudyFolder.create(tmp_path / "study", _study(steps=60_000, samples=3, scheduler="none", max_concurrent=1))

    def stop_at_first(line: str) -> None:
        if "trial 0 finished" in line:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="continue with `synrl tune --resume"):
        search(folder, stop_at_first)
    first = folder.trials()
    assert first[0].state == "finished"
    assert len(first) < 3 or first[2].state == "running"
    written = (folder.runs / "0000" / "metrics.jsonl").stat().st_mtime_ns

    outcome = search(folder, lambda line: None)
    assert [trial.state for trial in outcome.trials] == ["finished"] * 3
    assert outcome.trials[0] == first[0]
    assert (folder.runs / "0000" / "metrics.jsonl").stat().st_mtime_ns == written
    for trial in outcome.trials:
        assert [steps for steps, _ in trial.curve] == [20_000, 40_000, 60_000]
        rows = RunFolder.open(folder.runs / trial.name).metrics()
        assert [-row["evaluation_regret"] for row in rows] == [score for _, score in trial.curve]
    assert outcome.best.score == max(trial.score or 0 for trial in outcome.trials)
    assert read_settings(folder.path / "best.json") == outcome.best.settings
    assert {path.name for path in folder.path.iterdir()} == {
        "study.json", "trials.jsonl", "best.json", "tuning.png", "trials",
    }  # fmt: skip


def test_a_trial_that_fails_does_not_end_the_search(tmp_path: Path) -> None:
    """A checkpoint that cannot be read stands for whatever goes wrong in a trial."""
    folder = StudyFolder.create(tmp_path / "study", _study(steps=20_000, samples=2, scheduler="none"))
    broken = folder.runs / "0000" / "checkpoint"
    broken.mkdir(parents=True)
    (broken / "seal.json").write_text("{")
    outcome = search(folder, lambda line: None)
    assert [trial.state for trial in outcome.trials] == ["failed", "finished"]
    assert "is damaged" in str(outcome.trials[0].error)
    assert outcome.best.index == 1


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_search_neither_executes_what_lies_in_a_new_trials_folder_nor_trains_in_one_that_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _study(steps=20_000, samples=3, scheduler="none")
    folder = StudyFolder.create(tmp_path / "study", study)
    planted, used = (RunFolder.create(folder.runs / name, study.run) for name in ("0000", "0001"))
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path / "stranger"))

        def write(path: Path) -> None:
            path.mkdir()
            for name in ("algorithm_state.pkl", "class_and_ctor_args.pkl", "state.pkl"):
                (path / name).write_bytes(pickle.dumps(Trap(tmp_path / "executed")))

        planted.save_checkpoint(write, Position(iteration=1, steps=2000))
    with pytest.raises(UserError, match="was not made by you"):
        resume_study(folder.path, address=None, say=print)
    with used.locked():
        outcome = search(folder, lambda line: None)
    assert [trial.state for trial in outcome.trials] == ["failed", "failed", "finished"]
    assert "was not made by you" in str(outcome.trials[0].error)
    assert "0001 is in use" in str(outcome.trials[1].error)
    assert not (tmp_path / "executed").exists()


def test_a_population_trains_with_the_settings_that_it_is_given(tmp_path: Path) -> None:
    """Whether one of two short trials takes over the other's settings depends on when they start; both end either way,
    trained with the settings that are written down."""
    study = _study(steps=80_000, samples=2, scheduler="pbt")
    folder = StudyFolder.create(tmp_path / "study", study)
    outcome = search(folder, lambda line: None)
    assert [(trial.state, trial.error) for trial in outcome.trials] == [("finished", None)] * 2
    for trial in outcome.trials:
        run = RunFolder.open(folder.runs / trial.name)
        spec = run.spec()
        assert spec == study.trial(trial.settings)
        last = run.metrics()[-1]
        assert last["env_steps"] == 80_000
        assert last["plasticity_epsilon"] == pytest.approx(spec.experiment.algorithm.epsilon_at(80_000))  # type: ignore[union-attr]


@pytest.mark.parametrize("whose", ["mine", "a stranger's"])
def test_a_checkpoint_that_is_handed_on_stays_whose_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """Plain tensors are taken from anybody; what lay beside them got this user's seal, and so could be executed."""
    source = tmp_path / "tune"
    source.mkdir()

    def write(path: Path) -> None:
        path.mkdir()
        (path / "learner.pkl").write_text("evil")

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / whose))
    Checkpoints(source).save(write, Position())
    (source / "metrics.json").write_text("[]")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "mine"))
    trial = TrialTrainable.__new__(TrialTrainable)
    trial.spec = RunSpec(experiment=get_experiment("sinusoid-maml"), policy="ann", seed=0, num_workers=0)
    trial.study = Study(run=trial.spec, samples=1)
    trial.trust, trial.runs = False, tmp_path / "trials"
    trial.folder = RunFolder(trial.runs / "0000")
    trial.load_checkpoint(source)
    trial.cleanup()
    found = trial.folder.checkpoint()
    assert found is not None
    assert found.is_own == (whose == "mine")


def test_a_trial_goes_on_in_another_actor_while_the_one_that_had_it_waits_for_the_next(tmp_path: Path) -> None:
    """Tune keeps the actor of a paused trial, and gives the trial to whichever is free: the lock must not stay."""
    study = _study(steps=60_000, samples=2)
    first, second = (TrialTrainable.__new__(TrialTrainable) for _ in range(2))
    config = RandomProposer(study, []).propose(0)
    for actor, name in ((first, "0000"), (second, "0001")):
        actor._trial_info = SimpleNamespace(trial_name=name)
        actor.setup(config, study=study.to_json(), folder=str(tmp_path), trust=False)
        assert actor.step()["steps"] == 20_000
    first.save_checkpoint(str(tmp_path / "copy"))
    second._trial_info = first._trial_info
    second.reset_config(config)
    second.load_checkpoint(tmp_path / "copy")
    assert second.step()["steps"] == 40_000
    with pytest.raises(UserError, match="0000 is in use"), second.folder.locked():
        second.step()
    for actor in (first, second):
        actor.cleanup()

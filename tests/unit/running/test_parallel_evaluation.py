"""Evaluations and copies parallel to training: the loop, with a stand-in for the evaluator."""

import json
import os
import signal
from dataclasses import replace
from threading import Event

import pytest
from stand_in import EVALUATION, spec_of, steps

from synrl_ray.errors import UserError
from synrl_ray.experiment import Stopping, Target
from synrl_ray.kinds.control.kind import KIND
from synrl_ray.running import training
from synrl_ray.running.folder_copy import FolderCopy
from synrl_ray.running.parallel_copy import ParallelCopy
from synrl_ray.running.parallel_evaluation import Found
from synrl_ray.running.progress import ignore
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.training import Interrupted
from synrl_ray.tuning.trainable import _Continued

PARALLEL = replace(EVALUATION, parallel_to_training=True)  # due at 300, 500, 800 and 1000


class StandInEvaluator:
    """Knows what it has found once it was asked ``patience`` times, or is waited for."""

    patience = 2

    def __init__(self):
        self.begun, self.is_closed, self.under_way = [], False, None

    @property
    def is_under_way(self):
        return self.under_way is not None

    def start(self):
        assert not self.begun

    def begin(self, judging, position):
        assert not self.is_under_way
        self.begun.append(position.steps)
        self.under_way, self.asked = Found(position, judging()), 0

    def take(self, *, wait):
        self.asked = getattr(self, "asked", 0) + 1
        if self.is_under_way and (wait or self.asked == self.patience):
            found, self.under_way = self.under_way, None
            return found
        return None

    def close(self):
        self.is_closed = True


@pytest.fixture
def evaluators(monkeypatch):
    made = []

    def make():
        made.append(StandInEvaluator())
        return made[-1]

    monkeypatch.setattr(training, "ParallelEvaluation", make)
    return made


def judged(lab):
    return {row["env_steps"]: row.get("evaluation_return_mean") for row in lab.folder.metrics("evaluation_return_mean")}


def test_results_are_joined_to_the_steps_of_their_policies(lab, evaluators):
    lab.score = lambda count: 10.0 * count
    result = lab.run(spec_of(evaluation=PARALLEL, target=Target(mean_return=20.0, source="made up")))
    assert judged(lab) == {300: 10.0, 500: 20.0, 800: 30.0, 1000: 40.0}
    assert steps(lab) == list(range(100, 1001, 100))
    assert result.training[0].steps_to_target == 500
    lines = [json.loads(line) for line in (lab.folder.path / "metrics.jsonl").read_text().splitlines()]
    written = [line["env_steps"] for line in lines]
    assert written == [100, 200, 300, 400, 300, 500, 600, 500, 700, 800, 900, 800, 1000, 1000], "appended when known"
    assert lab.evaluated == [(EVALUATION.first_seed + 3, 2)] * 4 + [(EVALUATION.first_seed, 3)]
    assert evaluators[0].is_closed


def test_rows_are_those_of_a_run_that_judges_in_between(lab, evaluators, tmp_path):
    lab.score = lambda count: 10.0 * count
    lab.run(spec_of(evaluation=PARALLEL))
    timed = ("wall_seconds", "env_steps_per_second")
    rows = [{name: value for name, value in row.items() if name not in timed} for row in lab.folder.metrics()]
    os.rename(tmp_path / "run", tmp_path / "before")
    lab.evaluated.clear()
    lab.run(spec_of())
    assert rows == [{name: row[name] for name in row if name not in timed} for row in lab.folder.metrics()]


def test_the_next_one_waits_and_so_does_the_end(lab, evaluators, monkeypatch):
    monkeypatch.setattr(StandInEvaluator, "patience", 1000)
    lab.run(spec_of(evaluation=PARALLEL, stopping=Stopping(env_steps=600)))
    assert evaluators[0].begun == [300, 500]
    assert list(judged(lab)) == [300, 500]


def test_a_run_ends_once_it_is_known_that_it_may_and_says_at_which_steps(lab, evaluators, monkeypatch):
    monkeypatch.setattr(StandInEvaluator, "patience", 1)
    ends = {"stopping": Stopping(env_steps=1000, mean_return=5.0), "target": Target(mean_return=5.0, source="made up")}
    result = lab.run(spec_of(evaluation=PARALLEL, **ends))
    assert steps(lab)[-1] == 400  # the evaluation of 300 is known
    assert (result.training[0].steps_to_target, result.training[0].steps) == (300, 400)
    assert evaluators[0].begun == [300]


def test_what_is_known_when_the_next_is_due_ends_the_run_without_that(lab, evaluators, monkeypatch):
    monkeypatch.setattr(StandInEvaluator, "patience", 1000)
    lab.run(spec_of(evaluation=PARALLEL, stopping=Stopping(env_steps=1000, mean_return=5.0)))
    assert (steps(lab)[-1], evaluators[0].begun) == (500, [300])


def test_ctrl_c_drops_it_and_the_resumed_run_judges_at_once(lab, evaluators, monkeypatch):
    monkeypatch.setattr(StandInEvaluator, "patience", 1000)
    lab.at[4] = lambda: os.kill(os.getpid(), signal.SIGINT)
    lab.score = lambda count: 10.0 * count
    with pytest.raises(Interrupted):
        lab.run(spec_of(evaluation=PARALLEL))
    assert judged(lab) == {}
    assert evaluators[0].is_closed
    assert lab.folder.checkpoint().position.steps == 400
    lab.run()
    assert evaluators[1].begun == [400, 500, 800, 1000]
    assert judged(lab) == {400: 20.0, 500: 30.0, 800: 40.0, 1000: 50.0}


def test_after_a_crash_the_checkpoints_own_policy_is_judged_again(lab, evaluators, monkeypatch):
    def crash():
        raise RuntimeError("out of memory")

    monkeypatch.setattr(StandInEvaluator, "patience", 1000)
    lab.at[4] = crash
    with pytest.raises(RuntimeError, match="out of memory"):
        lab.run(spec_of(evaluation=PARALLEL))
    lab.run()
    assert evaluators[1].begun == [300, 500, 800, 1000]
    assert list(judged(lab)) == [300, 500, 800, 1000]


def test_a_resumed_run_ends_by_an_evaluation_of_before(lab, evaluators, monkeypatch):
    """That row is not the last one."""
    monkeypatch.setattr(StandInEvaluator, "patience", 1)
    lab.score = lambda count: 100.0
    lab.at[4] = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Interrupted):
        lab.run(spec_of(evaluation=PARALLEL, stopping=Stopping(env_steps=1000, mean_return=100.0)))
    assert judged(lab) == {300: 100.0}
    lab.run()
    assert (steps(lab)[-1], evaluators[1].begun) == (400, [])


def test_episodes_that_are_cut_are_told_of_once(lab, evaluators):
    lab.protocol = {"episodes_cut": 2}
    lab.run(spec_of(evaluation=PARALLEL))
    assert len(lab.folder.metrics("evaluation_episodes_cut")) == 4
    assert len([notice for progress in lab.told for notice in progress.notices]) == 1


def test_a_trial_of_a_search_waits_for_each_evaluation(lab, evaluators, tmp_path):
    spec = spec_of(evaluation=PARALLEL)
    trial = _Continued(RunFolder.create(tmp_path / "trial", spec), spec, KIND, ignore)
    assert [trial.iterate().get("evaluation_return_mean") for _ in range(4)] == [None, None, 5.0, None]
    trial.close()
    assert evaluators[-1].begun == []


@pytest.fixture
def place(monkeypatch):
    """Where the run is copied to: ``free`` lets an update end, ``errors`` are what the next ones say."""

    class Place:
        free, errors, updates = Event(), [], 0

    def update(self):
        assert Place.free.wait(60)
        Place.updates += 1
        if Place.errors:
            raise UserError(Place.errors.pop())

    monkeypatch.setattr(FolderCopy, "update", update)
    return Place


def test_training_goes_on_while_a_copy_is_made_and_its_error_is_told_with_a_row(lab, place):
    lab.at["save 500"] = lambda: pytest.fail("replaced what is being copied")
    lab.at[5] = lambda: (lab.at.pop("save 500"), place.free.set())  # until here, the copy of 300 is under way
    place.errors = ["storage is full"]
    lab.run(spec_of())
    assert place.updates == 6  # of four evaluations, the end of training and the result
    assert [(p.steps, p.notices) for p in lab.told if p.notices] == [(500, ("storage is full",))]


def test_a_run_that_fails_has_its_last_checkpoint_copied(lab, place):
    def fail():
        place.free.set()
        raise RuntimeError("out of memory")

    lab.at[4] = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        lab.run(spec_of())
    assert place.updates == 1


def test_what_is_no_error_for_the_user_is_raised(lab, place):
    place.free.set()
    place.errors = [None]
    copy = ParallelCopy(FolderCopy(None))
    copy._copy.update = lambda: 1 / 0
    copy.begin()
    with pytest.raises(ZeroDivisionError):
        copy.take(wait=True)
    assert copy.take(wait=True) == ()

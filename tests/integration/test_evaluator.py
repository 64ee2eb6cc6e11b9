"""Evaluations parallel to training, in a process of their own."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
import ray
from command import Command, with_set

from synrl_ray.errors import UserError
from synrl_ray.kinds.control.kind import KIND
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import get_experiment
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.parallel_evaluation import Columns, ParallelEvaluation
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.training import train_run

pytestmark = pytest.mark.ray

SMALL = [
    *("spiking.hidden_sizes=16,16", "train_batch_size=512", "minibatch_size=128", "num_epochs=1"),
    *("env_steps=3072", "interval_steps=1024", "interim_episodes=2", "evaluation.episodes=2"),
]
TIMED = ("wall_seconds", "env_steps_per_second", "seconds_environment", "seconds_policy", "seconds_learner")


def _rows(folder: Path, *settings: str, num_workers: int, watch: Any = lambda progress: None) -> list[dict[str, Any]]:
    experiment = apply_overrides(get_experiment("cartpole-ppo"), [*SMALL, *settings])
    run = RunFolder.create(folder, RunSpec(experiment=experiment, policy="spiking", seed=0, num_workers=num_workers))
    train_run(run, run.spec(), KIND, watch)
    return [{name: value for name, value in row.items() if name not in TIMED} for row in run.metrics()]


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("num_workers", [0, 2])
def test_rows_are_those_of_a_run_that_judges_in_between_though_the_evaluator_is_killed(
    tmp_path: Path, num_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    told: list[str] = []
    begin = ParallelEvaluation.begin

    def kill_and_begin(self: ParallelEvaluation, judging: Any, position: Position) -> None:
        if len(begun) == 1:
            process = ray.get(self._evaluator.__ray_call__.remote(lambda evaluator: os.getpid()))
            os.kill(process, signal.SIGKILL)
        begun.append(position.steps)
        begin(self, judging, position)

    monkeypatch.setattr(ParallelEvaluation, "begin", kill_and_begin)
    parallel = _rows(
        tmp_path / "parallel",
        "parallel_to_training=true",
        num_workers=num_workers,
        watch=lambda progress: told.extend(progress.notices),
    )
    assert told == [f"the evaluator died at the evaluation of {begun[1]:,} steps: it is started anew, and judges again"]
    assert parallel == _rows(tmp_path / "in-between", num_workers=num_workers)
    assert sum("evaluation_return_mean" in row for row in parallel) == 3
    names = [set(json.loads(line)) for line in (tmp_path / "parallel/metrics.jsonl").read_text().splitlines()]
    assert sum("return_mean" not in row for row in names) == 3, "each is a line of its own"


def test_an_endless_one_keeps_no_training_waiting_and_ctrl_c_drops_it(
    tmp_path: Path, synrl: Callable[..., Command]
) -> None:
    folder, mark = RunFolder(tmp_path / "run"), tmp_path / "judging"
    settings = ["env=endless_env:Endless-v0", f"environment.kwargs={json.dumps({'marks': str(tmp_path)})}"]
    settings += ["ann.hidden_sizes=8", "train_batch_size=256", "minibatch_size=64", "num_epochs=1"]
    settings += ["interval_steps=512", "env_steps=768", "interim_episodes=2", "parallel_to_training=true"]
    command = synrl("train", "cartpole-ppo", "--policy", "ann", "--run-dir", str(folder.path), *with_set(*settings))
    for _ in range(2):
        command.wait_until(lambda: mark.exists() and len(folder.metrics()) == 3)  # trained to the end meanwhile
        _, errors = command.end(signal.SIGINT, status=130)
        assert f"train --resume {folder.path}" in errors.splitlines()[-1]
        found = folder.checkpoint()
        assert found is not None
        assert found.position.steps == 768
        assert not folder.metrics("evaluation_return_mean")
        mark.unlink()
        command = synrl("train", "--resume", str(folder.path))  # judges at once what it has restored
    command.wait_until(mark.exists)


@pytest.fixture
def evaluation(local_ray: str) -> Iterator[ParallelEvaluation]:
    evaluation = ParallelEvaluation()
    yield evaluation
    evaluation.close()


def _dies() -> Columns:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def _fails() -> Columns:
    raise UserError("the environment is broken", "mend it")


def test_an_evaluation_that_kills_its_process_twice_is_missing_and_the_next_one_is_made(
    evaluation: ParallelEvaluation,
) -> None:
    evaluation.begin(_dies, Position(iteration=3, steps=2048))
    first, second = evaluation.take(wait=True), evaluation.take(wait=True)
    assert first is not None
    assert second is not None
    assert (first.columns, second.columns, second.position.iteration) == ({}, {"evaluations_missed": 1}, 3)
    died = "the evaluator died at the evaluation of 2,048 steps"
    assert first.notices == (f"{died}: it is started anew, and judges again",)
    assert second.notices == (f"{died} again: that one is missing",)
    assert evaluation.take(wait=True) is None
    evaluation.begin(lambda: {"evaluation_loss": 1.0}, Position(steps=4096))
    found = evaluation.take(wait=True)
    assert found is not None
    assert found.columns == {"evaluation_loss": 1.0}


def test_a_policy_that_cannot_be_sent_is_a_line(evaluation: ParallelEvaluation) -> None:
    with pytest.raises(UserError, match=r"cannot be sent to another process \(cannot pickle '_thread.lock' object\)"):
        evaluation.begin(partial(_with, Lock()), Position())


def _with(lock: Any) -> Columns:
    return {}


def test_what_an_evaluation_raises_is_the_users(evaluation: ParallelEvaluation) -> None:
    evaluation.begin(_fails, Position())
    with pytest.raises(UserError) as caught:
        evaluation.take(wait=True)
    assert str(caught.value) == "the environment is broken — mend it"

"""Env runners whose process is killed in mid-run."""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from synrl_ray.errors import UserError
from synrl_ray.kinds.control.kind import KIND
from synrl_ray.kinds.control.trainer import ControlTrainer
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import get_experiment
from synrl_ray.rl_modules.pushing import push_weights
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.training import train_run
from synrl_ray.sampling import faults

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def _spec(num_workers: int) -> RunSpec:
    settings = ["spiking.hidden_sizes=16,16", "num_epochs=2", "evaluation.episodes=5", "env_steps=12288"]
    experiment = apply_overrides(
        get_experiment("cartpole-ppo"), [*settings, "interval_steps=6144", "interim_episodes=2"]
    )
    return RunSpec(experiment=experiment, policy="spiking", seed=0, num_workers=num_workers)


def _of_runners(trainer: ControlTrainer, function: Any) -> list[Any]:
    return trainer.algorithm.env_runner_group.foreach_env_runner(function, local_env_runner=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[ControlTrainer]:
    """The trainers that runs have started."""
    trainers: list[ControlTrainer] = []
    original = ControlTrainer.__init__

    def remember(self: ControlTrainer, spec: RunSpec) -> None:
        original(self, spec)
        trainers.append(self)

    monkeypatch.setattr(ControlTrainer, "__init__", remember)
    return trainers


def test_a_killed_runner_is_restarted_with_the_weights_and_new_episodes(
    tmp_path: Path, started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "_PATIENCE_SECONDS", 300.0)  # a busy machine takes its time to start a process
    spec = _spec(num_workers=2)
    folder = RunFolder.create(tmp_path / "run", spec)
    told: list[str] = []
    seen: dict[str, Any] = {}

    def watch(progress: Any) -> None:
        told.extend(progress.notices)
        if progress.phase != "training":
            return
        (trainer,) = started
        if progress.steps > 3000 and "killed" not in seen:
            seen["killed"], seen["first"] = time.monotonic(), _of_runners(trainer, _what_it_has)
            os.kill(seen["first"][1]["pid"], signal.SIGKILL)
        elif any("was restarted" in notice for notice in progress.notices):
            seen["seconds"] = time.monotonic() - seen["killed"]
            seen["then"] = _of_runners(trainer, _what_it_has)

    result = train_run(folder, spec, KIND, watch)
    print(f"\nfrom the kill to the end of the first whole iteration: {seen['seconds']:.1f} s")
    assert result.training[0].steps >= 12288
    assert [notice.split(":")[0] for notice in told] == ["1 of 2 env runners died", "env runner 2 was restarted"]
    assert folder.metrics()[-1]["runner_restarts"] == 1
    steps = [0, *(row["env_steps"] for row in folder.metrics())]
    gains = [after - before for before, after in pairwise(steps)]
    assert sum(gain < 1100 for gain in gains) == 1, f"one iteration with half of the samples: {gains}"
    assert all(gain > 1800 for gain in gains if gain >= 1100), gains
    (whole, _), (one, other) = seen["first"], seen["then"]
    assert one["pid"] == whole["pid"]
    assert other["weights"] == one["weights"] != whole["weights"]
    assert len({*one["seeds"], *other["seeds"], *seen["first"][1]["seeds"]}) == 3


def _what_it_has(runner: Any) -> dict[str, Any]:
    seed = runner.env.unwrapped.np_random_seed
    return {"pid": os.getpid(), "weights": _sum(runner.module), "seeds": [seed]}


def _sum(module: torch.nn.Module) -> float:
    return float(sum(parameter.detach().double().sum() for parameter in module.parameters()))


def test_the_only_runner_killed_stops_the_run_with_the_remedy(tmp_path: Path, started: Any) -> None:
    spec = _spec(num_workers=1)
    folder = RunFolder.create(tmp_path / "run", spec)

    def watch(progress: Any) -> None:
        if progress.phase == "training":
            os.kill(_of_runners(started[0], lambda runner: os.getpid())[0], signal.SIGKILL)

    with pytest.raises(UserError, match=r"a worker process died.*--resume"):
        train_run(folder, spec, KIND, watch)


def test_weights_for_a_runner_that_has_not_told_that_it_took_over_the_last_ones_are_not_dropped() -> None:
    trainer = ControlTrainer(_spec(num_workers=1))
    try:
        group, learners = trainer.algorithm.env_runner_group, trainer.algorithm.learner_group
        group.foreach_env_runner_async_fetch_ready(lambda _: time.sleep(2.0), tag="busy")
        for _ in range(3):
            learners.foreach_learner(_shift)
            push_weights(group, learners)
        (given,) = _of_runners(trainer, _what_it_has)
        assert given["weights"] == _what_it_has(group.local_env_runner)["weights"]
    finally:
        trainer.close()


def test_weights_of_one_process_do_not_pass_through_the_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = ControlTrainer(_spec(num_workers=0))
    try:
        group, learners = trainer.algorithm.env_runner_group, trainer.algorithm.learner_group
        before = _what_it_has(group.local_env_runner)["weights"]
        learners.foreach_learner(_shift)
        with monkeypatch.context() as patch:
            patch.setattr("ray.put", None)
            push_weights(group, learners)
        (learner,) = learners.foreach_learner(lambda learner: _sum(learner.module["default_policy"].unwrapped()))
        assert _what_it_has(group.local_env_runner)["weights"] == learner.get() != before
        assert group.local_env_runner._weights_seq_no == 1
    finally:
        trainer.close()


def _shift(learner: Any) -> None:
    with torch.no_grad():
        for parameter in learner.module["default_policy"].unwrapped().parameters():
            parameter += 1.0
    learner._weights_seq_no += 1

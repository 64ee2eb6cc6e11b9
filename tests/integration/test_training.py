"""Runs from the command line's point of view: ended, stopped, killed, resumed, poisoned."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Command, with_set
from nan_env import NaNCartPole

from synrl_ray import load_policy
from synrl_ray.errors import UserError
from synrl_ray.kinds.control.kind import KIND
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import get_experiment
from synrl_ray.results import read_result
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.training import train_run

pytestmark = pytest.mark.ray
Synrl = Callable[..., Command]

SMALL = [
    "spiking.hidden_sizes=16,16",
    "num_epochs=2",
    "interval_steps=2048",
    "interim_episodes=2",
    "evaluation.episodes=5",
]


def _spec(*settings: str, num_workers: int = 0) -> RunSpec:
    experiment = apply_overrides(get_experiment("cartpole-ppo"), [*SMALL, *settings])
    return RunSpec(experiment=experiment, policy="spiking", seed=0, num_workers=num_workers)


def _steps(folder: RunFolder, beyond: int) -> int:
    """Environment steps (meta-iterations) of the last checkpoint, if they are more than so many."""
    found = folder.checkpoint() if folder.path.exists() else None
    return found.position.steps if found is not None and found.position.steps > beyond else 0


@pytest.mark.usefixtures("local_ray")
def test_a_run_leaves_every_file_and_a_policy_that_acts(tmp_path: Path) -> None:
    spec = _spec("env_steps=4000")
    folder = RunFolder.create(tmp_path / "run", spec)
    result = train_run(folder, spec, KIND)
    names = {path.name for path in folder.path.iterdir()}
    assert names == {
        *("card.md", "config.json", "metrics.jsonl", "result.json"), "learning_curve.png",
        *("policy.json", "policy.safetensors"),
        "policy.seal.json", "checkpoint", "checkpoint.old", "tensorboard",
    }  # fmt: skip
    assert result == folder.result()
    assert result.training[0].steps >= 4000
    assert len(result.greedy.returns) == 5
    assert folder.metrics()[-1]["env_steps"] == result.training[0].steps
    action, _ = load_policy(folder.path).act([0.0, 0.0, 0.1, 0.0])
    assert action in (0, 1)
    assert any((folder.path / "tensorboard").iterdir())


def test_stopped_then_killed_then_resumed_run_has_no_gap(tmp_path: Path, synrl: Synrl) -> None:
    folder = RunFolder(tmp_path / "run")
    storage = ("--storage", f"file://{tmp_path}/copies")
    settings = with_set(*SMALL, "env_steps=16384")
    command = synrl("train", "cartpole-ppo", "--run-dir", str(folder.path), *storage, *settings, RAY_ADDRESS=None)
    command.wait_until(lambda: _steps(folder, beyond=1800))
    _, errors = command.end(signal.SIGINT, status=130)
    assert f"train --resume {folder.path}" in errors.splitlines()[-1]
    stopped_at = folder.checkpoint().position.steps  # type: ignore[union-attr]
    assert folder.metrics()[-1]["env_steps"] == stopped_at, "Ctrl-C keeps every finished iteration"

    command = synrl("train", "--resume", str(folder.path))
    command.wait_until(lambda: _steps(folder, beyond=stopped_at))
    command.end(signal.SIGKILL, status=-signal.SIGKILL)
    assert folder.result() is None

    shutil.rmtree(folder.path)  # its machine is lost, the copy is not
    copy, folder = f"file://{tmp_path}/copies/cartpole-ppo/spiking-seed0", RunFolder(tmp_path / "elsewhere")
    output, _ = synrl("train", "--resume", copy, "--run-dir", str(folder.path), "--json").end()
    result = folder.result()
    assert result.as_json() == output
    assert read_result(tmp_path / "copies/cartpole-ppo/spiking-seed0") == result

    rows = folder.metrics()
    assert [row["iteration"] for row in rows] == list(range(1, 10))
    steps = [row["env_steps"] for row in rows]
    # A fragment is 2,048 steps of the vector environment; resets among them are no environment steps.
    gains = [after - before for before, after in zip([0, *steps], steps, strict=False)]
    assert all(1800 < gain <= 2048 for gain in gains), gains
    assert result.training[0].steps == steps[-1]
    assert [row["lr"] for row in rows] == sorted((row["lr"] for row in rows), reverse=True), "the schedule goes on"

    output, _ = synrl("evaluate", copy, "--json").end()
    assert json.loads(output)["figures"]["return_mean"] == result.figures["return_mean"]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_killed_meta_run_ends_as_one_that_was_left_alone(tmp_path: Path, num_workers: int, synrl: Synrl) -> None:
    settings = with_set("meta_iterations=200", "evaluation.tasks=20", "ann.hidden_sizes=16,16")
    arguments = ("train", "sinusoid-maml", "--policy", "ann", "--num-workers", str(num_workers), *settings)
    folder = RunFolder(tmp_path / "killed")
    command = synrl(*arguments, "--run-dir", str(folder.path))
    command.wait_until(lambda: _steps(folder, beyond=50))
    command.end(signal.SIGKILL, status=-signal.SIGKILL)
    assert folder.result() is None

    results = []
    for again in ((*arguments, "--run-dir", str(tmp_path / "alone")), ("train", "--resume", str(folder.path))):
        output, _ = synrl(*again, "--json").end()
        results.append(json.loads(output)["adaptation"]["by_step"])
    assert results[0] == results[1]
    assert [row["meta_iterations"] for row in folder.metrics()] == list(range(50, 201, 50))


def _nan_after(steps: int, *settings: str, num_workers: int, for_good: str) -> RunSpec:
    kwargs = f'environment.kwargs={{"nan_after": {steps}, "for_good": {for_good}}}'
    return _spec("env=nan_env:NaNCartPole-v0", kwargs, *settings, num_workers=num_workers)


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("num_workers", [0, 1], ids=["local", "remote-runner"])
def test_an_environment_that_stays_nan_stops_the_run_and_keeps_the_checkpoint(
    tmp_path: Path, num_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NaNCartPole, "broken", False)
    spec = _nan_after(600, num_workers=num_workers, for_good="true")
    folder = RunFolder.create(tmp_path / "run", spec)
    with pytest.raises(
        UserError, match=r"NaNCartPole-v0 failed \d+ times in .* the observation is not finite"
    ) as caught:
        train_run(folder, spec, KIND)
    assert "last good checkpoint" in caught.value.remedy
    assert folder.result() is None
    checkpoint = folder.checkpoint()
    assert checkpoint is not None
    assert 1800 < checkpoint.position.steps < 8 * 600
    assert load_policy(folder.path).act([0.0, 0.0, 0.1, 0.0])[0] in (0, 1)


@pytest.mark.usefixtures("local_ray")
def test_an_environment_that_is_nan_now_and_then_is_restarted_counted_and_told_of_once(tmp_path: Path) -> None:
    spec = _nan_after(300, "env_steps=6000", num_workers=0, for_good="false")
    folder = RunFolder.create(tmp_path / "run", spec)
    told: list[str] = []
    train_run(folder, spec, KIND, lambda progress: told.extend(progress.notices))
    failures = [row["env_failures"] for row in folder.metrics()]
    assert failures == sorted(failures)
    assert failures[0] == 0
    assert 8 <= failures[-1] <= 24, "each of 8 environments after 300 steps, and again"
    assert told == ["an environment failed and was restarted (the observation is not finite)"]


def _damage(checkpoint: Path) -> None:
    for file in checkpoint.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:10])


@pytest.mark.usefixtures("local_ray")
def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(tmp_path: Path) -> None:
    spec = _spec("env_steps=4000")
    folder = RunFolder.create(tmp_path / "run", spec)
    train_run(folder, spec, KIND)
    last = folder.checkpoint().position  # type: ignore[union-attr]
    _damage(folder.path / "checkpoint")
    told: list[str] = []
    result = train_run(folder, _spec("env_steps=6000"), KIND, lambda progress: told.extend(progress.notices))
    (notice,) = told
    assert notice.startswith(f"{folder.path / 'checkpoint'} is damaged: going on from the one before, at ")
    rows = folder.metrics()
    assert [row["iteration"] for row in rows] == list(range(1, len(rows) + 1))
    assert result.training[0].steps == rows[-1]["env_steps"] > last.steps
    for name in ("checkpoint", "checkpoint.old"):
        _damage(folder.path / name)
    with pytest.raises(UserError, match=r"checkpoint .* is damaged"):
        train_run(folder, _spec("env_steps=9000"), KIND)


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_same_seed_gives_the_same_run_bit_for_bit(tmp_path: Path, num_workers: int) -> None:
    def trained(name: str, seed: int) -> tuple[list[Any], bytes]:
        experiment = _spec("env_steps=4096").experiment
        spec = RunSpec(experiment=experiment, policy="spiking", seed=seed, num_workers=num_workers)
        folder = RunFolder.create(tmp_path / name, spec)
        train_run(folder, spec, KIND)
        rows = [(row["env_steps"], row["return_mean"], row["policy_loss"]) for row in folder.metrics()]
        return rows, (folder.path / "policy.safetensors").read_bytes()

    first = trained("a", 7)
    assert trained("b", 7) == first
    assert trained("c", 8)[1] != first[1]

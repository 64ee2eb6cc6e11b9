"""Ctrl-C is answered while an episode goes on that never ends."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Command, with_set

from synrl_ray.running.run_folder import RunFolder

pytestmark = pytest.mark.ray

ENDLESS = ["env=endless_env:Endless-v0", "ann.hidden_sizes=8", "interim_episodes=2", "evaluation.episodes=2"]


@pytest.fixture
def stopped(synrl: Callable[..., Command]) -> Callable[..., str]:
    def press(*arguments: str, at: Path) -> str:
        """Run a command, press Ctrl-C once the file is there; the last line of what it says."""
        command = synrl(*arguments)
        command.wait_until(at.exists)
        _, errors = command.end(signal.SIGINT, status=130)
        at.unlink()
        return errors.splitlines()[-1]

    return press


@pytest.mark.parametrize("num_workers", [0, 1], ids=["local", "remote-runner"])
def test_whole_episodes_that_never_end_are_broken_off_and_the_last_iteration_is_kept(
    tmp_path: Path, num_workers: int, stopped: Callable[..., str]
) -> None:
    folder, mark = RunFolder(tmp_path / "run"), tmp_path / "training"
    kwargs = f"environment.kwargs={json.dumps({'marks': str(tmp_path), 'num_short': 3})}"
    train = ("train", "cartpole-reinforce", "--policy", "ann", "--num-workers", str(num_workers))
    settings = with_set(*ENDLESS, kwargs, "num_envs=2")
    said = stopped(*train, "--run-dir", str(folder.path), *settings, at=mark)
    assert f"train --resume {folder.path}" in said
    found = folder.checkpoint()
    assert found is not None
    assert (found.position.iteration, found.position.steps) == (3, 3 * 2 * 20)
    assert [row["iteration"] for row in folder.metrics()] == [1, 2, 3]

    stopped("train", "--resume", str(folder.path), at=mark)
    rows = folder.metrics()
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["env_steps"] for row in rows] == [40 * n for n in range(1, 7)]


def test_an_evaluation_that_never_ends_is_broken_off_during_training_and_after_it(
    tmp_path: Path, stopped: Callable[..., str]
) -> None:
    folder, mark = RunFolder(tmp_path / "run"), tmp_path / "judging"
    settings = [*ENDLESS, f"environment.kwargs={json.dumps({'marks': str(tmp_path)})}", "train_batch_size=256"]
    settings += ["minibatch_size=64", "num_epochs=1", "interval_steps=512", "env_steps=768"]
    train = ("train", "cartpole-ppo", "--policy", "ann", "--run-dir", str(folder.path))
    stopped(*train, *with_set(*settings), at=mark)
    found = folder.checkpoint()
    assert found is not None
    assert found.position.steps == 512
    assert [row["env_steps"] for row in folder.metrics()] == [256, 512]
    assert "evaluation_return_mean" not in folder.metrics()[-1]

    said = stopped("train", "--resume", str(folder.path), at=mark)
    assert f"train --resume {folder.path}" in said
    found = folder.checkpoint()
    assert found is not None
    assert found.position.steps == 768, "trained to its end, and not judged"
    assert folder.result() is None

    said = stopped("evaluate", str(folder.path), at=mark)
    assert said == "synrl: stopped"

"""Ctrl-C is answered while an episode goes on that never ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synrl_ray.running.run_folder import RunFolder

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

_HANGS_SECONDS = 120.0
ENDLESS = ["env=endless_env:Endless-v0", "ann.hidden_sizes=8", "interim_episodes=2", "evaluation.episodes=2"]


class Command:
    """A synrl command in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        here = str(Path(__file__).parent)
        path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "synrl_ray", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}, "PYTHONPATH": path},
        )

    def stop_at(self, mark: Path) -> str:
        """Press Ctrl-C once the file is there; the last line of what it says."""
        deadline = time.monotonic() + _HANGS_SECONDS
        while not mark.exists():
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < deadline, f"no {mark.name} within {_HANGS_SECONDS:.0f} s"
            time.sleep(0.02)
        self.process.send_signal(signal.SIGINT)
        _, errors = self.process.communicate(timeout=_HANGS_SECONDS)
        assert self.process.returncode == 130, errors
        mark.unlink()
        return errors.splitlines()[-1]


def _settings(*settings: str) -> list[str]:
    return [item for setting in settings for item in ("--set", setting)]


@pytest.mark.parametrize("num_workers", [0, 1], ids=["local", "remote-runner"])
def test_whole_episodes_that_never_end_are_broken_off_and_the_last_iteration_is_kept(
    tmp_path: Path, num_workers: int
) -> None:
    folder, mark = RunFolder(tmp_path / "run"), tmp_path / "training"
    kwargs = f"environment.kwargs={json.dumps({'marks': str(tmp_path), 'num_short': 3})}"
    train = ("train", "cartpole-reinforce", "--policy", "ann", "--num-workers", str(num_workers))
    said = Command(*train, "--run-dir", str(folder.path), *_settings(*ENDLESS, kwargs, "num_envs=2")).stop_at(mark)
    assert f"train --resume {folder.path}" in said
    found = folder.checkpoint()
    assert found is not None
    assert (found.position.iteration, found.position.steps) == (3, 3 * 2 * 20)
    assert [row["iteration"] for row in folder.metrics()] == [1, 2, 3]

    Command("train", "--resume", str(folder.path)).stop_at(mark)
    rows = folder.metrics()
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["env_steps"] for row in rows] == [40 * n for n in range(1, 7)]


def test_an_evaluation_that_never_ends_is_broken_off_during_training_and_after_it(tmp_path: Path) -> None:
    folder, mark = RunFolder(tmp_path / "run"), tmp_path / "judging"
    settings = [*ENDLESS, f"environment.kwargs={json.dumps({'marks': str(tmp_path)})}", "train_batch_size=256"]
    settings += ["minibatch_size=64", "num_epochs=1", "interval_steps=512", "env_steps=768"]
    train = ("train", "cartpole-ppo", "--policy", "ann", "--run-dir", str(folder.path))
    Command(*train, *_settings(*settings)).stop_at(mark)
    found = folder.checkpoint()
    assert found is not None
    assert found.position.steps == 512
    assert [row["env_steps"] for row in folder.metrics()] == [256, 512]
    assert "evaluation_return_mean" not in folder.metrics()[-1]

    said = Command("train", "--resume", str(folder.path)).stop_at(mark)
    assert f"train --resume {folder.path}" in said
    found = folder.checkpoint()
    assert found is not None
    assert found.position.steps == 768, "trained to its end, and not judged"
    assert folder.result() is None

    said = Command("evaluate", str(folder.path)).stop_at(mark)
    assert said == "synrl: stopped"

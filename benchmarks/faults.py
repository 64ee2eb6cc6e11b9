"""What a run loses when something dies, and how soon it goes on: each fault injected some times, one table.

Run (``make bench-faults``; the full disk needs root, for a small file system in memory):
    python benchmarks/faults.py
    python benchmarks/faults.py --faults driver checkpoint --repeat 3

A spiking PPO agent learns CartPole through the command line, as a user has it, with a checkpoint every 4,096 steps. In
the middle of it:

    env runner   SIGKILL to one of two env runners; it is restarted while the other goes on
    node         one of three nodes is removed, and its env runner with it; another node takes over
    driver       SIGKILL to `synrl train`, and `synrl train --resume`. The learner is part of that process
    checkpoint   the same, and a file of the newest checkpoint is cut short in between
    disk         the file system is full when a checkpoint is written; it is made larger, and the run resumed

``lost``: environment steps that were done and have to be done again, or that a batch lacked. ``recovery``: the time
from the fault (from the command that resumes, where one is needed) to the end of the first whole iteration afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from synrl_ray.cluster.private_ray import private_ray

BATCH = 2048
INTERVAL = 2 * BATCH
SETTINGS = ["num_epochs=2", "evaluation.episodes=5", f"interval_steps={INTERVAL}", "interim_episodes=2"]
PATIENCE = 180.0
Outcome = tuple[int, float]
"""Lost environment steps, seconds."""


class Run:
    """A training as a process, watched through its folder."""

    def __init__(self, folder: Path, *options: str, steps: int = 400_000) -> None:
        self.folder = folder
        self.start("cartpole-ppo", "--run-dir", str(folder), "--stop-steps", str(steps), *options, "--set", *SETTINGS)

    def start(self, *arguments: str) -> None:
        """``synrl train``, without its output."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "synrl_ray", "train", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def rows(self) -> list[dict[str, Any]]:
        """What the run has written of its iterations."""
        try:
            lines = (self.folder / "metrics.jsonl").read_text().splitlines()
            return [json.loads(line) for line in lines]
        except (FileNotFoundError, ValueError):
            return []

    def steps(self) -> int:
        """Environment steps so far."""
        rows = self.rows()
        return int(rows[-1]["env_steps"]) if rows else 0

    def checkpoint(self) -> int:
        """Environment steps at the newest checkpoint."""
        return int(json.loads((self.folder / "checkpoint" / "position.json").read_text())["steps"])

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Until it holds; the process must go on meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None:
                raise SystemExit(f"the run ended while waiting for {what}: {self.last_words()}")
            if time.monotonic() > deadline:
                raise SystemExit(f"no {what} within {PATIENCE:.0f} s")
            time.sleep(0.02)

    def last_words(self) -> str:
        """The last line on standard error."""
        assert self.process.stderr is not None
        return (self.process.stderr.read().strip().splitlines() or [""])[-1]

    def kill(self) -> None:
        """SIGKILL to the process; Ray's own notice that their driver is gone."""
        self.process.kill()
        self.process.wait()

    def resume(self) -> float:
        """``synrl train --resume``; seconds until an iteration has ended."""
        began = time.monotonic()
        at = self.steps_kept()
        self.start("--resume", str(self.folder))
        self.wait(lambda: bool(self.rows()) and self.rows()[-1]["env_steps"] > at and self.is_rewound(at), "iteration")
        return time.monotonic() - began

    def steps_kept(self) -> int:
        """Of the newest whole checkpoint."""
        from synrl_ray.running.checkpoints import Checkpoints

        found = Checkpoints(self.folder).newest()
        return 0 if found is None else found.position.steps

    def is_rewound(self, at: int) -> bool:
        """Whether rows after the checkpoint are those of the resumed process."""
        return (self.folder / "metrics.jsonl").stat().st_mtime > self.began_after

    began_after = 0.0

    def close(self) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.kill()


def env_runner(base: Path) -> Outcome:
    """One of two env runners."""
    run = Run(base / "run", "--num-workers", "2")
    try:
        run.wait(lambda: run.steps() > 3 * BATCH, "iteration")
        victim = next(pid for pid in _descendants(run.process.pid) if b"EnvRunner" in _command(pid))
        os.kill(victim, signal.SIGKILL)
        return _until_restarted(run)
    finally:
        run.close()


def node(base: Path) -> Outcome:
    """The node of one of two env runners."""
    import ray
    from ray.cluster_utils import Cluster

    with private_ray() as folder:
        head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": str(folder)}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
            run = Run(base / "run", "--num-workers", "2", "--address", cluster.address)
            try:
                run.wait(lambda: run.steps() > 3 * BATCH, "iteration")
                with_runner = [n for n in nodes if any(b"EnvRunner" in _command(p) for p in _descendants(_raylet(n)))]
                cluster.remove_node(with_runner[0], allow_graceful=False)
                return _until_restarted(run)
            finally:
                run.close()
        finally:
            cluster.shutdown()
            ray.shutdown()


def driver(base: Path) -> Outcome:
    """The whole training process."""
    run = Run(base / "run")
    try:
        return _kill_and_resume(run, lambda: None)
    finally:
        run.close()


def checkpoint(base: Path) -> Outcome:
    """The training process, and its newest checkpoint."""
    run = Run(base / "run")

    def cut_short() -> None:
        files = [path for path in (run.folder / "checkpoint").rglob("*") if path.is_file()]
        largest = max(files, key=lambda path: path.stat().st_size)
        os.truncate(largest, largest.stat().st_size // 2)

    try:
        return _kill_and_resume(run, cut_short)
    finally:
        run.close()


def disk(base: Path) -> Outcome:
    """No room for a checkpoint."""
    with _small_disk(base / "disk") as room:
        run = Run(room / "run")
        try:
            run.wait(lambda: (run.folder / "checkpoint.old").exists(), "second checkpoint")
            used = shutil.disk_usage(room).used
            subprocess.run(["mount", "-o", f"remount,size={used + 64 * 1024}", str(room)], check=True)
            if run.process.wait(timeout=PATIENCE) != 2 or "cannot be written" not in run.last_words():
                raise SystemExit("a full disk is not told in one line")
            done = run.steps()
            subprocess.run(["mount", "-o", "remount,size=1g", str(room)], check=True)
            lost, run.began_after = done - run.steps_kept(), time.time()
            return lost, run.resume()
        finally:
            run.close()


FAULTS: dict[str, Callable[[Path], Outcome]] = {
    "env runner": env_runner,
    "node": node,
    "driver": driver,
    "checkpoint": checkpoint,
    "disk": disk,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--repeat", type=int, default=10)
    options = parser.parse_args()
    print(f"{'fault':<12}{'times':>6}{'lost steps: median':>20}{'most':>8}{'recovery s: median':>20}{'longest':>9}")
    for name in options.faults:
        if name == "disk" and os.geteuid() != 0:
            print(f"{name:<12}  skipped: a small file system needs root")
            continue
        outcomes = []
        for _ in range(options.repeat):
            with tempfile.TemporaryDirectory() as base:
                outcomes.append(FAULTS[name](Path(base)))
        lost, seconds = zip(*outcomes, strict=True)
        print(
            f"{name:<12}{len(outcomes):>6}{statistics.median(lost):>20,.0f}{max(lost):>8,}"
            f"{statistics.median(seconds):>20.1f}{max(seconds):>9.1f}",
            flush=True,
        )


def _until_restarted(run: Run) -> Outcome:
    """From now on to the first whole batch of a restarted env runner; lost is what batches in between lacked."""
    began, before = time.monotonic(), len(run.rows())
    run.wait(lambda: bool(run.rows()[-1]["runner_restarts"]), "restarted env runner")
    seconds = time.monotonic() - began
    steps = [row["env_steps"] for row in run.rows()[before - 1 :]]
    gains = [after - before for before, after in pairwise(steps)]
    return sum(BATCH - gain for gain in gains if gain < 0.75 * BATCH), seconds


def _kill_and_resume(run: Run, damage: Callable[[], None]) -> Outcome:
    """At some point between two checkpoints, from the third one on."""
    run.wait(lambda: run.steps() > 3 * INTERVAL, "third checkpoint")
    run.wait(lambda: run.steps() > run.checkpoint(), "iteration after a checkpoint")
    run.kill()
    done = run.steps()
    damage()
    lost, run.began_after = done - run.steps_kept(), time.time()
    return lost, run.resume()


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def _descendants(pid: int) -> list[int]:
    """All processes below one."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


if __name__ == "__main__":
    main()

"""What CartPole's training takes with evaluations in between, and with evaluations parallel to training.

Run (``make bench-evaluations``):
    python benchmarks/evaluations.py [--workers W] [--rounds N] [SETTING=VALUE ...]

Both train the same spiking policies on the same seeds. Timed is what lies between the first row and the end of the last
evaluation during training: without the start of the processes, and without the final evaluation. The two run in turn.
Seconds on the clock are those of a machine with a free core for the evaluator, or say little; the CPU time of the
driver, which samples, learns and judges in between, says what is taken off it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from synrl_ray.running.ray_session import limit_threads, ray_session

limit_threads()

from synrl_ray.kinds.control.kind import KIND  # noqa: E402 (after the threads are limited)
from synrl_ray.overrides import apply_overrides  # noqa: E402
from synrl_ray.registry import get_experiment  # noqa: E402
from synrl_ray.running.progress import Progress  # noqa: E402
from synrl_ray.running.run_folder import RunFolder  # noqa: E402
from synrl_ray.running.spec import RunSpec  # noqa: E402
from synrl_ray.running.training import train_run  # noqa: E402

_SETTINGS = ["env_steps=40960", "interval_steps=4096", "evaluation.episodes=2"]


def train(folder: Path, settings: list[str], workers: int) -> tuple[tuple[float, float], list[float]]:
    """Train once; the seconds on the clock and of the driver's CPU, and the returns of the evaluations."""
    experiment = apply_overrides(get_experiment("cartpole-ppo"), settings)
    run = RunFolder.create(folder, RunSpec(experiment=experiment, policy="spiking", seed=0, num_workers=workers))
    marks: dict[str, tuple[float, float]] = {}

    def watch(progress: Progress) -> None:
        now = time.perf_counter(), time.process_time()
        if progress.steps:
            marks.setdefault(progress.phase, now)
        if progress.phase == "evaluating":
            marks["end"] = now  # the last time, the final evaluation begins

    train_run(run, run.spec(), KIND, watch)
    returns = [row["evaluation_return_mean"] for row in run.metrics("evaluation_return_mean")]
    (began, before), (ended, after) = marks["training"], marks["end"]
    return (ended - began, after - before), returns


def main() -> None:
    """Print a line for each run and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("settings", nargs="*")
    asked = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {"false": [], "true": []}
    with ray_session(None, num_workers=asked.workers), tempfile.TemporaryDirectory() as place:
        for turn in range(asked.rounds):
            returns = []
            for parallel, times in found.items():
                settings = [*_SETTINGS, *asked.settings, f"parallel_to_training={parallel}"]
                took, judged = train(Path(place, f"{turn}-{parallel}"), settings, asked.workers)
                times.append(took)
                returns.append(judged)
                print(f"parallel_to_training={parallel}: {took[0]:.1f} s, {took[1]:.1f} s of CPU", flush=True)
            assert returns[0] == returns[1], "the evaluations differ"
    for parallel, times in found.items():
        clock, cpu = (statistics.median(part) for part in zip(*times, strict=True))
        print(f"parallel_to_training={parallel}: median {clock:.1f} s, {cpu:.1f} s of CPU, {len(judged)} evaluations")


if __name__ == "__main__":
    main()

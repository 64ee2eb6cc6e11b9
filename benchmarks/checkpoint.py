"""What durability and verification cost: the time of a checkpoint with and without syncing, and of opening one.

Run (part of ``make bench-faults``):
    python benchmarks/checkpoint.py
    python benchmarks/checkpoint.py --folder /mnt/nfs --repeat 50

``save``: a checkpoint of files as large as those of CartPole and of Breakout is written, sealed, and put in the place
of the one before. ``no sync``: the same with ``fsync`` doing nothing, in turn with it. ``open``: the newest is copied
into a private folder and the seal compared with the copy, as before every restore; ``look`` compares it in place.
Medians of interleaved repetitions.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from synrl_ray.running.checkpoints import Checkpoints, Position

FILES = {"CartPole, 0.2 MB in 12 files": (12, 16_000), "Breakout, 14 MB in 12 files": (12, 1_200_000)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where checkpoints are written; a new folder in it")
    parser.add_argument("--repeat", type=int, default=30)
    options = parser.parse_args()
    print(f"{'checkpoint':<30} {'save, ms':>9} {'no sync':>9} {'syncing':>9} {'open':>9} {'look':>9}")
    for name, (number, size) in FILES.items():
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            saved, unsynced, opened, looked = measure(Path(folder), number, size, options.repeat)
        print(f"{name:<30} {saved:9.1f} {unsynced:9.1f} {saved - unsynced:9.1f} {opened:9.1f} {looked:9.1f}")


def measure(folder: Path, number: int, size: int, repeat: int) -> tuple[float, ...]:
    """Medians in milliseconds."""
    checkpoints, content = Checkpoints(folder), os.urandom(size)

    def write(path: Path) -> None:
        path.mkdir()
        for index in range(number):
            (path / str(index)).write_bytes(content)

    def save() -> None:
        checkpoints.save(write, Position(iteration=1))

    def unsynced() -> None:
        with mock.patch("os.fsync"):
            save()

    def opened() -> None:
        with checkpoints.opened(only_own=True):
            pass

    works = (save, unsynced, opened, checkpoints.newest)
    times = [[timed(work) for work in works] for _ in range(repeat)]
    return tuple(statistics.median(column) for column in zip(*times, strict=True))


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()

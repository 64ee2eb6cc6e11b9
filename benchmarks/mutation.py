"""Mutation testing: small faults are put into the code one at a time, and the unit tests should notice each of them.

Run (``make mutants``; some minutes):
    python benchmarks/mutation.py                           20 mutants of every package
    python benchmarks/mutation.py --packages trust --mutants 200 --seed 1 --out mutants.jsonl
    python benchmarks/mutation.py --packages trust --again mutants.jsonl    only those that had survived

A mutant is *killed* if a test fails, or takes far longer than it did, and *survives* otherwise. One that behaves as the
original does is *equivalent*: ``tests/mutants.toml`` names these with the reason, and says which files and tests belong
to a package. The score is killed / (killed + survived). Mutants are a random sample of all in a package, the same for
the same seed and code (``mutants.py`` says which there are).

How it is fast: one process imports torch and Ray, collects the tests and runs them once, to note which test calls which
function, and once in a child, to leave out what fails there. Then it forks for each mutant; the child gives the live
function the mutant's ``__code__`` and runs the tests that call it, nearest first, to the first failure. Constants,
defaults and fields, which are there since the import, are put into the live module. Kernels run as the Python
functions that they are.

mutmut 3 forks too, but leaves decorated functions alone, which here are the kernels and all that runs without
gradients, and code outside of functions; it takes no sample. cosmic-ray starts a process for each mutant: seconds of
imports.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from mutants import Mutant, mutants_of
from mutation_runs import Runs

ROOT = Path(__file__).parents[1]
TABLE = tomllib.loads((ROOT / "tests/mutants.toml").read_text())
PACKAGES: dict[str, dict[str, Any]] = TABLE["packages"]
ARGUMENTS = ("-q", "-p", "no:cacheprovider", "--capture=no", "-m", "not ray and not slow and not cluster")
MOST_SECONDS = 120  # of a test, as the clock has it: those without compiled kernels may take very long


def _files_of(package: str) -> list[Path]:
    """Its files; of packages whose patterns overlap the first one has them."""
    taken: set[Path] = set()
    for name, settings in PACKAGES.items():
        files = {path for pattern in settings["files"] for path in (ROOT / "synrl_ray").glob(pattern)} - taken
        if name == package:
            return sorted(files)
        taken |= files
    raise KeyError(package)


def _sample(everything: list[Mutant], options: argparse.Namespace) -> list[Mutant]:
    """The mutants to run; those known as equivalent are noted at once."""
    if options.again:
        survived = [_key(row) for row in _rows(options.again) if row["outcome"] == "survived"]
        picked = [mutant for mutant in everything if _key(mutant.named) in survived]
    else:
        numbers = random.Random(options.seed).sample(range(len(everything)), min(options.mutants, len(everything)))
        picked = [everything[i] for i in sorted(numbers)]
    known = {_key(row) for row in TABLE["equivalent"]}
    with options.out.open("a") as out:
        for mutant in picked:
            if _key(mutant.named) in known:
                row = {"package": options.package, **mutant.named, "outcome": "equivalent", "tests": 0}
                out.write(json.dumps(row) + "\n")
    return [mutant for mutant in picked if _key(mutant.named) not in known]


def _key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["file"], row["line"], row["change"]


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _run_package(options: argparse.Namespace) -> None:
    settings = PACKAGES[options.package]
    home = tempfile.mkdtemp()
    off = str(int(not settings["compiled"]))
    os.environ |= {"NUMBA_DISABLE_JIT": off, "OMP_NUM_THREADS": "1", "HOME": home, "TMPDIR": home}
    tempfile.tempdir = home
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    files = _files_of(options.package)
    everything = [mutant for path in files for mutant in mutants_of(path, ROOT)]
    sample = _sample(everything, options)
    print(f"\n{options.package}: {len(sample)} of {len(everything)} mutants in {len(files)} files", flush=True)
    import hypothesis
    import pytest

    hypothesis.settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
    hypothesis.settings.load_profile("fixed")
    tests = options.tests or [f"tests/{name}" for name in settings["tests"]]
    runs = Runs(
        sample, files, out=options.out, package=options.package, seconds=options.seconds, slowest=options.slowest
    )
    status = pytest.main([*ARGUMENTS, f"--timeout={MOST_SECONDS}", f"--basetemp={home}/pytest", *tests], plugins=[runs])
    shutil.rmtree(home, ignore_errors=True)
    os._exit(status if status > 1 else 0)  # 1: some tests fail as they are, and have been left out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", nargs="+", choices=PACKAGES, default=list(PACKAGES))
    parser.add_argument("--mutants", type=int, default=20, help="of every package")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--seconds", type=float, default=5, help="of CPU that the tests of a mutant may take")
    parser.add_argument("--slowest", type=float, default=10, help="seconds of CPU that a test may take to take part")
    parser.add_argument("--tests", nargs="+", help="files of tests instead of those in the table")
    parser.add_argument("--again", type=Path, help="run what survived in this file of an earlier run")
    parser.add_argument("--out", type=Path, help="a line of JSON for each mutant")
    options = parser.parse_args()
    options.out = (options.out or Path(tempfile.mkdtemp(), "mutants.jsonl")).absolute()
    os.nice(10)
    for package in options.packages:
        options.package = package
        if (child := os.fork()) == 0:
            _run_package(options)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            sys.exit(f"{package}: the tests cannot be collected")
    print(f"\n{'package':<12}{'mutants':>8}{'killed':>8}{'equivalent':>12}{'survived':>10}{'not run':>9}{'score':>8}")
    for package in options.packages:
        count = Counter(row["outcome"] for row in _rows(options.out) if row["package"] == package)
        score = count["killed"] / max(count["killed"] + count["survived"], 1)
        columns = (count.total(), count["killed"], count["equivalent"], count["survived"], count["not run"])
        print(f"{package:<12}" + "{:>8}{:>8}{:>12}{:>10}{:>9}".format(*columns) + f"{score:>8.0%}")


if __name__ == "__main__":
    main()

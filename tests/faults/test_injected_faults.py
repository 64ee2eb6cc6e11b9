"""Each fault once, through the command line; `make bench-faults` repeats them and measures.

What an env runner's death changes inside is in `tests/integration/test_faults_runner.py`, a learner's in
`test_several_learners.py`.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    file = Path(__file__).parents[2] / "benchmarks" / "faults.py"
    spec = importlib.util.spec_from_file_location("faults_bench", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "intervals"), [("env runner", 0.5), ("node", 0.5), ("driver", 1), ("checkpoint", 2), ("disk", 1)]
)
def test_no_more_is_lost_than_the_steps_since_the_last_whole_checkpoint(
    bench: ModuleType, tmp_path: Path, name: str, intervals: float
) -> None:
    if name == "disk" and os.geteuid() != 0:
        pytest.skip("a small file system needs root")
    lost, _ = bench.FAULTS[name](tmp_path)
    assert 0 <= lost <= intervals * bench.INTERVAL + 100  # batches are of 2,048 steps, resets among them

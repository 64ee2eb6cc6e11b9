"""One thread for numerical libraries, and one local Ray in each process for all the tests that need it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")

import pytest  # noqa: E402 (after the environment is set)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """A local Ray, never a cluster that happens to run on the machine."""
    from synrl_ray.running.own_ray import own_ray as started

    warnings.filterwarnings("ignore", category=DeprecationWarning)
    here = str(Path(__file__).parent / "integration")  # workers import the environments that lie there
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    with started(num_cpus=4, object_store_memory=128 * 1024**2):
        yield

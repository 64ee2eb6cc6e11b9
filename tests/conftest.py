"""One thread for numerical libraries, and one local Ray in each process for all the tests that need it."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
# What one process compiles, hundreds need not: without it, importing RLlib takes more than twice the time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault(
    "TRITON_INTERPRET", "1"
)  # kernels for a GPU run on the CPU; Triton asks once, where it is imported

import pytest  # noqa: E402 (after the environment is set)
import quick_stack  # noqa: E402, F401
from warm_python import WarmPython  # noqa: E402

_WARM = "SYNRL_TEST_PYTHON"


def pytest_configure(config: pytest.Config) -> None:
    """Start the Python that processes are forked from; those of pytest-xdist use that of the one which starts them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if _WARM not in os.environ:
        warm = WarmPython()
        os.environ[_WARM] = warm.executable
        config.add_cleanup(warm.close)
        config.add_cleanup(lambda: os.environ.pop(_WARM))


@pytest.fixture(scope="session")
def warm_python() -> str:
    """The executable that forks commands and workers of Ray from a process that has imported all."""
    return os.environ[_WARM]


@pytest.fixture(scope="session")
def local_ray(warm_python: str) -> Iterator[str]:
    """The address of a local Ray, never a cluster that happens to run on the machine."""
    import ray

    from synrl_ray.running import own_ray

    warnings.filterwarnings("ignore", category=DeprecationWarning)
    here = str(Path(__file__).parent / "integration")  # workers import the environments that lie there
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "executable", warm_python)  # Ray's workers are started by it
            patch.setattr(own_ray, "_ATTEMPTS", 10)  # Ray gives its agent half a minute, however busy the machine
            stack.enter_context(own_ray.own_ray(num_cpus=4, object_store_memory=128 * 1024**2))
        yield ray.get_runtime_context().gcs_address

"""How the CPU kernels are compiled: once, cached on disk, without the GIL while they run.

numba renews the cache of a file when that file changes, but not when a function that it calls in another file does. So
the caches here are dropped when they are older than any of the kernels' sources.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numba

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}

jit: Any = numba.njit(**_OPTIONS)
jit_fused: Any = numba.njit(**_OPTIONS, fastmath={"contract"})  # may fuse a product with a sum
jit_reordered: Any = numba.njit(**_OPTIONS, fastmath={"contract", "reassoc", "nsz"})  # may also add in any order


def drop_stale_caches(folder: Path) -> list[Path]:
    """Remove the cache indices in ``folder`` that are older than one of its kernel sources; return them."""
    newest = max((source.stat().st_mtime for source in folder.glob("*_kernel*.py")), default=0.0)
    dropped = []
    for index in (folder / "__pycache__").glob("*_kernel*.nbi"):
        with contextlib.suppress(OSError):  # another process was faster, or the folder is read-only
            if index.stat().st_mtime < newest:
                index.unlink()
                dropped.append(index)
    return dropped


drop_stale_caches(Path(__file__).parent)

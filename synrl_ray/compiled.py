"""How the CPU kernels are compiled: once, kept on disk, without the GIL while they run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numba

from synrl_ray.kernel_cache import kernel_cache


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    dispatcher = numba.njit(nogil=True, **options)(function)
    dispatcher._cache = kernel_cache(function)  # what numba's ``cache=True`` sets
    return dispatcher


jit: Any = partial(_compiled, error_model="numpy")
jit_fused: Any = partial(jit, fastmath={"contract"})  # may fuse a product with a sum
jit_reordered: Any = partial(jit, fastmath={"contract", "reassoc", "nsz"})  # may also add in any order
jit_checked: Any = partial(_compiled, error_model="python")  # a division by zero raises

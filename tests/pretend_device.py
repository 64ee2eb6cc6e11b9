"""A device that is not the CPU, on a machine without one: tensors that compute on the CPU and refuse what a GPU's do.

They have no memory that numpy could read, and do not meet tensors of the CPU in an operation, but for numbers without
an axis and indices. What runs on this device has every transfer in its place. Speed and kernels are not pretended.
Importing this changes torch's process for good: do so in a process of its own.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("pretend")
DEVICE = torch.device("pretend", 0)
operations: Counter[str] = Counter()
"""How often each operation has run there."""
_MIXING = ("copy_", "_to_copy", "index", "index_put_", "_index_put_impl_", "index_put")


class Elsewhere(torch.Tensor):
    """A tensor there; ``held`` has its numbers."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Elsewhere:
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=DEVICE,
        )  # fmt: skip
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def new_tensor(self, data: Any, **kwargs: Any) -> torch.Tensor:
        return _tensor(data, dtype=self.dtype).to(DEVICE)

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Elsewhere({tuple(self.shape)})"


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
    name = func.overloadpacket.__name__
    strangers = [t for t in given if not isinstance(t, Elsewhere) and t.dim()]
    if strangers and name not in _MIXING:
        raise RuntimeError(f"{func} of tensors on two devices")
    operations[name] += 1
    asked = kwargs.get("device")
    leaves = asked is not None and torch.device(asked).type == "cpu"
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    owners = {id(t.held): t for t in given if isinstance(t, Elsewhere)}
    result = func(*tree_map(_held, args), **tree_map(_held, kwargs))

    def home(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) in owners:
            return owners[id(value)]
        is_given = any(value is t for t in given)
        return value if leaves or is_given else Elsewhere(value)

    return tree_map(home, result)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Elsewhere) else value


_LIBRARY = torch.library.Library("_", "IMPL")  # of what makes tensors there out of none
_LIBRARY.fallback(lambda func, *args, **kwargs: _run(func, args, kwargs), dispatch_key="PrivateUse1")

_tensor = torch.tensor


def _made(*args: Any, device: Any = None, requires_grad: bool = False, **kwargs: Any) -> torch.Tensor:
    """``torch.tensor``, which asks no library where its numbers go. Single ones stay, for RLlib's schedules replace
    the memory of theirs by the CPU's, which a GPU's tensor bears."""
    made = _tensor(*args, **kwargs)
    return (made.to(device) if device is not None and made.dim() else made).requires_grad_(requires_grad)


torch.tensor = _made  # type: ignore[assignment]

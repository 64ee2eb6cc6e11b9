"""``policy.safetensors``, which may come from a stranger: the weights of exactly the network described beside it.

A line of JSON can describe a network that would fill any memory. So it is built on torch's meta device first, where
tensors have shapes and no numbers, and compared with the file's header. What is allocated after that, the file brings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from synrl_ray.files import open_regular, write_atomically
from synrl_ray.policies.description import DESCRIPTION_FILE, WEIGHTS_FILE, damage_of

M = TypeVar("M", bound=nn.Module)

_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 1024**2
_MOST_BYTES = 2 * 1024**3
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""Names of types in the file's header."""


class _Kind(NamedTuple):
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


def save_module(module: nn.Module, folder: Path, description: Mapping[str, Any]) -> None:
    """Write a module's weights and what it is, ``policy.safetensors`` and ``policy.json``, each atomically."""
    weights = {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}
    write_atomically(folder / WEIGHTS_FILE, save(weights))
    write_atomically(folder / DESCRIPTION_FILE, json.dumps(description, indent=2) + "\n")


def load_module(make: Callable[[], M], folder: Path, *, anew: bool = False, meta: bool = True) -> M:
    """Make a module with the weights of a policy's folder. Nothing in the folder is executed.

    Args:
        make: makes the module as ``policy.json`` describes it; called on torch's meta device first.
        folder: holds ``policy.safetensors``.
        anew: make it a second time, with numbers, instead of giving numbers to the first one: for a module that has
            tensors, or what was made of them, beside its state dictionary.
        meta: whether the module can be made without numbers; code of a user's own need not be able to.

    Raises:
        UserError: if the module cannot be made, or the file has other tensors than it, NaN or infinity.
    """
    if meta:
        with damage_of(folder / DESCRIPTION_FILE), torch.device("meta"):
            module = make()
    else:  # what goes wrong in a user's code is no damage of a file
        module = make()
    described = module.state_dict()
    with damage_of(folder / WEIGHTS_FILE):
        weights = _read(folder / WEIGHTS_FILE, described)
    if anew and meta:
        with damage_of(folder / DESCRIPTION_FILE):
            module = make()
    if anew or not meta:
        module.load_state_dict(weights)
    else:
        module.load_state_dict({n: _laid_out(t, described[n]) for n, t in weights.items()}, assign=True)
    return module


def _laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """The tensor in memory of torch's own, in the layout of another one of its shape."""
    return torch.empty_strided(like.shape, like.stride(), dtype=tensor.dtype).copy_(tensor)


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())  # a sum is fast, and may be too large


def _read(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in a file, which must have the names, types and shapes of the expected ones, and be finite."""
    kinds = {name: _Kind(_DTYPES[t.dtype], tuple(t.shape)) for name, t in expected.items()}
    num_bytes = sum(t.numel() * t.element_size() for t in expected.values())
    with open_regular(path) as file:
        header = _read_header(file)
        _compare(_kinds_in(header), kinds)
        found = os.fstat(file.fileno()).st_size - len(header)
        if found != num_bytes:
            raise ValueError(f"it holds {found:,} bytes of weights, not {num_bytes:,}")
        if num_bytes > _MOST_BYTES:
            raise ValueError(f"it holds {num_bytes:,} bytes of weights, {_MOST_BYTES:,} are the most")
        file.seek(0)
        content = file.read(len(header) + num_bytes)
    if not content.startswith(header):
        raise ValueError("it changes while it is read")
    weights = load(content)
    for name, tensor in weights.items():
        if not _is_finite(tensor):
            raise ValueError(f"{name} is not finite")
    return weights


def _read_header(file: BinaryIO) -> bytes:
    """The length of the header and the header itself, as they are in the file."""
    length = file.read(_LENGTH_BYTES)
    num_bytes = int.from_bytes(length, "little")
    if num_bytes > _MOST_HEADER_BYTES:
        raise ValueError(f"its header is larger than {_MOST_HEADER_BYTES:,} bytes")
    header = file.read(num_bytes)
    if len(length) < _LENGTH_BYTES or len(header) < num_bytes:
        raise ValueError("it is cut short")
    return length + header


def _kinds_in(header: bytes) -> dict[str, _Kind]:
    """Type and shape of each tensor that a header names."""
    entries: dict[str, Any] = json.loads(header[_LENGTH_BYTES:])
    return {
        name: _Kind(str(entry["dtype"]), tuple(entry["shape"]))
        for name, entry in entries.items()
        if name != "__metadata__"
    }


def _compare(found: Mapping[str, _Kind], expected: Mapping[str, _Kind]) -> None:
    """Refuse the first tensor that is missing, of another type or shape, or not the network's."""
    for name, kind in expected.items():
        if name not in found:
            raise ValueError(f"there is no {name}")
        if found[name] != kind:
            raise ValueError(f"{name} is {found[name]}, not {kind}")
    for name in found:
        if name not in expected:
            raise ValueError(f"{name!r} is no weight of the network that is described")

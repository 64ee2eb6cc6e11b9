"""The one condition of every shortcut past a layer: that calling it would do no more than its class says.

Torch's tools act on modules and on operations: hooks, parametrisations, pruning, replaced layers, modes, transforms.
Calling the layers honours all of them. Whoever reads a layer's tensors instead asks here first, at every call, since
each of these can come and go between two of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as _module

_GLOBAL_HOOKS = (
    _module._global_forward_pre_hooks,
    _module._global_forward_hooks,
    _module._global_backward_pre_hooks,
    _module._global_backward_hooks,
)
_PLAIN_TENSORS = frozenset({nn.Parameter, Tensor})
_IS_CPU, _DTYPE, _LAYOUT = attrgetter("is_cpu"), attrgetter("dtype"), attrgetter("layout")


def is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether the module is exactly of this kind, with its class's ``forward`` and without hooks, its own or global.

    Example:
        >>> layer = nn.Linear(2, 3)
        >>> is_plain(layer, nn.Linear)
        True
        >>> handle = layer.register_forward_hook(lambda *_: None)
        >>> is_plain(layer, nn.Linear)
        False
    """
    return type(module) is kind and not any(_GLOBAL_HOOKS) and _is_untouched(module)


def are_plain(modules: Iterable[nn.Module], kinds: tuple[type[nn.Module], ...]) -> bool:
    """As :func:`is_plain`, of a network's layers in their order; hooks for all modules are not looked for."""
    found = tuple(modules)
    if tuple(map(type, found)) != kinds:
        return False
    for module in found:  # noqa: SIM110  a generator takes twice as long
        if not _is_untouched(module):
            return False
    return True


def _is_untouched(module: nn.Module) -> bool:
    own = module.__dict__
    return not (
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
    )


def is_transformed() -> bool:
    """Whether torch follows, transforms or replaces single operations, which it cannot inside compiled kernels."""
    return (
        torch.compiler.is_compiling()  # first: what follows is nothing for the compiler
        or torch._C._are_functorch_transforms_active()
        or torch._C._is_tracing()
        or torch._C._len_torch_dispatch_stack() > 0
        or forward_ad._current_level >= 0
    )


def is_watched() -> bool:
    """Whether torch would do or see more in a call of layers than compute what they say: the fused paths step aside.

    That is a transform or mode, a cast of their inputs, a hook for all modules or on saved tensors, and the search for
    the operation that brings NaN.
    """
    return (
        is_transformed()
        or torch._C._len_torch_function_stack() > 0
        or torch.is_autocast_enabled("cpu")
        or any(_GLOBAL_HOOKS)
        or torch._C._autograd._top_saved_tensors_default_hooks(True) is not None
        or torch.is_anomaly_enabled()
    )


def are_dense(tensors: Iterable[Tensor | None], dtype: torch.dtype) -> bool:
    """Whether all are tensors, not of a subclass, of this type, dense, on the CPU.

    Example:
        >>> are_dense([torch.zeros(2), nn.Parameter(torch.zeros(3))], torch.float32)
        True
        >>> are_dense([torch.zeros(2), None], torch.float32)
        False
    """
    found = tuple(tensors)
    return (
        _PLAIN_TENSORS.issuperset(map(type, found))
        and all(map(_IS_CPU, found))
        and list(map(_DTYPE, found)).count(dtype) == len(found)
        and list(map(_LAYOUT, found)).count(torch.strided) == len(found)
    )


def are_on_one_gpu(tensors: Iterable[Tensor], dtype: torch.dtype) -> bool:
    """Whether all are tensors, not of a subclass, of this type, dense, on the same GPU."""
    found = tuple(tensors)
    return (
        found[0].is_cuda
        and _PLAIN_TENSORS.issuperset(map(type, found))
        and all(t.device == found[0].device and t.dtype is dtype and t.layout is torch.strided for t in found)
    )

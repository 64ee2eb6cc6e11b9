r"""The leaky integrate-and-fire recurrence, its whole time loop as one autograd node.

Legend: E input step, each held for K = ``hold`` simulation steps, T = E*K, B batch, N neurons.

.. math::
    u_t &= \beta\, \tilde u_{t-1} + i_t - r_t\,\theta   && \text{(reset="subtract")} \\
    u_t &= \beta\,(1 - r_t)\,\tilde u_{t-1} + i_t       && \text{(reset="zero")} \\
    u_t &= \beta\, \tilde u_{t-1} + i_t                 && \text{(reset="none")} \\
    r_t &= \Theta(\tilde u_{t-1} - \theta), \qquad s_t = \Theta(u_t - \theta)

``u~`` is the membrane with the neurons of masked rows set to zero: where ``reset_mask[e, b]`` is true,
row ``b`` starts input step ``e`` from rest. The reset acts one step after the spike and is not differentiated,
as in ``snntorch.Leaky``.

Backward, with ``g_t = dL/du_t``, ``c_t = beta`` (or ``beta (1 - r_t)`` for reset to zero) and
``m_t = 0`` on masked rows, else 1:

.. math::
    g_t = \frac{\partial L}{\partial s_t}\,\sigma'(u_t - \theta) + \frac{\partial L}{\partial u_t}\Big|_{direct}
          + m_{t+1}\,c_{t+1}\,g_{t+1}
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from synrl_ray.snn.functional import lif_scan_functional
from synrl_ray.snn.plain import are_dense, are_on_one_gpu, is_transformed
from synrl_ray.snn.surrogate import Surrogate

Reset = Literal["subtract", "zero", "none"]
RESETS: tuple[Reset, ...] = ("subtract", "zero", "none")
Kernel = Literal["auto", "torch", "numba", "triton", "functional"]


class ScanKernel(Protocol):
    """What a kernel offers: both directions of the scan, on detached tensors."""

    def forward(
        self,
        current: Tensor,
        membrane: Tensor,
        beta: Tensor,
        threshold: Tensor,
        reset: str,
        mask: Tensor | None,
        hold: int,
    ) -> tuple[Tensor, Tensor]:
        """Return membranes and spikes ``[T, B, N]``."""

    def backward(
        self,
        grad_spikes: Tensor | None,
        grad_membranes: Tensor | None,
        membranes: Tensor,
        membrane: Tensor,
        beta: Tensor,
        threshold: Tensor,
        reset: str,
        mask: Tensor | None,
        hold: int,
        surrogate: Surrogate,
        learned: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Return the gradients of current, membrane, beta and threshold (the last two if ``learned``)."""


def lif_scan(
    current: Tensor,
    membrane: Tensor,
    *,
    beta: Tensor,
    threshold: Tensor,
    surrogate: Surrogate,
    reset: Reset = "subtract",
    reset_mask: Tensor | None = None,
    hold: int = 1,
    graded: bool = False,
    kernel: Kernel = "auto",
) -> tuple[Tensor, Tensor]:
    """Run a layer of LIF neurons over time.

    Args:
        current: input current ``[E, B, N]``.
        membrane: membrane before the first step ``[B, N]``.
        beta: membrane decay per step, scalar or ``[N]``, in [0, 1].
        threshold: firing threshold, scalar or ``[N]``.
        surrogate: what replaces the spike's derivative.
        reset: what a spike does to the membrane at the next step.
        reset_mask: ``[E, B]`` bool; true where a row starts from rest at that input step.
        hold: K, simulation steps for which each input current is held.
        graded: emit the surrogate's primitive instead of a binary spike. The surrogate is then the
            true derivative, which is what gradient checks need.
        kernel: ``"torch"`` runs anywhere; ``"numba"`` on CPU only; ``"triton"`` on a GPU; ``"functional"`` can be
            differentiated to any order and transformed or traced. ``"auto"`` takes the last where torch does so, else
            numba on the CPU and Triton, where it is installed, on a GPU.

    Returns:
        Spikes ``[T, B, N]`` and membranes ``[T, B, N]`` (the last one is the state to carry on).
    """
    current, membrane = in_one_precision(current, membrane, beta)
    chosen = choose(kernel, (current, membrane, beta, threshold))
    if chosen == "functional":
        return lif_scan_functional(current, membrane, beta, threshold, surrogate, reset, reset_mask, hold, graded)
    spikes, membranes = _LIFScan.apply(
        current, membrane, beta, threshold, surrogate, reset, reset_mask, hold, graded, _kernel(chosen)
    )
    return spikes, membranes


def in_one_precision(current: Tensor, state: Tensor, parameter: Tensor) -> tuple[Tensor, Tensor]:
    """Current and state in the widest type of the three: autocast narrows currents, and membranes keep theirs."""
    if current.dtype is state.dtype is parameter.dtype:
        return current, state
    dtype = torch.promote_types(torch.promote_types(current.dtype, state.dtype), parameter.dtype)
    return current.to(dtype), state.to(dtype)


def choose(kernel: str, tensors: Sequence[Tensor]) -> Literal["torch", "numba", "triton", "functional"]:
    """Which kernel a scan of these tensors runs on.

    Raises:
        ValueError: if a compiled kernel is asked for and cannot take them.
    """
    if kernel == "torch":
        return "torch"
    if kernel == "functional" or (kernel == "auto" and is_transformed()):
        return "functional"
    if is_transformed():
        raise ValueError(f'the {kernel} kernel cannot be traced or transformed: take kernel="functional"')
    dtype = tensors[0].dtype
    if kernel != "triton" and dtype in (torch.float32, torch.float64) and are_dense(tensors, dtype):
        return "numba"
    if kernel != "numba" and _takes_triton(tensors):
        return "triton"
    if kernel == "auto":
        return "torch"
    found = ", ".join(sorted({f"{t.dtype} on {t.device}" for t in tensors}))
    taken = "float32 or float64 on CPU" if kernel == "numba" else "float32 on a GPU, where Triton is installed"
    raise ValueError(f"the {kernel} kernel takes {taken}, got {found}")


def _takes_triton(tensors: Sequence[Tensor]) -> bool:
    """Whether all are of float32 on one GPU; in Triton's interpreter, the CPU's are taken where it is asked for."""
    if not are_on_one_gpu(tensors, torch.float32):
        return os.environ.get("TRITON_INTERPRET") == "1" and are_dense(tensors, torch.float32) and _has_triton()
    return _has_triton()


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


@cache
def _kernel(name: str) -> ScanKernel:
    """Imported at the first use: numba takes half a second, and Triton is not everywhere."""
    return cast(ScanKernel, import_module(f"synrl_ray.snn.{name}_kernel"))


class _LIFScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        membrane: Tensor,
        beta: Tensor,
        threshold: Tensor,
        surrogate: Surrogate,
        reset: Reset,
        mask: Tensor | None,
        hold: int,
        graded: bool,
        kernel: ScanKernel,
    ) -> tuple[Tensor, Tensor]:
        membranes, spikes = kernel.forward(current, membrane, beta, threshold, reset, mask, hold)
        if graded:
            spikes = surrogate.primitive(membranes - threshold)
        ctx.save_for_backward(membranes, membrane, beta, threshold, mask)
        ctx.surrogate, ctx.reset, ctx.hold, ctx.kernel = surrogate, reset, hold, kernel
        ctx.set_materialize_grads(False)
        return spikes, membranes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor | None, grad_membranes: Tensor | None) -> Any:
        membranes, membrane, beta, threshold, mask = ctx.saved_tensors
        _, _, need_beta, need_threshold = ctx.needs_input_grad[:4]
        grads: list[Tensor | None] = [None] * 4
        if grad_spikes is not None or grad_membranes is not None:
            grads = list(
                ctx.kernel.backward(
                    grad_spikes,
                    grad_membranes,
                    membranes,
                    membrane,
                    beta,
                    threshold,
                    ctx.reset,
                    mask,
                    ctx.hold,
                    ctx.surrogate,
                    need_beta or need_threshold,
                )
            )
        return *grads, *(None,) * 6

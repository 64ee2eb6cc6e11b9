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

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from synrl_ray.snn import torch_kernel
from synrl_ray.snn.functional import lif_scan_functional
from synrl_ray.snn.plain import are_dense, is_transformed
from synrl_ray.snn.surrogate import Surrogate

Reset = Literal["subtract", "zero", "none"]
RESETS: tuple[Reset, ...] = ("subtract", "zero", "none")
Kernel = Literal["auto", "torch", "numba", "functional"]


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
        kernel: ``"torch"`` runs anywhere; ``"numba"`` on CPU only; ``"functional"`` can be differentiated to any order
            and transformed or traced. ``"auto"`` takes the last where torch does so, else numba on the CPU.

    Returns:
        Spikes ``[T, B, N]`` and membranes ``[T, B, N]`` (the last one is the state to carry on).
    """
    if current.dtype is not membrane.dtype:  # as autocast leaves them: membranes keep their precision
        dtype = torch.promote_types(current.dtype, membrane.dtype)
        current, membrane = current.to(dtype), membrane.to(dtype)
    chosen = choose(kernel, (current, membrane, beta, threshold))
    if chosen == "functional":
        return lif_scan_functional(current, membrane, beta, threshold, surrogate, reset, reset_mask, hold, graded)
    spikes, membranes = _LIFScan.apply(
        current, membrane, beta, threshold, surrogate, reset, reset_mask, hold, graded, _kernel(chosen)
    )
    return spikes, membranes


def choose(kernel: str, tensors: Sequence[Tensor]) -> Literal["torch", "numba", "functional"]:
    """Which kernel a scan of these tensors runs on.

    Raises:
        ValueError: if the numba kernel is asked for and cannot take them.
    """
    if kernel == "torch":
        return "torch"
    if kernel == "functional" or (kernel == "auto" and is_transformed()):
        return "functional"
    if is_transformed():
        raise ValueError('the numba kernel cannot be traced or transformed: take kernel="functional"')
    current = tensors[0]
    if current.dtype in (torch.float32, torch.float64) and are_dense(tensors, current.dtype):
        return "numba"
    if kernel == "auto":
        return "torch"
    found = ", ".join(sorted({f"{t.dtype} on {t.device}" for t in tensors}))
    raise ValueError(f"the numba kernel takes float32 or float64 on CPU, got {found}")


def _kernel(name: str) -> ScanKernel:
    if name == "torch":
        return torch_kernel
    from synrl_ray.snn import numba_kernel  # numba takes half a second to import

    return numba_kernel


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

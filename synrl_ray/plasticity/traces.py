r"""Exponential spike traces, the memory of every rule here.

With :math:`\lambda = e^{-\Delta t / \tau}` and spikes :math:`s_t`, trace :math:`x_t` is

.. math::
    x_t &= \lambda\,x_{t-1} + s_t && \text{(pairing="all\_to\_all")} \\
    x_t &= s_t \text{ where a spike is, else } \lambda\,x_{t-1} && \text{(pairing="nearest")}

which from :math:`x_{-1} = x` is, in closed form,

.. math::
    x_t &= \lambda^{t+1} x + \sum_{f \le t} \lambda^{t-f} s_f && \text{(all to all)} \\
    x_t &= \lambda^{t-f} s_f, \quad f \text{ the newest spike up to } t && \text{(nearest)}

References:
    Morrison, Diesmann & Gerstner (2008), doi:10.1007/s00422-008-0233-1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synrl_ray.plasticity.kernel_choice import Kernel, choose_kernel, decay_factor
from synrl_ray.settings.plasticity import TracePairing


def spike_traces(
    spikes: Tensor,
    trace: Tensor,
    *,
    tau: float,
    dt: float = 1.0,
    pairing: TracePairing = "all_to_all",
    reset_mask: Tensor | None = None,
    kernel: Kernel = "auto",
) -> Tensor:
    """Traces after each step's spikes; equations and closed form stand at the top of the module.

    Args:
        spikes: spikes, 0 or 1.
        trace: trace before the first step.
        tau: time constant in ms.
        dt: simulation step in ms.
        pairing: whether a spike adds to the trace or sets it.
        reset_mask: true where an episode starts: the trace is zero before that step's spikes.
        kernel: ``"numba"`` on CPU, ``"torch"`` anywhere, ``"auto"`` chooses.

    Shape:
        spikes ``[T, B, N]``, trace ``[B, N]``, reset_mask ``[T, B]`` → ``[T, B, N]`` in the trace's dtype.

    Raises:
        ValueError: for a time constant that is not positive, an unknown pairing, or tensors that do not fit.

    Example:
        >>> import torch
        >>> spikes = torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1)
        >>> [round(x, 4) for x in spike_traces(spikes, torch.zeros(1, 1), tau=20.0).flatten().tolist()]
        [1.0, 0.9512, 1.9048]
    """
    check_spikes(spikes, trace, reset_mask)
    if pairing not in ("all_to_all", "nearest"):
        raise ValueError(f"pairing must be all_to_all or nearest, got {pairing!r}")
    scan = choose_kernel(kernel, trace).trace_scan
    return scan(spikes.to(trace.dtype), trace, decay_factor(tau, dt), pairing == "nearest", reset_mask)


def check_spikes(spikes: Tensor, trace: Tensor, reset_mask: Tensor | None) -> None:
    """Refuse spikes that are not ``[T, B, N]``, a trace that is not ``[B, N]``, a mask that is not ``[T, B]`` bool.

    Raises:
        ValueError: saying what it is.
    """
    if spikes.dim() != 3 or spikes.shape[0] == 0 or trace.shape != spikes.shape[1:]:
        raise ValueError(
            f"spikes must be [T, B, N] with T > 0 and the trace [B, N], got {tuple(spikes.shape)} and "
            f"{tuple(trace.shape)}"
        )
    if reset_mask is not None and (reset_mask.shape != spikes.shape[:2] or reset_mask.dtype != torch.bool):
        raise ValueError(
            f"reset_mask must be bool [T, B] = {tuple(spikes.shape[:2])}, got {reset_mask.dtype} "
            f"{tuple(reset_mask.shape)} (synrl_ray.snn.masks.at_first_step makes it from [E, B])"
        )

"""The scans of plasticity in plain torch operations: the reference, and what runs on a GPU.

Legend: T simulation steps, B batch, I pre, O post, N neurons. What each function computes:
:class:`synrl_ray.plasticity.kernel_choice.PlasticityKernel`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synrl_ray.plasticity.factors import Factors


def trace_scan(spikes: Tensor, trace: Tensor, decay: float, nearest: bool, mask: Tensor | None) -> Tensor:
    """Traces ``[T, B, N]`` after each step's spikes."""
    traces = torch.empty_like(spikes)
    for t, spikes_BN in enumerate(spikes.unbind(0)):
        trace = trace * decay
        if mask is not None:
            trace = trace.masked_fill(mask[t].unsqueeze(-1), 0)
        trace = torch.where(spikes_BN != 0, spikes_BN, trace) if nearest else trace + spikes_BN
        traces[t] = trace
    return traces


def discounted_sums(values: Tensor, decay: float, mask: Tensor | None) -> Tensor:
    """``[T, B]``: each step's value plus the decayed later ones up to the next masked step."""
    sums = values.clone()
    for t in range(values.shape[0] - 2, -1, -1):
        later = sums[t + 1] * decay
        sums[t] += later if mask is None else later.masked_fill(mask[t + 1], 0)
    return sums


def pair_sums(factors: Factors, scale: Tensor | None) -> tuple[Tensor, Tensor]:
    """Potentiation and depression ``[I, O]``, summed over steps and rows."""
    x, y, d, p = factors
    if scale is not None:
        p, d = p * scale.unsqueeze(-1), d * scale.unsqueeze(-1)
    x, y, d, p = (factor.flatten(0, 1) for factor in (x, y, d, p))
    return x.t() @ p, d.t() @ y


def pair_sums_per_row(factors: Factors, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Potentiation and depression of each row, ``[B, I, O]``."""
    x, y, d, p = factors
    potentiation = torch.einsum("tbi,tbo->bio", x, p * scale.unsqueeze(-1))
    return potentiation, torch.einsum("tbi,tbo->bio", d * scale.unsqueeze(-1), y)

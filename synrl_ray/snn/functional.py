"""The LIF recurrence in plain differentiable operations: for ``torch.func`` and derivatives of any order.

Same values and first derivatives as the fused scans of :mod:`synrl_ray.snn.scan`, one autograd node per operation and
time step. ``vmap``, ``grad``, ``jvp`` and second derivatives (those of the surrogate's primitive) pass through it,
which meta-learning needs and a hand-written backward pass does not allow. :func:`synrl_ray.snn.lif_scan` turns to it by
itself inside ``torch.func`` transforms; ask with ``kernel="functional"`` for second derivatives outside.

Legend: E input step, each held for K = ``hold`` simulation steps, T = E*K, B batch, N neurons.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synrl_ray.snn.surrogate import Surrogate


def spike(x: Tensor, surrogate: Surrogate) -> Tensor:
    """1 where ``x > 0``, else 0; differentiates like the surrogate's primitive, to any order.

    Example:
        >>> x = torch.tensor([-1.0, 0.0, 3.0], requires_grad=True)
        >>> spike(x, Surrogate("fast_sigmoid", 1.0)).tolist()
        [0.0, 0.0, 1.0]
        >>> torch.autograd.grad(spike(x, Surrogate("fast_sigmoid", 1.0)).sum(), x)[0].tolist()
        [0.25, 1.0, 0.0625]
    """
    smooth = surrogate.primitive(x)
    return (x > 0).to(x.dtype) + (smooth - smooth.detach())


def lif_scan_functional(
    current: Tensor,
    membrane: Tensor,
    beta: Tensor,
    threshold: Tensor,
    surrogate: Surrogate,
    reset: str,
    mask: Tensor | None,
    hold: int,
    graded: bool,
) -> tuple[Tensor, Tensor]:
    """Return spikes and membranes ``[T, B, N]``; arguments as in :func:`synrl_ray.snn.lif_scan`."""
    spikes, membranes = [], []
    u = membrane
    for e, i_e in enumerate(current.unbind(0)):
        if mask is not None:
            u = torch.where(mask[e].unsqueeze(-1), torch.zeros_like(u), u)
        for _ in range(hold):
            fired = (u > threshold).to(u.dtype).detach()
            if reset == "zero":
                u = u * (1 - fired)
            u = beta * u + i_e
            if reset == "subtract":
                u = u - fired * threshold
            x = u - threshold
            membranes.append(u)
            spikes.append(surrogate.primitive(x) if graded else spike(x, surrogate))
    return torch.stack(spikes), torch.stack(membranes)

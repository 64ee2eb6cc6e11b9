r"""Pair and triplet STDP of a whole fragment.

Weights are shared by all environments of the batch, ``[I, O]``; each change is averaged over the batch, or summed.
Equations of a step: :mod:`synrl_ray.plasticity.pairing`. ``dependence`` scales them:

.. math::
    \Delta w &= P - D && \text{(additive, hard bounds)} \\
    \Delta w &= (w_{max} - w)\,P - (w - w_{min})\,D && \text{(multiplicative, soft bounds)}

where P and D are the potentiating and depressing terms. The multiplicative form is van Rossum, Bi & Turrigiano (2000),
doi:10.1523/JNEUROSCI.20-23-08812.2000, for depression, and Gütig et al. (2003),
doi:10.1523/JNEUROSCI.23-09-03697.2003, with an exponent of 1, for both.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from synrl_ray.plasticity.changes import fragment_changes
from synrl_ray.plasticity.factors import STDPState
from synrl_ray.plasticity.kernel_choice import Kernel
from synrl_ray.settings.plasticity import STDPConfig, WeightBounds

Reduction = Literal["mean", "sum"]


def stdp(
    pre_spikes: Tensor,
    post_spikes: Tensor,
    state: STDPState,
    config: STDPConfig,
    *,
    weights: Tensor | None = None,
    bounds: WeightBounds | None = None,
    dt: float = 1.0,
    reset_mask: Tensor | None = None,
    reduction: Reduction = "mean",
    kernel: Kernel = "auto",
) -> tuple[Tensor, STDPState]:
    """Propose the weight change of a fragment; nothing is applied or mutated.

    The weights stand still during the fragment: additive changes do not read them, multiplicative ones are scaled
    with the weights handed in.

    Args:
        pre_spikes, post_spikes: spikes, 0 or 1.
        state: traces before the first step, from :func:`initial_state` or the previous fragment.
        config: the rule; time constants in ms.
        weights, bounds: read by multiplicative rules only.
        dt: simulation step in ms.
        reset_mask: true where an episode starts: that row's traces are zero before the step.
        reduction: average or sum over the batch; sums over time either way.
        kernel: ``"numba"`` on CPU, ``"torch"`` anywhere, ``"auto"`` chooses.

    Shape:
        pre_spikes ``[T, B, I]``, post_spikes ``[T, B, O]``, weights ``[I, O]``, reset_mask ``[T, B]``
        → delta ``[I, O]`` and the state after the last step.

    Raises:
        ValueError: for tensors that do not fit, or a multiplicative rule without weights and bounds.

    Example:
        >>> import torch
        >>> from synrl_ray.plasticity.pairing import initial_state
        >>> from synrl_ray.settings.plasticity import PairSTDP
        >>> pre, post = torch.zeros(2, 5, 1, 1)
        >>> pre[0], post[4] = 1, 1  # pre leads by 4 ms
        >>> delta, state = stdp(pre, post, initial_state(PairSTDP(), 1, 1, 1), PairSTDP(a_plus=0.01, tau_plus=20.0))
        >>> round(delta.item(), 6)  # 0.01 * exp(-4 / 20)
        0.008187
    """
    delta, _, after = fragment_changes(
        pre_spikes, post_spikes, state, config,
        weights=weights, bounds=bounds, dt=dt, reset_mask=reset_mask, kernel=kernel,
    )  # fmt: skip
    return delta.mul_(batch_scale(pre_spikes, reduction)), after


def batch_scale(pre_spikes: Tensor, reduction: Reduction) -> float:
    """Factor of the sum over the batch.

    Raises:
        ValueError: for an unknown reduction.
    """
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be mean or sum, got {reduction!r}")
    return 1.0 if reduction == "sum" else 1.0 / pre_spikes.shape[1]

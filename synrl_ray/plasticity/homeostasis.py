"""What keeps plastic neurons in their working range: thresholds that follow a firing rate."""

from __future__ import annotations

from torch import Tensor

from synrl_ray.settings.plasticity import ThresholdAdaptation


def threshold_change(spikes: Tensor, config: ThresholdAdaptation) -> Tensor:
    r"""By how much each neuron's threshold is to change after a fragment; nothing is applied.

    .. math:: \Delta\theta = \eta \sum_{t,b} \big(s_{tb} - \rho^*\big)

    Summed over time and batch, so that a fragment, or the environments of several workers, do the same in one piece as
    in parts; whoever adds the change holds the thresholds to their bounds.

    Args:
        spikes: what the neurons did.
        config: target rate in spikes per simulation step, learning rate.

    Shape:
        spikes ``[T, B, N]`` → ``[N]``.

    Raises:
        ValueError: for spikes of another shape.

    References:
        Lazar, Pipa & Triesch (2009), doi:10.3389/neuro.10.023.2009 (intrinsic plasticity).

    Example:
        >>> import torch
        >>> settings = ThresholdAdaptation(target_rate=0.25, lr=0.5)
        >>> threshold_change(torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]]), settings).tolist()
        [0.75, -0.25]
    """
    if spikes.dim() != 3:
        raise ValueError(f"spikes must be [T, B, N], got {tuple(spikes.shape)}")
    return config.lr * (spikes - config.target_rate).sum(dim=(0, 1))

"""What keeps plastic neurons in their working range: thresholds that follow a rate, weights of constant sum."""

from __future__ import annotations

from torch import Tensor

from synrl_ray.settings.plasticity import ThresholdAdaptation


def adapt_thresholds(threshold: Tensor, spikes: Tensor, config: ThresholdAdaptation) -> Tensor:
    r"""Thresholds after a fragment; nothing is changed in place.

    .. math:: \theta \leftarrow \mathrm{clip}\Big(\theta + \eta \sum_t \big(\langle s_t \rangle_B - \rho^*\big),\;
        \theta_{min},\; \theta_{max}\Big)

    Summed over time, so that a fragment does the same in one piece or in two (where no bound is met), and averaged
    over the batch.

    Args:
        threshold: of each neuron.
        spikes: what the neurons did.
        config: target rate in spikes per simulation step, learning rate, bounds.

    Shape:
        threshold ``[N]``, spikes ``[T, B, N]`` → ``[N]``.

    Raises:
        ValueError: for tensors that do not fit.

    References:
        Lazar, Pipa & Triesch (2009), doi:10.3389/neuro.10.023.2009 (intrinsic plasticity).

    Example:
        >>> import torch
        >>> settings = ThresholdAdaptation(target_rate=0.25, lr=0.5)
        >>> adapt_thresholds(torch.ones(2), torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]]), settings).tolist()
        [1.75, 0.75]
    """
    if spikes.dim() != 3 or threshold.shape != spikes.shape[2:]:
        raise ValueError(
            f"threshold must be [N] and spikes [T, B, N], got {tuple(threshold.shape)} and {tuple(spikes.shape)}"
        )
    excess = (spikes.to(threshold.dtype).mean(dim=1) - config.target_rate).sum(dim=0)
    return (threshold + config.lr * excess).clamp(config.threshold_min, config.threshold_max)


def normalise_weights(weights: Tensor, total: float) -> Tensor:
    r"""Scale each neuron's incoming weights to a constant sum of magnitudes; nothing is changed in place.

    .. math:: w_{io} \leftarrow w_{io}\, \frac{W}{\sum_i |w_{io}|}

    A neuron whose weights are all zero keeps them. Signs stay, bounds may not: apply them afterwards.

    Args:
        weights: from neuron i to neuron o.
        total: the sum W.

    Shape:
        weights ``[I, O]`` → ``[I, O]``.

    Raises:
        ValueError: if the total is not positive.

    References:
        Lazar, Pipa & Triesch (2009), doi:10.3389/neuro.10.023.2009 (synaptic normalisation).

    Example:
        >>> import torch
        >>> normalise_weights(torch.tensor([[1.0, 0.0], [-3.0, 0.0]]), total=2.0).tolist()
        [[0.5, 0.0], [-1.5, 0.0]]
    """
    if not total > 0:
        raise ValueError(f"the total must be > 0, got {total}")
    sums = weights.abs().sum(dim=0, keepdim=True)
    return weights * (total / sums.masked_fill(sums == 0, 1))

"""From observations to input of a spiking network: currents or spikes.

Legend: E observations of K simulation steps each, B batch, F features, M neurons per feature; ``...`` are any axes.
Networks hold what they receive as a constant current; these are the other codes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synrl_ray.snn.spike_lists import SpikeLists

_GRANTED = 1e-3  # of a threshold, where numbers that move by whole ones are rounded


def rate(rates: Tensor, num_steps: int, generator: torch.Generator | None = None) -> Tensor:
    """Poisson-like spike trains: each step spikes independently with probability ``rates``, ``[...]`` → ``[T, ...]``.

    Args:
        rates: spike probability per step, in [0, 1].
        num_steps: T >= 1.
        generator: the same seed gives the same spikes; ``None`` draws from torch's global generator.

    Raises:
        ValueError: if ``num_steps`` is below 1 or a rate is outside [0, 1] or not finite.

    Example:
        >>> import torch
        >>> rate(torch.tensor([0.0, 1.0]), 3).tolist()
        [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    """
    return (_draws(rates, num_steps, generator) < rates).to(rates.dtype)


def rate_lists(rates: Tensor, num_steps: int, generator: torch.Generator | None = None) -> SpikeLists:
    """The spikes of :func:`rate` as lists, the same ones for the same generator: ``[B, N]`` → of ``[T, B, N]``.

    Args:
        rates, num_steps, generator: as there, on the CPU.

    Raises:
        ValueError: as there.

    Example:
        >>> import torch
        >>> rate_lists(torch.tensor([[0.0, 1.0]]), 3).activity
        0.5
    """
    from synrl_ray.snn.event_kernels import list_fired  # numba takes half a second to import

    draws, num_neurons = _draws(rates, num_steps, generator), rates.shape[1]
    lists = SpikeLists.empty(num_steps * len(rates), num_neurons, num_steps=num_steps)
    cells, index, ends = rates.detach().contiguous().reshape(-1).numpy(), lists.index.numpy(), lists.ends.numpy()
    for t, drawn in enumerate(draws.flatten(1).numpy()):
        list_fired(cells, drawn, t * cells.size, num_neurons, index, ends)
    return lists


def _draws(rates: Tensor, num_steps: int, generator: torch.Generator | None) -> Tensor:
    """``[T, ...]``, uniform in [0, 1)."""
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    if not bool(torch.isfinite(rates).all()):
        raise ValueError("input must be finite")
    if not bool(((rates >= 0) & (rates <= 1)).all()):
        raise ValueError(f"rates must lie in [0, 1], got {rates.min().item():g} to {rates.max().item():g}")
    return torch.rand(num_steps, *rates.shape, generator=generator, dtype=rates.dtype, device=rates.device)


class PopulationCode(nn.Module):
    r"""Gaussian receptive fields: each feature becomes the currents of M neurons.

    .. math:: i_m = \exp\big(-(x - \mu_m)^2 / 2\sigma^2\big), \qquad \mu_m \text{ evenly from low to high}

    Features beyond the range drive the outermost neurons ever less. What is learned at one value then changes little at
    others, where a bare feature drives all neurons at once.

    Args:
        low, high: range of every feature.
        num_neurons: M for each feature.
        width: sigma in units of the distance between neighbouring centres.

    Shape:
        ``[..., F]`` → ``[..., F * M]``.

    Raises:
        ValueError: for an empty range, less than two neurons, or a width that is not positive.

    References:
        Eliasmith & Anderson (2003), "Neural Engineering", MIT Press; Tang, Kumar, Yoo & Michmizos (2020), "Deep
        reinforcement learning with population-coded spiking neural network for continuous control", arXiv:2010.09635.

    Example:
        >>> import torch
        >>> PopulationCode(0.0, 1.0, 3)(torch.tensor([0.5])).argmax().item()
        1
    """

    def __init__(self, low: float, high: float, num_neurons: int, width: float = 1.0) -> None:
        super().__init__()
        if not low < high or num_neurons < 2:
            raise ValueError(f"{num_neurons} receptive fields from {low} to {high} are not a population")
        if not width > 0:
            raise ValueError(f"width must be positive, got {width}")
        self.low, self.high, self.num_neurons, self.width = low, high, num_neurons, width

    def forward(self, x: Tensor) -> Tensor:
        """Return the currents."""
        position = (x - self.low) / (self.high - self.low)
        grid = torch.linspace(0, 1, self.num_neurons, dtype=x.dtype, device=x.device)
        distance = (position.unsqueeze(-1) - grid) * (self.num_neurons - 1) / self.width
        return torch.exp(-0.5 * distance.square()).flatten(-2)


class LatencyCode(nn.Module):
    r"""One spike per feature in each observation, the earlier the larger the value.

    A value :math:`x` of [low, high], and beyond it the nearer end, spikes at step

    .. math:: k = \mathrm{round}\big((1 - p)(K - 1)\big), \qquad p = \frac{x - low}{high - low} \in [0, 1]

    and with :math:`p = 0` never.

    Args:
        low, high: range of every feature.
        num_steps: K, simulation steps per observation.

    Shape:
        ``[E, B, ...]`` → ``[E*K, B, ...]`` of 0 and 1.

    Raises:
        ValueError: for an empty range.

    References:
        Thorpe, Delorme & Van Rullen (2001), "Spike-based strategies for rapid processing",
        doi:10.1016/S0893-6080(01)00083-1.

    Example:
        >>> import torch
        >>> LatencyCode(0.0, 1.0, 3)(torch.tensor([[[1.0, 0.5, 0.0]]])).squeeze(1).T.tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """

    def __init__(self, low: float, high: float, num_steps: int) -> None:
        super().__init__()
        if not low < high:
            raise ValueError(f"latencies need a range, got {low} to {high}")
        self.low, self.high, self.num_steps = low, high, num_steps

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes."""
        steps = torch.arange(self.num_steps, device=x.device).view(-1, *[1] * (x.dim() - 1))
        return (steps == self._when(x).unsqueeze(1)).to(x.dtype).flatten(0, 1)

    def lists(self, x: Tensor) -> SpikeLists:
        """Return the spikes of features ``[E, B, F]`` on the CPU as lists, without a dense copy."""
        from synrl_ray.snn.event_kernels import list_at  # numba takes half a second to import

        num_observations, batch, num_features = x.shape
        num_steps = num_observations * self.num_steps
        lists = SpikeLists.empty(num_steps * batch, num_features, num_steps=num_steps)
        list_at(self._when(x.detach()).int().numpy(), self.num_steps, lists.index.numpy(), lists.ends.numpy())
        return lists

    def _when(self, x: Tensor) -> Tensor:
        """The step of each feature's spike, -1 for none."""
        position = ((x - self.low) / (self.high - self.low)).clamp(0, 1)
        return ((1 - position) * (self.num_steps - 1)).round().masked_fill(position <= 0, -1)


class DeltaCode(nn.Module):
    r"""Spikes for how far a feature has moved from what its spikes so far have told, zero where an episode starts.

    With a threshold :math:`\theta` and the reference :math:`r` that the spikes have told, a feature :math:`x` gives

    .. math:: n = \mathrm{trunc}\Big(\frac{x - r}{\theta} \pm \epsilon\Big), \qquad r \leftarrow r + \theta n,

    :math:`n` spikes of its first neuron for a rise, of its second for a fall: one for each crossing of the threshold,
    as a pixel of an event camera has them. What is told stays within a threshold of the feature, however slowly it
    moves. :math:`\epsilon`, a thousandth away from zero, makes up for rounding where features move by whole thresholds.

    Args:
        num_features: F.
        threshold: positive, in units of the features.

    Shape:
        features ``[E, B, F]``, state ``[B, F]``, reset_mask ``[E, B]``
        → numbers of spikes ``[E, B, 2F]``, rises first, then falls; state ``[B, F]``, the references.

    Raises:
        ValueError: if the threshold is not positive.

    References:
        Lichtsteiner, Posch & Delbruck (2008), "A 128x128 120 dB 15 us latency asynchronous temporal contrast vision
        sensor", doi:10.1109/JSSC.2007.914337, for pixels; Miskowicz (2006), "Send-on-delta concept: an event-based data
        reporting strategy", doi:10.3390/s6010049.

    Example:
        >>> import torch
        >>> DeltaCode(1, 0.5)(torch.tensor([[[0.0]], [[1.0]], [[0.6]], [[0.4]]]))[0].squeeze(1).int().tolist()
        [[0, 0], [2, 0], [0, 0], [0, 1]]
    """

    def __init__(self, num_features: int, threshold: float) -> None:
        super().__init__()
        if not threshold > 0:
            raise ValueError(f"threshold must be positive, got {threshold}")
        self.threshold, self.state_size = threshold, num_features

    def forward(
        self, features: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the spikes and the references."""
        told = torch.zeros_like(features[0]) if state is None else state
        starts = [None] * len(features) if reset_mask is None else reset_mask.unsqueeze(-1)
        numbers = []
        for now, start in zip(features, starts, strict=True):
            told = told if start is None else told.masked_fill(start, 0)
            moved = (now - told) / self.threshold
            numbers.append((moved + _GRANTED * moved.sign()).trunc())
            told = told + self.threshold * numbers[-1]
        crossed = torch.stack(numbers)
        return torch.cat((crossed.clamp(min=0), (-crossed).clamp(min=0)), dim=-1), told

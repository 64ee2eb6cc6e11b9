"""From observations to input of a spiking network: currents or spike trains, batched and seeded.

Legend: T simulation steps, B batch, F features, M neurons per feature; ``...`` are any leading axes. Time comes first.
"""

from __future__ import annotations

import torch
from torch import Tensor


def direct(inputs: Tensor, num_steps: int) -> Tensor:
    """Hold the input as a constant current: ``[...]`` → ``[T, ...]``, a view without copies.

    Networks with ``steps_per_observation`` do the same and run their first layer once instead of T times.

    Raises:
        ValueError: if ``num_steps`` is below 1 or an input is not finite.
    """
    _check(inputs, num_steps)
    return inputs.unsqueeze(0).expand(num_steps, *inputs.shape)


def rate(rates: Tensor, num_steps: int, generator: torch.Generator | None = None) -> Tensor:
    """Poisson-like spike trains: each step spikes independently with probability ``rates``, ``[...]`` → ``[T, ...]``.

    Args:
        rates: spike probability per step, in [0, 1].
        num_steps: T >= 1.
        generator: the same seed gives the same spikes; ``None`` draws from torch's global generator.

    Raises:
        ValueError: if ``num_steps`` is below 1 or a rate is outside [0, 1] or not finite.

    Example:
        >>> rate(torch.tensor([0.0, 1.0]), 3).tolist()
        [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    """
    _check(rates, num_steps, unit=True)
    draws = torch.rand(num_steps, *rates.shape, generator=generator, dtype=rates.dtype, device=rates.device)
    return (draws < rates).to(rates.dtype)


def latency(values: Tensor, num_steps: int) -> Tensor:
    """One spike per input, the earlier the larger the value: ``[...]`` → ``[T, ...]``.

    The spike of value ``x`` comes at step ``round((1 - x)(T - 1))``; zero never spikes.

    Raises:
        ValueError: if ``num_steps`` is below 1 or a value is outside [0, 1] or not finite.

    Example:
        >>> latency(torch.tensor([1.0, 0.5, 0.0]), 3).T.tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    _check(values, num_steps, unit=True)
    when = ((1 - values) * (num_steps - 1)).round()
    steps = torch.arange(num_steps, device=values.device).view(-1, *[1] * values.dim())
    return ((steps == when) & (values > 0)).to(values.dtype)


def population(inputs: Tensor, low: Tensor, high: Tensor, num_neurons: int, width: float = 1.0) -> Tensor:
    r"""Gaussian receptive fields: each feature becomes M rates, ``[..., F]`` → ``[..., F * M]``.

    .. math:: r_m = \exp\big(-(x - \mu_m)^2 / 2\sigma^2\big), \qquad \mu_m \text{ evenly from low to high}

    The rates lie in [0, 1]: use them as a current, or as the probabilities of :func:`rate`.

    Args:
        inputs: observations; beyond the range they drive the outermost neurons ever less.
        low, high: range of every feature ``[F]``, finite, ``low < high``.
        num_neurons: M >= 2.
        width: sigma in units of the distance between neighbouring centres.

    Raises:
        ValueError: for a range that is empty or does not fit, M below 2, or input that is not finite.

    Example:
        >>> population(torch.tensor([0.5]), torch.tensor([0.0]), torch.tensor([1.0]), 3).argmax().item()
        1
    """
    _check(inputs, 1)
    if num_neurons < 2:
        raise ValueError(f"population coding needs at least 2 neurons per feature, got {num_neurons}")
    if width <= 0:
        raise ValueError(f"width must be positive, got {width}")
    if low.shape != inputs.shape[-1:] or high.shape != inputs.shape[-1:]:
        raise ValueError(
            f"low and high must be {tuple(inputs.shape[-1:])}, got {tuple(low.shape)} and {tuple(high.shape)}"
        )
    if not bool((low < high).all() and torch.isfinite(high - low).all()):
        raise ValueError("low must be below high, and both finite")
    return receptive_fields((inputs - low) / (high - low), num_neurons, width)


def receptive_fields(position: Tensor, num_neurons: int, width: float = 1.0) -> Tensor:
    """:func:`population` of positions in the range, 0 at its low end and 1 at its high one; checks nothing."""
    grid = torch.linspace(0, 1, num_neurons, dtype=position.dtype, device=position.device)
    distance = (position.unsqueeze(-1) - grid) * (num_neurons - 1) / width
    return torch.exp(-0.5 * distance.square()).flatten(-2)


def delta(inputs: Tensor, threshold: float, previous: Tensor | None = None) -> Tensor:
    """Spikes where a signal changes: ``[T, ..., F]`` → ``[T, ..., 2F]``, rises first, then falls.

    A step spikes if the signal moved by at least ``threshold`` since the step before.

    Args:
        inputs: the signal over time.
        threshold: positive, in units of the signal.
        previous: the signal before the first step ``[..., F]``; ``None`` lets the first step be silent.

    Raises:
        ValueError: if the threshold is not positive, the input is not finite or ``previous`` does not fit.

    Example:
        >>> delta(torch.tensor([[0.0], [1.0], [0.9], [0.0]]), 0.5).tolist()
        [[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    """
    _check(inputs, 1)
    if not threshold > 0:
        raise ValueError(f"threshold must be positive, got {threshold}")
    before = inputs[0] if previous is None else previous
    if before.shape != inputs.shape[1:]:
        raise ValueError(f"previous must be {tuple(inputs.shape[1:])}, got {tuple(before.shape)}")
    change = torch.diff(inputs, dim=0, prepend=before.unsqueeze(0))
    return torch.cat((change >= threshold, change <= -threshold), dim=-1).to(inputs.dtype)


def _check(inputs: Tensor, num_steps: int, unit: bool = False) -> None:
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    if not bool(torch.isfinite(inputs).all()):
        raise ValueError("input must be finite")
    if unit and not bool(((inputs >= 0) & (inputs <= 1)).all()):
        raise ValueError(f"rates must lie in [0, 1], got {inputs.min().item():g} to {inputs.max().item():g}")

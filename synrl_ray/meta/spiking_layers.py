"""Spiking layers for samples without order: each is shown from rest for some simulation steps, which lie in the batch.

Legend: K samples, T simulation steps, F features. ``[T * K, ...]`` holds all samples of the first step, then all of the
second, and so on.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synrl_ray.snn import LIF, Surrogate


class SampleLIF(nn.Module):
    """:class:`synrl_ray.snn.LIF` from rest.

    Args:
        num_steps: T.
        holds: whether the current is the same in all steps, as a first layer's is.
        beta, surrogate: of the neurons.

    Shape:
        current ``[T * K, ...]``, or ``[K, ...]`` if it is held, → spikes ``[T * K, ...]``.

    Raises:
        ValueError: for less than one step.
    """

    def __init__(
        self, num_steps: int, *, holds: bool = False, beta: float = 0.9, surrogate: Surrogate | None = None
    ) -> None:
        super().__init__()
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {num_steps}")
        self.num_steps, self.holds = num_steps, holds
        # The fused scans have a hand-written first derivative and no second one.
        self.neuron = LIF(
            beta, surrogate=surrogate or Surrogate("atan"), hold=num_steps if holds else 1, kernel="functional"
        )

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes."""
        spikes, _ = self.neuron(current.reshape(1 if self.holds else self.num_steps, 1, -1))
        return torch.as_tensor(spikes.reshape(-1, *current.shape[1:]))


class StepMean(nn.Module):
    r"""Mean over the simulation steps; with :math:`\beta < 1`, weighted as on a leaky integrator at the end.

    .. math:: y = \sum_t \beta^{T-1-t} x_t \Big/ \sum_t \beta^{T-1-t}

    Args:
        num_steps: T.
        beta: decay of the weights, backwards in time.

    Shape:
        ``[T * K, F]`` → ``[K, F]``.
    """

    def __init__(self, num_steps: int, beta: float = 1.0) -> None:
        super().__init__()
        self.num_steps = num_steps
        powers = beta ** torch.arange(num_steps - 1, -1, -1, dtype=torch.get_default_dtype())
        self.register_buffer("weights", powers / powers.sum())
        self.weights: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return the means."""
        return torch.einsum("t,tkf->kf", self.weights, x.unflatten(0, (self.num_steps, -1)))

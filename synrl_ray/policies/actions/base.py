"""What is asked of an action distribution.

Legend: leading axes are any batch; O network outputs, D distribution inputs, A action dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor


class ActionDistribution(ABC):
    """What the outputs of a network say of an action.

    Attributes:
        num_outputs: numbers that the network gives, O.
        num_free: parameters beside the network, which its outputs are completed by.
        needs_bounds: whether a Box must have finite bounds.
    """

    num_outputs: int
    num_free: int = 0
    needs_bounds: ClassVar[bool] = False

    @property
    def num_inputs(self) -> int:
        """Distribution inputs D: outputs and free parameters."""
        return self.num_outputs + self.num_free

    def complete(self, outputs: Tensor, free: Tensor | None) -> Tensor:
        """Distribution inputs ``[..., D]`` from the network's outputs ``[..., O]`` and the free parameters."""
        return outputs if free is None else torch.cat((outputs, free.expand(*outputs.shape[:-1], -1)), dim=-1)

    @abstractmethod
    def deterministic(self, inputs: Tensor) -> Tensor:
        """The action that is taken greedily, ``[...]`` or ``[..., A]``; the network's outputs alone say it."""

    @abstractmethod
    def sample(self, inputs: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Drawn actions ``[...]`` or ``[..., A]``, and their log-probabilities ``[...]``."""

    @abstractmethod
    def logp_and_entropy(self, inputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of given actions and the distribution's entropy (nats), both ``[...]``."""

    @abstractmethod
    def kl(self, inputs: Tensor, others: Tensor) -> Tensor:
        """Kullback-Leibler divergence (nats) of the distribution of ``others`` from that of ``inputs``, ``[...]``."""

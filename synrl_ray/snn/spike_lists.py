"""Spikes as lists of the neurons that fired, which cost memory and time in spikes instead of in neurons."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SpikeLists:
    """Which neurons fired, for each row of a batch, in their order.

    Args:
        index: the neurons ``[R, N]``, ``int32``, those of a row from its beginning on; what follows has no meaning.
        ends: how many fired up to the end of each pixel ``[R, P + 1]``, ``int32``, from 0 on. The N neurons are P
            pixels of N / P channels each; where they are no map, a single one.

    Example:
        >>> lists = SpikeLists.of(torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
        >>> lists.index[0, :2].tolist(), lists.ends.tolist(), lists.activity
        ([1, 2], [[0, 2], [0, 0]], 0.3333333333333333)
        >>> lists.dense(torch.empty(2, 3)).tolist()
        [[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """

    index: Tensor
    ends: Tensor

    @classmethod
    def empty(cls, num_rows: int, num_neurons: int, num_pixels: int = 1) -> SpikeLists:
        """Room for the spikes of so many rows."""
        index = torch.empty(num_rows, num_neurons, dtype=torch.int32, device="cpu")
        return cls(index, torch.empty(num_rows, num_pixels + 1, dtype=torch.int32, device="cpu"))

    @classmethod
    def of(cls, spikes: Tensor, num_pixels: int = 1) -> SpikeLists:
        """The lists of dense spikes ``[R, N]``; whatever is above zero is one."""
        from synrl_ray.snn.event_kernels import list_fired  # numba takes half a second to import

        lists = cls.empty(spikes.shape[0], spikes.shape[1], num_pixels)
        fired = spikes.detach().to("cpu").contiguous().reshape(-1)
        list_fired(
            fired.numpy(), torch.zeros_like(fired).numpy(), 0, spikes.shape[1], lists.index.numpy(), lists.ends.numpy()
        )
        return lists

    @property
    def activity(self) -> float:
        """The share of neurons and rows in which there is a spike."""
        return self.ends[:, -1].sum().item() / max(1, self.index.numel())

    def dense(self, out: Tensor) -> Tensor:
        """Fill ``out`` ``[R, N]`` with the spikes as ones and zeros."""
        from synrl_ray.snn.event_kernels import spread  # numba, as above

        spread(self.index.numpy(), self.ends.numpy(), 0, out.numel(), out.reshape(-1).numpy())
        return out

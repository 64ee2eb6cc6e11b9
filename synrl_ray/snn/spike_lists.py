"""Spikes as lists of the neurons that fired, which cost memory and time in spikes instead of in neurons."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SpikeLists:
    """Which neurons fired, for each row of a batch, in their order. What is made by hand is not looked at.

    Args:
        index: the neurons ``[R, N]``, ``int32``, those of a row from its beginning on; what follows has no meaning.
        ends: how many fired up to the end of each pixel ``[R, P + 1]``, ``int32``, from 0 on. The N neurons are P
            pixels of N / P channels each; where they are no map, a single one.
        num_steps: T, simulation steps, whose rows follow one another: R = T * B.

    Example:
        >>> lists = SpikeLists.of(torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
        >>> lists.index[0, :2].tolist(), lists.ends.tolist(), lists.activity
        ([1, 2], [[0, 2], [0, 0]], 0.3333333333333333)
        >>> lists.dense(torch.empty(2, 3)).tolist()
        [[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """

    index: Tensor
    ends: Tensor
    num_steps: int = 1

    @classmethod
    def empty(cls, num_rows: int, num_neurons: int, num_pixels: int = 1, num_steps: int = 1) -> SpikeLists:
        """Room for the spikes of so many rows.

        Raises:
            ValueError: for neurons that are not so many pixels of equal size.
        """
        if num_pixels < 1 or num_neurons % num_pixels:
            raise ValueError(f"{num_neurons} neurons are no {num_pixels} pixels of equal size")
        index = torch.empty(num_rows, num_neurons, dtype=torch.int32, device="cpu")
        ends = torch.empty(num_rows, num_pixels + 1, dtype=torch.int32, device="cpu")
        return cls(index, ends, num_steps)

    @classmethod
    def of(cls, spikes: Tensor, num_pixels: int = 1) -> SpikeLists:
        """The lists of dense spikes ``[R, N]`` or ``[T, B, N]``; whatever is above zero is one."""
        from synrl_ray.snn.event_kernels import list_fired  # numba takes half a second to import

        *steps, _, num_neurons = spikes.shape
        lists = cls.empty(spikes.shape[:-1].numel(), num_neurons, num_pixels, *steps)
        lists.ends.zero_()  # which stays where there are no neurons
        fired = spikes.detach().to("cpu").contiguous().reshape(-1)
        if fired.dtype not in (torch.float32, torch.float64):  # which the kernel compares with zero
            fired = (fired > 0).float()
        list_fired(
            fired.numpy(), torch.zeros_like(fired).numpy(), 0, num_neurons, lists.index.numpy(), lists.ends.numpy()
        )
        return lists

    @classmethod
    def of_events(
        cls, steps: Tensor, rows: Tensor, neurons: Tensor, shape: tuple[int, int, int], num_pixels: int = 1
    ) -> SpikeLists:
        """The lists of an event stream, in any order; an event that comes twice counts twice.

        Args:
            steps, rows, neurons: of each event, integers ``[num_events]``: its simulation step, the entry of the batch,
                the address.
            shape: T, B, N; an entry of the batch has at most N events in a step.
            num_pixels: as of the lists.

        Raises:
            ValueError: for an event that is outside of the shape, more than N in a row, or pixels of unequal size.

        Example:
            >>> steps, rows, neurons = torch.tensor([1, 0, 1]), torch.tensor([0, 0, 0]), torch.tensor([4, 2, 1])
            >>> lists = SpikeLists.of_events(steps, rows, neurons, (2, 1, 5))
            >>> [lists.index[r, : lists.ends[r, -1]].tolist() for r in range(2)]
            [[2], [1, 4]]
        """
        num_steps, batch, num_neurons = shape
        for name, values, limit in (
            ("step", steps, num_steps),
            ("row", rows, batch),
            ("address", neurons, num_neurons),
        ):
            if values.numel() and not (int(values.min()) >= 0 and int(values.max()) < limit):
                raise ValueError(f"the {name} of events is from {values.min()} to {values.max()}, there are {limit}")
        addresses = (steps.long() * batch + rows.long()) * num_neurons + neurons.long()
        addresses = addresses.sort().values
        row, neuron = addresses.div(num_neurons, rounding_mode="floor"), addresses % num_neurons
        counts = torch.bincount(row, minlength=num_steps * batch)
        if counts.numel() and int(counts.max()) > num_neurons:
            raise ValueError(f"{int(counts.max())} events of {num_neurons} neurons in one step")
        lists = cls.empty(num_steps * batch, num_neurons, num_pixels, num_steps)
        place = torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]
        lists.index[row, place] = neuron.int()
        pixel = neuron * num_pixels // num_neurons
        parts = torch.bincount(row * num_pixels + pixel, minlength=num_steps * batch * num_pixels)
        lists.ends[:, 0] = 0
        lists.ends[:, 1:] = parts.view(-1, num_pixels).cumsum(1)
        return lists

    @property
    def num_pixels(self) -> int:
        """P."""
        return self.ends.shape[1] - 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """T, B, N."""
        return self.num_steps, len(self.index) // self.num_steps, self.index.shape[1]

    @property
    def activity(self) -> float:
        """The share of neurons and rows in which there is a spike."""
        return self.ends[:, -1].sum().item() / max(1, self.index.numel())

    def dense(self, out: Tensor) -> Tensor:
        """Fill ``out`` ``[R, N]``, which is contiguous, with the spikes as ones and zeros."""
        from synrl_ray.snn.event_kernels import spread  # numba, as above

        spread(self.index.numpy(), self.ends.numpy(), 0, out.numel(), out.view(-1).numpy())
        return out

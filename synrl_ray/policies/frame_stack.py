"""A stack of the newest observations whose memory is state, so that frames are stored once and replayed exactly.

Legend: E environment step, B batch, C channels (the observation's first axis), S state.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class FrameStack(nn.Module):
    """Puts each observation behind the ``size - 1`` before it, along the first axis; zeros before an episode's start.

    Args:
        shape: of an observation, ``[C, ...]``.
        size: observations in a stack.

    Shape:
        observations ``[E, B, C, ...]``, state ``[B, S]``, reset_mask ``[E, B]``
        → stacks ``[E, B, size * C, ...]``, oldest first, state ``[B, S]``.

    Example:
        >>> stack = FrameStack((1,), 2)
        >>> stacks, state = stack(torch.tensor([[[1.0]], [[2.0]]]), None, torch.tensor([[True], [False]]))
        >>> stacks.tolist(), state.tolist()
        ([[[0.0, 1.0]], [[1.0, 2.0]]], [[2.0]])
    """

    def __init__(self, shape: tuple[int, ...], size: int) -> None:
        super().__init__()
        self.shape = shape
        self.size = size
        self.stacked_shape = (size * shape[0], *shape[1:])
        self.state_size = (size - 1) * math.prod(shape)

    def forward(
        self, observations: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the stacks and the observations that the next one is put behind."""
        num_steps, batch = observations.shape[:2]
        if state is None:
            state = observations.new_zeros(batch, self.state_size)
        past = state.view(batch, self.size - 1, *self.shape).transpose(0, 1)
        frames = torch.cat((past, observations))
        stacks = torch.stack([frames[age : age + num_steps] for age in range(self.size)], dim=2)
        if reset_mask is not None:
            for back in range(1, self.size):
                stacks[:, :, self.size - 1 - back] *= _same_episode(reset_mask, back).view(
                    num_steps, batch, *(1 for _ in self.shape)
                )
        return stacks.flatten(2, 3), stacks[-1, :, 1:].reshape(batch, self.state_size)


def _same_episode(starts: Tensor, back: int) -> Tensor:
    """Whether the observation ``back`` steps earlier is of the same episode, as far as these steps tell: ``[E, B]``."""
    begun = starts.clone()
    for step in range(1, back):
        begun[step:] |= starts[:-step]
    return ~begun

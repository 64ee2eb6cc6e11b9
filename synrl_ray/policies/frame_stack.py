"""A stack of the newest observations whose memory is state, so that frames are stored once and replayed exactly.

Legend: E environment step, B batch, C channels (the observation's first axis), S state.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from synrl_ray.snn.plain import are_dense, is_transformed

_COMPILED = (torch.uint8, torch.float32, torch.float64)


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
        """Return the stacks and the observations that the next one is put behind.

        Stacks of images lie in memory as convolutions on a CPU want them, channels last.
        """
        num_steps, batch = observations.shape[:2]
        if state is None:
            state = observations.new_zeros(batch, self.state_size)
        past = state.view(batch, self.size - 1, *self.shape).transpose(0, 1)
        frames = torch.cat((past, observations))
        kept = None if reset_mask is None else _of_episode(reset_mask, self.size)
        if len(self.shape) == 3 and _can_be_compiled(frames):
            stacks = _by_pixels(frames, torch.ones(num_steps, batch, self.size).bool() if kept is None else kept)
        else:
            stacks = torch.stack([frames[age : age + num_steps] for age in range(self.size)], dim=2)
            if kept is not None:
                stacks[:, :, :-1] *= kept[:, :, :-1].view(num_steps, batch, self.size - 1, *(1 for _ in self.shape))
        return stacks.flatten(2, 3), stacks[-1, :, 1:].reshape(batch, self.state_size)


def _can_be_compiled(frames: Tensor) -> bool:
    """Whether a compiled kernel may read them, and no gradient is wanted of what it reads."""
    if is_transformed() or frames.requires_grad or frames.dtype not in _COMPILED:
        return False
    return are_dense((frames,), frames.dtype)


def _by_pixels(frames: Tensor, kept: Tensor) -> Tensor:
    """Stacks ``[E, B, A, C, H, W]``, in memory ``[E, B, H, W, A, C]``."""
    from synrl_ray.policies.frame_kernel import stack_pixels  # numba takes half a second to import

    (num_steps, batch, size), (channels, height, width) = kept.shape, frames.shape[2:]
    stacks = frames.new_empty(num_steps, batch, height * width, size, channels)
    stack_pixels(frames.flatten(3).numpy(), kept.numpy(), stacks.numpy())
    return stacks.unflatten(2, (height, width)).permute(0, 1, 4, 5, 2, 3)


def _of_episode(starts: Tensor, size: int) -> Tensor:
    """Which frames of a stack, oldest first, are of the newest one's episode, as far as these steps tell.

    Args:
        starts: where episodes start ``[E, B]``.
        size: A, frames in a stack.

    Returns:
        ``[E, B, A]``.
    """
    step = torch.arange(len(starts), device=starts.device).unsqueeze(1)
    newest = torch.where(starts, step, -size).cummax(dim=0).values
    ages = torch.arange(size - 1, -1, -1, device=starts.device)
    return ages <= (step - newest).unsqueeze(-1)

"""Reset masks at the resolution of simulation steps."""

from __future__ import annotations

from torch import Tensor


def at_first_step(reset_mask: Tensor | None, num_steps: int) -> Tensor | None:
    """``[E, B]`` → ``[E*K, B]``: a row starts from rest at its observation's first simulation step.

    Example:
        >>> import torch
        >>> at_first_step(torch.tensor([[True], [False]]), 2).flatten().tolist()
        [True, False, False, False]
    """
    if reset_mask is None or num_steps == 1:
        return reset_mask
    mask = reset_mask.new_zeros(reset_mask.shape[0], num_steps, reset_mask.shape[1])
    mask[:, 0] = reset_mask
    return mask.flatten(0, 1)

"""Changes of the same weights from several workers, made into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

Deltas = Mapping[str, Tensor]
"""Change of each plastic weight, by name."""
Merge = Literal["sum", "mean"]


def merge_deltas(parts: Sequence[tuple[Deltas, int]], merge: Merge = "sum") -> dict[str, Tensor]:
    r"""One change of each weight.

    .. math::
        \Delta w = \sum_i \Delta w_i \quad\text{(sum)}, \qquad
        \Delta w = \frac{\sum_i n_i \Delta w_i}{\sum_i n_i} \quad\text{(mean)}

    The sum is what one worker would have learned from all the steps, as far as changes do not depend on one another;
    the mean is the step of an average worker, and the safer one where they do.

    Args:
        parts: of each worker, its changes and the environment steps :math:`n_i` that they come from.
        merge: which of the two.

    Raises:
        ValueError: without parts, or if they name different weights.

    Example:
        >>> import torch
        >>> one, other = {"w": torch.tensor([1.0])}, {"w": torch.tensor([4.0])}
        >>> merge_deltas([(one, 2), (other, 1)], "mean")["w"].tolist()
        [2.0]
    """
    if not parts:
        raise ValueError("there is nothing to merge")
    names = set(parts[0][0])
    if any(set(deltas) != names for deltas, _ in parts):
        raise ValueError("workers changed different weights")
    total = sum(steps for _, steps in parts)
    shares = [1.0 if merge == "sum" else steps / max(1, total) for _, steps in parts]
    return {
        name: sum((share * deltas[name] for (deltas, _), share in zip(parts[1:], shares[1:], strict=True)),
                  start=shares[0] * parts[0][0][name])
        for name in parts[0][0]
    }  # fmt: skip

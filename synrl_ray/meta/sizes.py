"""What adaptation computes at once. How many tasks are judged together depends on it: memory has room for them."""

from __future__ import annotations

from torch import nn

from synrl_ray.errors import UserError
from synrl_ray.meta.spiking_layers import SampleLIF

_MOST_TASKS = 50
"""In one computation."""
_MOST_NUMBERS = 2**30
"""That one computation holds: 4 GiB."""


def numbers_per_task(model: nn.Module, num_samples: int, *, pixels: int = 1, env_steps: int = 0) -> int:
    """How many numbers adaptation to one task computes at once.

    Args:
        model: the learner's, one of :mod:`synrl_ray.meta.networks`.
        num_samples: of the sets that pass the network together, or all states.
        pixels: of a sample, where it is an image.
        env_steps: of the episodes that are played together.
    """
    steps = max((layer.num_steps for layer in model.modules() if isinstance(layer, SampleLIF)), default=1)
    per_sample = 0
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            per_sample += layer.in_features + layer.out_features
        elif isinstance(layer, nn.Conv2d):
            per_sample += layer.out_channels * pixels
        elif isinstance(layer, nn.MaxPool2d):
            pixels //= 4
    copies = 3 * sum(p.numel() for p in model.parameters())  # adapted, their gradients, and what they become
    return num_samples * steps * per_sample + copies + 8 * env_steps


def samples_at_once(by_support: bool, support: int, query: int) -> int:
    """Samples that pass the network together: of the larger one of a task's sets, or of both."""
    return support + query if by_support else max(support, query)


def tasks_at_once(numbers: int) -> int:
    """How many tasks are judged together, where each takes so many numbers."""
    return max(1, min(_MOST_TASKS, _MOST_NUMBERS // max(1, numbers)))


def require_bounded(numbers: int) -> None:
    """Refuse a learner that computes too much for one task, which its weights need not show.

    Raises:
        UserError: for so many numbers.
    """
    if numbers > _MOST_NUMBERS:
        problem = f"each task takes {numbers:,} numbers at once, {_MOST_NUMBERS:,} are the most"
        raise UserError(problem, "take fewer samples, or a smaller learner")

"""Where a process that learns computes, and how precisely."""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
from torch import Tensor

from synrl_ray.errors import UserError


def compute_alone() -> None:
    """Let this process compute with one thread, small networks lose by more, and leave alone memory that is new or old.

    RLlib wants deterministic algorithms with its seeds, and for these torch fills all memory that it takes first: a
    fifth of the time in which a convolutional network learns. And Python's collector would go through 400,000 objects
    of imported packages whenever an environment made many of its own: a tenth of the time of CarRacing's episodes.
    """
    torch.set_num_threads(1)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    _keep_what_is_imported()


@cache
def _keep_what_is_imported() -> None:
    """Once only: what a training leaves behind must not be kept by the next one in the same process."""
    gc.collect()  # garbage that is there would be kept as well
    gc.freeze()


def learning_device(gpus: float) -> torch.device:
    """The CPU, or the GPU that this process was given a share of.

    Raises:
        UserError: if torch finds none here.
    """
    if not gpus:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise no_gpu()
    return torch.device("cuda", 0)  # Ray shows a worker its own GPUs only


def network_pass(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Within, matrix products and convolutions are taken in that precision; parameters, membranes and what a loss is
    computed from stay in float32, and so do their gradients.

    Args:
        precision: ``"float32"`` for all as it is, or ``"bfloat16"``.
        device: of the network.
    """
    return nullcontext() if precision == "float32" else torch.autocast(device.type, getattr(torch, precision))


def widened(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """A pass's outputs in float32."""
    return {name: value.float() for name, value in outputs.items()}


def no_gpu() -> UserError:
    """What is said where Ray has given a process a GPU that torch cannot use."""
    problem = "a process that learns was given a GPU, and torch finds none there"
    return UserError(problem, "install a torch with CUDA on the nodes that have GPUs")

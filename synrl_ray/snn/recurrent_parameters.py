"""What the scan of a recurrent layer and its kernels are told of it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from synrl_ray.snn.surrogate import Surrogate


class Parameters(NamedTuple):
    """Of the layer: decays and threshold scalar or ``[N]``, the recurrent weight ``[N, N]`` (to, from) or ``[N]``."""

    alpha: Tensor
    beta: Tensor
    threshold: Tensor
    weight: Tensor


class Settings(NamedTuple):
    """What a scan is told beside its tensors."""

    surrogate: Surrogate
    reset: str

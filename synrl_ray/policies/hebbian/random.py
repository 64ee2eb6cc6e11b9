"""Random numbers by what they are for: a counter-based generator gives the same ones in whichever process.

Philox of Salmon et al. (2011), doi:10.1145/2063384.2063405.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Purpose = Literal["perturbation", "environment", "weights", "genes", "shuffle"]
_PURPOSES: tuple[Purpose, ...] = ("perturbation", "environment", "weights", "genes", "shuffle")


def stream(seed: int, purpose: Purpose, first: int = 0, second: int = 0) -> np.random.Generator:
    """A generator of its own for each seed, purpose, and pair of numbers, all from 0 to 2**63.

    The seed and the purpose are the key; the numbers are the upper half of the counter, whose lower half counts.

    Example:
        >>> a, b = (stream(7, "perturbation", 3, 5).standard_normal(4) for _ in range(2))
        >>> bool((a == b).all()), bool((a == stream(7, "perturbation", 3, 6).standard_normal(4)).any())
        (True, False)
    """
    key = np.array([seed, _PURPOSES.index(purpose)], np.uint64)
    counter = np.array([0, 0, second, first], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def uniform_weights(seed: int, first: int, second: int, size: int, width: float) -> np.ndarray:
    """Weights of an episode's start, ``[size]``, uniform between ``-width`` and ``width``; float32."""
    drawn = stream(seed, "weights", first, second).random(size, dtype=np.float32)
    weights: np.ndarray = (2 * drawn - 1) * np.float32(width)
    return weights

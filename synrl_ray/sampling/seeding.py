"""Random numbers of their own for every run, env runner and point of a run."""

from __future__ import annotations

from typing import Any

import numpy as np


def draw_seeds(runner: Any, steps: int, number: int) -> list[int]:
    """Seeds in [0, 2**32) for an env runner after that many environment steps of its run.

    Environments add 2**31 or more, so that no run shares a seed with another by counting up, nor with an evaluation.

    Args:
        runner: its ``config.seed`` and ``worker_index`` tell runs and runners apart.
        steps: environment steps that the run has taken so far.
        number: of seeds.
    """
    sequence = np.random.SeedSequence([runner.config.seed or 0, runner.worker_index or 0, steps])
    return [int(seed) for seed in sequence.generate_state(number)]

"""What a maze agent's spikes, traces and weights do, for the metrics.

Legend: K simulation steps, N environments, I place cells, O action neurons.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from synrl_ray.settings.plasticity import WeightBounds

_SATURATED = 0.9
"""Share of observations above which a neuron that wins them counts as saturated."""


class Tally:
    """Sums between two reports.

    ``place_rate``, ``action_rate``: spikes per neuron and simulation step. ``silent_share``, ``saturated_share``:
    action neurons that never won, and those that won more than 0.9 of the observations. ``undecided_share``: decisions
    in which no neuron reached the threshold. ``modulator_mean``, ``modulator_abs``: over transitions.
    ``eligibility_norm``: root of the sum of squares of an environment's trace, averaged. ``skipped_rewards``: those
    that were not finite. ``teacher_current``: the largest of each observation, averaged. ``weight_*``: of the action
    weights; ``weight_at_min_share`` and ``weight_at_max_share`` are those at a bound. ``critic_norm``: of the critic's.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._fired: Tensor | None = None
        self._num_steps = 0
        self._num_skipped = 0

    def add(self, name: str, values: Tensor) -> None:
        """Values that are averaged over all calls until the report."""
        self._sums[name] += float(values.sum())
        self._numbers[name] += values.numel()

    def add_spikes(self, pre: Tensor, post: Tensor, decided: Tensor) -> None:
        """Spikes ``[K, N, I]`` and ``[K, N, O]``, and whether a neuron fired by itself ``[N]``."""
        self.add("place_rate", pre)
        self.add("undecided_share", ~decided)
        fired = post.sum(dim=(0, 1))
        self._fired = fired if self._fired is None else self._fired + fired
        self._num_steps += post.shape[0] * post.shape[1]

    def add_learning(self, modulator: Tensor, eligibility: Tensor, num_skipped: int) -> None:
        """Modulator of the transitions, traces ``[N, I, O]``, rewards that were skipped."""
        self.add("modulator_mean", modulator)
        self.add("modulator_abs", modulator.abs())
        self.add("eligibility_norm", eligibility.flatten(1).norm(dim=1))
        self._num_skipped += num_skipped

    def take(self, action_weights: Tensor, critic_weights: Tensor, bounds: WeightBounds) -> dict[str, float]:
        """The report; counting begins anew."""
        found = {name: total / max(1, self._numbers[name]) for name, total in self._sums.items()}
        if self._fired is not None:
            found["action_rate"] = float(self._fired.mean()) / self._num_steps
            wins = self._fired / self._fired.sum()  # there is one spike for each observation
            found["silent_share"] = float((wins == 0).float().mean())
            found["saturated_share"] = float((wins > _SATURATED).float().mean())
        found["skipped_rewards"] = float(self._num_skipped)
        found["weight_mean"], found["weight_std"] = float(action_weights.mean()), float(action_weights.std())
        found["weight_at_min_share"] = float((action_weights <= bounds.w_min).float().mean())
        found["weight_at_max_share"] = float((action_weights >= bounds.w_max).float().mean())
        found["critic_norm"] = float(torch.linalg.vector_norm(critic_weights))
        self._clear()
        return found

"""How often each layer of a spiking actor fires while it is trained, and what is to be told of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from synrl_ray.policies.actor_critic import ActorCritic

SILENT, SATURATED = 1e-3, 0.9
"""Spikes in each neuron and simulation step below and above which a layer is told of."""
_MOST_ROWS, _MOST_NUMBERS = 256, 2**20
"""Observations for which spikes are counted, and the numbers that are computed for them."""

Rows = tuple[np.ndarray, np.ndarray]
"""Observations ``[n, *obs]`` and the states ``[n, S]`` before them."""


class Activity:
    """Firing rates of the actor's layers, measured once a row of metrics on a sample of what was collected.

    Args:
        calibrates: the algorithm can scale initial weights to a firing rate, which is then what silent layers are
            told to try.
    """

    def __init__(self, *, calibrates: bool = True) -> None:
        self._remedy = ("spiking.firing_rate=0.1, or " if calibrates else "") + "other gains or threshold"
        self._rates: list[float] | None = None
        self._notices: list[str] = []
        self._told: set[str] = set()

    def note(self, network: ActorCritic, sample: Callable[[int], Rows]) -> None:
        """Measure, unless that has been done since the last :meth:`take`.

        Args:
            network: with the weights that collected.
            sample: gives up to that many rows of what was collected.
        """
        if self._rates is None:
            most = max(1, min(_MOST_ROWS, _MOST_NUMBERS // network.numbers_per_observation))
            observations, states = sample(most)
            is_known = len(observations) > 0
            rates = network.firing_rates(torch.from_numpy(observations), torch.from_numpy(states)) if is_known else []
            self.found(rates)

    def found(self, rates: Sequence[float]) -> None:
        """Take rates over that were measured elsewhere."""
        self._rates = list(rates)
        self._warn("hardly fires", [layer for layer, rate in enumerate(rates) if rate < SILENT])
        self._warn("nearly always fires", [layer for layer, rate in enumerate(rates) if rate > SATURATED])

    def tell(self, notice: str) -> None:
        """Let it be said with the next row."""
        self._notices.append(notice)

    def take(self) -> tuple[dict[str, float], tuple[str, ...]]:
        """Columns of a row, and what is to be told; the next row is measured anew."""
        rates, notices = self._rates or [], tuple(self._notices)
        self._rates, self._notices = None, []
        return {f"firing_rate_{layer}": rate for layer, rate in enumerate(rates)}, notices

    def _warn(self, what: str, layers: list[int]) -> None:
        """Once in a run for each condition."""
        if not layers or what in self._told:
            return
        self._told.add(what)
        rates = self._rates or []
        found = ", ".join(f"{layer} ({percent(rates[layer])})" for layer in layers)
        self.tell(
            f"of the actor's layers {what}: {found}; little is learned through such a layer "
            f"(start anew with {self._remedy})"
        )


def percent(rate: float) -> str:
    """As it is shown.

    Example:
        >>> percent(0.0004), percent(0.153)
        ('0.04 %', '15.3 %')
    """
    return f"{100 * rate:.2f} %" if rate < 0.01 else f"{100 * rate:.1f} %"

r"""Networks whose weights change after every decision, by a rule of each synapse or layer.

.. math:: \Delta w_{oi} = \eta (A x_i y_o + B x_i + C y_o + D + E\, p_{oi})

of the activities :math:`x` before and :math:`y` behind it, hyperbolic tangents or firing rates. :math:`p` is of spiking
networks: the mean over simulation steps of pair-based STDP, :math:`r_i s_o - q_o s_i`, with traces :math:`r` of the
spikes before the synapse and :math:`q` of those behind it. Outputs are hyperbolic tangents in both.

Legend: N rows, G genomes, W synapses, U units, S state, I inputs, A outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from gymnasium import spaces
from torch.nn import functional

from synrl_ray.policies.hebbian.kernels import act_in_rates, act_in_spikes, change
from synrl_ray.policies.hebbian.layout import HebbianLayout
from synrl_ray.policies.images import has_channels_last
from synrl_ray.policies.spaces import to_environment
from synrl_ray.settings.hebbian import SpikingHebbian

_NOTHING = np.zeros((0, 0), np.float32)


class HebbianNetwork:
    """Acts for rows of one or several genomes, each of which is as if it were alone.

    Args:
        layout: its shapes.
        genomes: ``[D]`` each.
        learns: whether weights change; without, they stay what they were where the episode started.

    References:
        Najarro & Risi (2020), arXiv:2007.02686, eq. 1.
    """

    def __init__(self, layout: HebbianLayout, genomes: Sequence[np.ndarray], *, learns: bool = True) -> None:
        settings = layout.settings
        self.layout, self.learns = layout, learns and settings.plastic
        self._sizes = np.array(layout.sizes)
        parts = [layout.split(genome) for genome in genomes]
        names = [name for name in layout.parts if name.startswith("filters_")]
        self._filters = [[torch.from_numpy(part[name]) for name in names] for part in parts]
        self._weights = _NOTHING if settings.plastic else np.stack([layout.weights(genome) for genome in genomes])
        self._rules = np.stack([layout.rules(genome) for genome in genomes]) if settings.plastic else _NOTHING[None]
        self._spiking = isinstance(settings, SpikingHebbian)
        if isinstance(settings, SpikingHebbian):
            decays = (math.exp(-1 / tau) for tau in (settings.tau_plus, settings.tau_minus))
            neurons = (settings.steps_per_observation, settings.beta, settings.threshold, *decays)
            self._neurons = np.array(neurons, np.float32)

    def start(self, weights: np.ndarray) -> np.ndarray:
        """The state ``[N, S]`` of an episode's start, from weights ``[N, W]``, which plastic networks have there."""
        state = np.zeros((len(weights), self.layout.state_size), np.float32)
        if self.layout.settings.plastic:
            state[:, : self.layout.num_synapses] = weights
        return state

    def act(self, observations: np.ndarray, state: np.ndarray, genome: np.ndarray) -> np.ndarray:
        """Decide, and change the state.

        Args:
            observations: ``[N, *obs]``.
            state: ``[N, S]``; changed.
            genome: ``[N]``, whose network each row has.

        Returns:
            outputs ``[N, A]``.
        """
        rows, num_synapses, num_units = len(state), self.layout.num_synapses, int(self._sizes.sum())
        weights, source = (
            (state[:, :num_synapses], np.arange(rows)) if self.layout.settings.plastic else (self._weights, genome)
        )
        activity = np.empty((rows, num_units), np.float32)
        activity[:, : self._sizes[0]] = self._features(observations, genome)
        pairs = _NOTHING
        if self._spiking:
            traces = np.zeros((0, 2, num_units), np.float32)
            if self.learns:
                traces = state[:, num_synapses:].reshape(rows, 2, num_units)
                pairs = np.empty((rows, num_synapses), np.float32)
            act_in_spikes(self._sizes, weights, source, activity, self._neurons, traces, pairs)
            if self.learns:
                state[:, num_synapses:] = traces.reshape(rows, -1)
        else:
            act_in_rates(self._sizes, weights, source, activity)
        if self.learns:
            normalise = self.layout.settings.normalise_weights
            change(self._sizes, weights, self._rules, genome, activity, pairs, normalise)
        return activity[:, num_units - self._sizes[-1] :]

    def actions(self, outputs: np.ndarray) -> np.ndarray:
        """What the environment takes: the largest output's number, or outputs stretched to the bounds."""
        if isinstance(self.layout.action_space, spaces.Discrete):
            chosen: np.ndarray = outputs.argmax(1)
            return chosen
        return to_environment(self.layout.action_space, outputs)

    def _features(self, observations: np.ndarray, genome: np.ndarray) -> np.ndarray:
        """``[N, I]``, float32."""
        space = self.layout.observation_space
        if isinstance(space, spaces.Discrete):
            codes: np.ndarray = np.zeros((len(observations), int(space.n)), np.float32)
            codes[np.arange(len(codes)), np.asarray(observations) - int(space.start)] = 1
            return codes
        if self.layout.image is None:
            return np.asarray(observations, np.float32)
        found = np.empty((len(observations), self._sizes[0]), np.float32)
        for each in np.unique(genome):  # whose filters are its own: what is convolved together is one's
            rows = np.flatnonzero(genome == each)
            found[rows] = self._convolved(observations[rows], self._filters[each])
        return found

    def _convolved(self, images: np.ndarray, filters: Sequence[torch.Tensor]) -> np.ndarray:
        settings, space = self.layout.settings, self.layout.observation_space
        with torch.no_grad():
            maps = torch.from_numpy(np.ascontiguousarray(images)).float()
            if has_channels_last(space):
                maps = maps.movedim(-1, 1)
            if space.dtype == np.uint8:
                maps = maps / 255
            for kernels, (_, _, stride) in zip(filters, settings.conv_layers or (), strict=True):
                maps = functional.max_pool2d(functional.conv2d(maps, kernels, stride=stride).tanh(), settings.pool)
            features: np.ndarray = maps.flatten(1).numpy()
            return features

"""A run along a track, of which each trial is one theta cycle of place cells: its direction is told by their order."""

from __future__ import annotations

import numpy as np

from synrl_ray.envs.spike_trials import SpikeTrialsEnv, check_whole
from synrl_ray.errors import UserError


class ThetaTrackEnv(SpikeTrialsEnv):
    """Say in which direction a run goes: 0 towards the first place, 1 towards the last one.

    Inputs are the place cells of each place in turn, those of the go signal, and distractors. In a theta cycle each
    place cell fires once, and by phase precession the later the further ahead its place lies: places that are passed
    within seconds follow one another within milliseconds, in the order in which they are passed. So the cells of a
    place fire ``lag`` after those of the place before it, and those of where the animal is in the middle of the cycle.
    There the go signal comes, its inputs all at once, and a choice is due. Where the animal is, is drawn: the middle of
    the track, or up to ``wander`` places from it, to either side. Directions are equally likely. Neither counts tell of
    them nor the number of spikes in each step: chance and optimum are exact (:mod:`synrl_ray.envs.spike_trials`).

    Without precession each cell has the phase of any other one, by chance, whatever the direction: nothing tells of it,
    and the optimum is chance.

    Args:
        places: along the track, an odd number.
        cells: place cells of each place.
        go_inputs: neurons of the go signal, which may be none.
        distractors: neurons that fire at any time.
        lag: from the spikes of a place to those of the next, ms.
        wander: places.
        jitter: by how much each place cell's spike is moved at most, to either side, ms; uniform.
        precession: whether there is phase precession.
        duration: K, the cycle's, ms.
        trials: of an episode.
        render_mode: none is known.

    Raises:
        UserError: for numbers that are too small, spikes of distant places that overlap, a trial too short for them, or
            too long.

    References:
        Reifenstein, Khalid & Kempter (2021), doi:10.7554/eLife.67171: the order of places is learned by STDP with an
        asymmetric window, and phase precession is what brings it into that window.
        O'Keefe & Recce (1993), doi:10.1002/hipo.450030307: phase precession.

    Example:
        >>> env = ThetaTrackEnv()
        >>> spikes, _ = env.reset(seed=0)
        >>> spikes.shape, set(spikes.sum(axis=0).tolist())
        ((80, 104), {1.0})
    """

    def __init__(
        self,
        places: int = 9,
        cells: int = 6,
        go_inputs: int = 40,
        distractors: int = 10,
        lag: int = 7,
        wander: int = 1,
        jitter: int = 2,
        precession: bool = True,
        duration: int = 80,
        trials: int = 16,
        render_mode: str | None = None,
    ) -> None:
        check_whole(
            {
                "places": (places, 3),
                "cells": (cells, 1),
                "go_inputs": (go_inputs, 0),
                "distractors": (distractors, 0),
                "lag": (lag, 1),
                "wander": (wander, 0),
                "jitter": (jitter, 0),
                "duration": (duration, 1),
                "trials": (trials, 1),
            }
        )
        if not isinstance(precession, bool):
            raise UserError(f"precession={precession!r} is neither true nor false", "choose one of them")
        ahead = places // 2
        if places % 2 == 0:
            raise UserError(f"{places} places have none in the middle", "choose an odd number")
        if lag * (ahead - wander) <= jitter:
            problem = f"the last of {places} places, {lag} ms each, may fire on either side of the go signal in a run"
            raise UserError(problem, "choose more places, a longer lag, or less wander or jitter")
        needed = 2 * (lag * (ahead + wander) + jitter)
        if duration <= needed:
            problem = f"a trial of {duration} ms is too short for {places} places {lag} ms apart"
            raise UserError(problem, f"choose a duration above {needed}")
        super().__init__(places * cells + go_inputs + distractors, duration, trials, render_mode)
        self.places, self.cells, self.go_inputs, self.distractors = places, cells, go_inputs, distractors
        self.lag, self.wander, self.jitter, self.precession = lag, wander, jitter, precession

    def _draw_times(self) -> np.ndarray:
        self.right_action = int(self.np_random.integers(2))
        position = self.np_random.uniform(-self.wander, self.wander)
        ahead = np.repeat(np.arange(self.places) - self.places // 2, self.cells) - position
        phases = np.rint(self.lag * ahead * (1 if self.right_action else -1)).astype(np.int64)
        if not self.precession:
            phases = self.np_random.permutation(phases)
        phases += self.np_random.integers(-self.jitter, self.jitter, size=len(phases), endpoint=True)
        middle = self.duration // 2
        anywhere = self.np_random.integers(self.duration, size=self.distractors)
        return np.concatenate((middle + phases, np.full(self.go_inputs, middle), anywhere))

"""Two bits that are coded by how late inputs fire, and their exclusive or: told by spike times only."""

from __future__ import annotations

import numpy as np

from synrl_ray.envs.spike_trials import SpikeTrialsEnv, check_whole
from synrl_ray.errors import UserError


class TimeToFirstSpikeEnv(SpikeTrialsEnv):
    """Say whether two bits are equal: 0 where they are, 1 where they are not.

    Inputs are the neurons of bit A, those of bit B, those of the go signal, and distractors. A bit that is 0 has its
    neurons fire early, one that is 1 fires them ``delay`` later; ``after`` ms after that the go signal comes, all at
    once, where a choice is due. Where in the trial that happens is drawn, a distractor's spike comes at any time. The
    four pairs of bits are equally likely: counts tell nothing of them, the latency of one bit tells nothing of the
    answer, and a threshold on a weighted sum of latencies is right about three of the four at most. Early and late
    spikes never overlap: chance and optimum are exact (:mod:`synrl_ray.envs.spike_trials`).

    Args:
        bit_inputs: neurons of each bit.
        go_inputs: neurons of the go signal, which may be none.
        distractors: neurons that fire at any time.
        delay: from an early spike to a late one, ms.
        after: from a late spike to the go signal, ms.
        jitter: by how much each spike of a bit is moved at most, to either side, ms; uniform.
        duration: K, ms.
        trials: of an episode.
        render_mode: none is known.

    Raises:
        UserError: for numbers that are too small, spikes that overlap, a trial too short for them, or too long.

    References:
        Florian (2007), doi:10.1162/neco.2007.19.6.1468: exclusive or of temporally coded bits, by reward-modulated
        STDP; his codes are spike trains of 500 ms, and the network has hidden neurons.

    Example:
        >>> env = TimeToFirstSpikeEnv()
        >>> spikes, _ = env.reset(seed=0)
        >>> spikes.shape, set(spikes.sum(axis=0).tolist())
        ((80, 110), {1.0})
    """

    def __init__(
        self,
        bit_inputs: int = 20,
        go_inputs: int = 60,
        distractors: int = 10,
        delay: int = 30,
        after: int = 20,
        jitter: int = 1,
        duration: int = 80,
        trials: int = 16,
        render_mode: str | None = None,
    ) -> None:
        check_whole(
            {
                "bit_inputs": (bit_inputs, 1),
                "go_inputs": (go_inputs, 0),
                "distractors": (distractors, 0),
                "delay": (delay, 1),
                "after": (after, 0),
                "jitter": (jitter, 0),
                "duration": (duration, 1),
                "trials": (trials, 1),
            }
        )
        if delay <= 2 * jitter:
            problem = f"spikes {delay} ms apart overlap, since they are moved by up to {jitter} ms"
            raise UserError(problem, f"choose a delay above {2 * jitter}, or less jitter")
        needed = delay + max(after, jitter) + jitter
        if duration <= needed:
            problem = f"a trial of {duration} ms is too short for a delay of {delay} ms and {after} ms after it"
            raise UserError(problem, f"choose a duration above {needed}")
        super().__init__(2 * bit_inputs + go_inputs + distractors, duration, trials, render_mode)
        self.bit_inputs, self.go_inputs, self.distractors = bit_inputs, go_inputs, distractors
        self.delay, self.after, self.jitter = delay, after, jitter

    def _draw_times(self) -> np.ndarray:
        bits = self.np_random.integers(2, size=2)
        self.right_action = int(bits[0] != bits[1])
        last = self.duration - self.delay - max(self.after, self.jitter)
        first = int(self.np_random.integers(self.jitter, last))
        moved = self.np_random.integers(-self.jitter, self.jitter, size=2 * self.bit_inputs, endpoint=True)
        moved += np.repeat(first + bits * self.delay, self.bit_inputs)
        together = np.full(self.go_inputs, first + self.delay + self.after)
        anywhere = self.np_random.integers(self.duration, size=self.distractors)
        return np.concatenate((moved, together, anywhere))

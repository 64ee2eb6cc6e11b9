"""Two cues of equal spike counts, of which one comes before the other: which one is told by spike times only."""

from __future__ import annotations

import numpy as np

from synrl_ray.envs.spike_trials import SpikeTrialsEnv, check_whole
from synrl_ray.errors import UserError


class TemporalOrderEnv(SpikeTrialsEnv):
    """Go left where cue A came first, right where cue B did.

    Inputs are the neurons of cue A, those of cue B, those of the go signal, and distractors. The cues are ``delay``
    apart, in either order, equally likely, and the go signal lies halfway between them, all at once, where a choice is
    due. Where in the trial that happens is drawn, a distractor's spike comes at any time. Neither counts tell of the
    order, nor the number of spikes in each step, and cues never overlap: chance and optimum are exact
    (:mod:`synrl_ray.envs.spike_trials`). Actions: 0 is left, 1 is right.

    Args:
        cue_inputs: neurons of each cue.
        go_inputs: neurons of the go signal, which may be none.
        distractors: neurons that fire at any time.
        delay: from one cue to the other, ms.
        jitter: by how much each spike of a cue is moved at most, to either side, ms; uniform.
        duration: K, ms.
        trials: of an episode.
        render_mode: none is known.

    Raises:
        UserError: for numbers that are too small, cues that overlap, a trial too short for them, or too long.

    References:
        Legenstein, Pecevski & Maass (2008), doi:10.1371/journal.pcbi.1000180: reward-modulated STDP tells patterns
        apart whose firing rates are the same.

    Example:
        >>> env = TemporalOrderEnv()
        >>> spikes, _ = env.reset(seed=0)
        >>> spikes.shape, set(spikes.sum(axis=0).tolist())
        ((60, 90), {1.0})
    """

    def __init__(
        self,
        cue_inputs: int = 20,
        go_inputs: int = 40,
        distractors: int = 10,
        delay: int = 30,
        jitter: int = 3,
        duration: int = 60,
        trials: int = 16,
        render_mode: str | None = None,
    ) -> None:
        check_whole(
            {
                "cue_inputs": (cue_inputs, 1),
                "go_inputs": (go_inputs, 0),
                "distractors": (distractors, 0),
                "delay": (delay, 1),
                "jitter": (jitter, 0),
                "duration": (duration, 1),
                "trials": (trials, 1),
            }
        )
        if delay <= 2 * jitter:
            problem = f"cues {delay} ms apart overlap, since their spikes are moved by up to {jitter} ms"
            raise UserError(problem, f"choose a delay above {2 * jitter}, or less jitter")
        if duration <= delay + 2 * jitter:
            problem = f"a trial of {duration} ms is too short for cues {delay} ms apart, moved by {jitter} ms"
            raise UserError(problem, f"choose a duration above {delay + 2 * jitter}")
        super().__init__(2 * cue_inputs + go_inputs + distractors, duration, trials, render_mode)
        self.cue_inputs, self.go_inputs, self.distractors = cue_inputs, go_inputs, distractors
        self.delay, self.jitter = delay, jitter

    def _draw_times(self) -> np.ndarray:
        self.right_action = int(self.np_random.integers(2))
        first = int(self.np_random.integers(self.jitter, self.duration - self.delay - self.jitter))
        cues = (first, first + self.delay) if self.right_action == 0 else (first + self.delay, first)
        moved = self.np_random.integers(-self.jitter, self.jitter, size=2 * self.cue_inputs, endpoint=True)
        moved += np.repeat(cues, self.cue_inputs)
        together = np.full(self.go_inputs, first + self.delay // 2)
        anywhere = self.np_random.integers(self.duration, size=self.distractors)
        return np.concatenate((moved, together, anywhere))

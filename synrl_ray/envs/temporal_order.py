"""Two cues of equal spike counts, of which one comes before the other: which one is told by spike times only."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from synrl_ray.envs.time_limit import LONGEST_LIMIT
from synrl_ray.errors import UserError

CHANCE, OPTIMUM = 0.5, 1.0
"""Expected return of every policy that knows only how often inputs have fired, and of the best policy; both exact."""
MOST_NUMBERS = 2**20
"""Of an observation."""


class TemporalOrderEnv(gym.Env[np.ndarray, np.int64]):
    """Go left where cue A came first, right where cue B did.

    Observation: the spikes of a trial, ``Box(0, 1, (K, I))`` of float32, 0 or 1: K steps of 1 ms, and I inputs, which
    are the neurons of cue A, those of cue B, those of the go signal, and distractors. The cues are ``delay`` apart, in
    either order, equally likely, and the go signal lies halfway between them, all at once, where a choice is due. Where
    in the trial that happens is drawn, a distractor's spike comes at any time. **Every input fires once in every
    trial**: counts tell nothing of the order, and neither does the number of spikes in each step.
    Actions: 0 is left, 1 is right. Reward: ``1 / trials`` for the right one, else 0, and the next trial; after
    ``trials`` of them an episode is terminated. So the return is the share of right choices: :data:`CHANCE` is the
    exact expectation of all that ignores times, and :data:`OPTIMUM` that of the best policy: cues never overlap.

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

    metadata = {"render_modes": []}  # noqa: RUF012 (gymnasium's own convention)

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
        least = {"cue_inputs": 1, "go_inputs": 0, "distractors": 0, "delay": 1, "jitter": 0, "duration": 1, "trials": 1}
        given = (cue_inputs, go_inputs, distractors, delay, jitter, duration, trials)
        for (name, low), value in zip(least.items(), given, strict=True):
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise UserError(f"{name}={value!r} is no number for a trial", f"choose a whole number, {low} or more")
        if delay <= 2 * jitter:
            problem = f"cues {delay} ms apart overlap, since their spikes are moved by up to {jitter} ms"
            raise UserError(problem, f"choose a delay above {2 * jitter}, or less jitter")
        if duration <= delay + 2 * jitter:
            problem = f"a trial of {duration} ms is too short for cues {delay} ms apart, moved by {jitter} ms"
            raise UserError(problem, f"choose a duration above {delay + 2 * jitter}")
        self.num_inputs = 2 * cue_inputs + go_inputs + distractors
        if duration * self.num_inputs > MOST_NUMBERS or trials > LONGEST_LIMIT:
            problem = f"{trials:,} trials of {duration:,} ms and {self.num_inputs:,} inputs are too many"
            raise UserError(problem, f"at most {MOST_NUMBERS:,} numbers a trial and {LONGEST_LIMIT:,} trials")
        self.cue_inputs, self.go_inputs, self.distractors = cue_inputs, go_inputs, distractors
        self.delay, self.jitter, self.duration, self.trials = delay, jitter, duration, trials
        self.observation_space = spaces.Box(0.0, 1.0, (duration, self.num_inputs), np.float32)
        self.action_space = spaces.Discrete(2)
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode with its first trial."""
        super().reset(seed=seed)
        self.left = self.trials
        return self._next_trial(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Choose, and go on to the next trial."""
        reward = float(action == self.right_action) / self.trials
        self.left -= 1
        return self._next_trial(), reward, self.left == 0, False, {}

    def _next_trial(self) -> np.ndarray:
        """``[K, I]``"""
        self.right_action = int(self.np_random.integers(2))
        first = int(self.np_random.integers(self.jitter, self.duration - self.delay - self.jitter))
        cues = (first, first + self.delay) if self.right_action == 0 else (first + self.delay, first)
        moved = self.np_random.integers(-self.jitter, self.jitter, size=2 * self.cue_inputs, endpoint=True)
        moved += np.repeat(cues, self.cue_inputs)
        together = np.full(self.go_inputs, first + self.delay // 2)
        anywhere = self.np_random.integers(self.duration, size=self.distractors)
        spikes = np.zeros((self.duration, self.num_inputs), np.float32)
        spikes[np.concatenate((moved, together, anywhere)), np.arange(self.num_inputs)] = 1.0
        return spikes

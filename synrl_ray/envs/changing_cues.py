"""Cues that each have a right answer, and answers that change again and again, whatever was learned."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from synrl_ray.envs.spike_trials import check_whole
from synrl_ray.envs.time_limit import LONGEST_LIMIT
from synrl_ray.errors import UserError

_MOST = 2**12


class ChangingCuesEnv(gym.Env[np.ndarray, np.int64]):
    """Give each cue its right answer: a contextual bandit, whose answers change every ``period`` episodes.

    Observation: which of C cues is there, one of C numbers is one, ``Box(0, 1, (C,))`` of float32. Actions: the
    answers, ``Discrete(actions)``. Reward: ``1 / trials`` for the right one, else 0, and the next cue; after ``trials``
    of them an episode is terminated. So the return is the share of right answers.

    The first answers are drawn by ``answers_seed``. With each change the answer to every cue is the next action, the
    first one after the last: what was right is wrong, and right again after as many changes as there are actions. So
    the answers are the same in all environments, however episodes are seeded: those that are stepped together change
    together. An environment counts its own episodes, from the first answers on.

    The best policy that knows the answers has a return of 1, one that chooses by chance ``1 / actions`` in the mean,
    one that has not noticed a change 0; all exactly.

    Args:
        cues: C.
        actions: answers to choose from.
        trials: of an episode.
        period: episodes with the same answers.
        answers_seed: of the first answers.
        render_mode: none is known.

    Raises:
        UserError: for numbers that are too small or too large.

    Example:
        >>> env = ChangingCuesEnv(period=2)
        >>> answers = []
        >>> for _ in range(4):
        ...     _ = env.reset()
        ...     answers.append(env.answers.tolist())
        >>> answers[0] == answers[1] != answers[2] == answers[3]
        True
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (gymnasium's own convention)

    answers: np.ndarray
    """The right action for each cue ``[C]``."""

    def __init__(
        self,
        cues: int = 4,
        actions: int = 4,
        trials: int = 16,
        period: int = 25,
        answers_seed: int = 0,
        render_mode: str | None = None,
    ) -> None:
        check_whole(
            {
                "cues": (cues, 1),
                "actions": (actions, 2),
                "trials": (trials, 1),
                "period": (period, 1),
                "answers_seed": (answers_seed, 0),
            }
        )
        if max(cues, actions) > _MOST or trials > LONGEST_LIMIT:
            problem = f"{cues:,} cues, {actions:,} actions and {trials:,} trials are too many"
            raise UserError(problem, f"at most {_MOST:,}, {_MOST:,} and {LONGEST_LIMIT:,}")
        self.cues, self.actions, self.trials, self.period = cues, actions, trials, period
        self.answers_seed = answers_seed
        self.observation_space = spaces.Box(0.0, 1.0, (cues,), np.float32)
        self.action_space = spaces.Discrete(actions)
        self.render_mode = render_mode
        self.episode = -1
        """Of this environment, from 0 on."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode, with new answers where it is time for them."""
        super().reset(seed=seed)
        self.episode += 1
        self.left = self.trials
        first = np.random.default_rng(self.answers_seed).integers(self.actions, size=self.cues)
        self.answers = (first + self.episode // self.period) % self.actions
        return self._next_cue(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Answer, and go on to the next cue."""
        reward = float(action == self.answers[self.cue]) / self.trials
        self.left -= 1
        return self._next_cue(), reward, self.left == 0, False, {}

    def _next_cue(self) -> np.ndarray:
        self.cue = int(self.np_random.integers(self.cues))
        seen = np.zeros(self.cues, np.float32)
        seen[self.cue] = 1.0
        return seen

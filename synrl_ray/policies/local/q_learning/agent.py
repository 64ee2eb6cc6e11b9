r"""Tabular Q-learning as an agent that learns where it acts.

.. math:: Q(s, a) \leftarrow Q(s, a) + \alpha \bigl(r + (1 - d)\, \gamma \max_{a'} Q(s', a') - Q(s, a)\bigr)

where :math:`d` says that the episode is terminated.

Legend: N environments, S states, A actions.

References:
    Watkins & Dayan (1992), Q-learning, doi:10.1007/BF00992698.
"""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.errors import UserError
from synrl_ray.policies.local.agent import Clock, FragmentLearner
from synrl_ray.policies.local.q_learning.fragment import Schedule, dynamics_of, learn_fragment
from synrl_ray.policies.local.q_learning.kernels import choose_all, update_all
from synrl_ray.settings.q_learning import QLearning


class QTable(FragmentLearner):
    """Action values ``q [S, A]`` of float64, epsilon-greedy actions, one update after each transition.

    The transitions of N environments are learned one after another, each from what those before it have changed.
    When exploration has no say, each of the best actions is as likely; :meth:`greedy` takes the first of them.

    Args:
        observation_space: ``Discrete(S)``.
        action_space: ``Discrete(A)``.
        config: settings.

    Raises:
        UserError: for other spaces.
    """

    plastic_names = ("q",)
    needs_table = True
    q: Tensor

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space, config: QLearning) -> None:
        super().__init__()
        size = (_size(observation_space, "observations"), _size(action_space, "actions"))
        self.config = config
        self.register_buffer("q", torch.full(size, config.initial_value, dtype=torch.float64))
        self.states = self.actions = np.zeros(0, np.int64)
        self.env_steps = 0
        self._num_errors, self._sum_errors, self._num_skipped = 0, 0.0, 0

    def act(self, observations: np.ndarray, starts: np.ndarray, steps: int, generator: torch.Generator) -> np.ndarray:
        """Epsilon-greedy actions ``[N]``."""
        uniforms = torch.rand(len(observations), generator=generator, dtype=torch.float64).numpy()
        return self.choose(observations, steps, uniforms)

    def choose(self, observations: np.ndarray, steps: int, uniforms: np.ndarray) -> np.ndarray:
        """:meth:`act` with given random numbers ``uniforms [N]`` in [0, 1)."""
        self.env_steps = steps
        self.states = np.asarray(observations, np.int64)
        self.actions = np.empty_like(self.states)
        choose_all(self.q.numpy(), self.states, self.config.epsilon_at(steps), uniforms, self.actions)
        return self.actions

    def learn(
        self,
        rewards: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        valid: np.ndarray,
        observations: np.ndarray,
    ) -> None:
        """One update for each valid transition; a truncated episode is bootstrapped, a terminated one is not."""
        finite = np.isfinite(rewards)
        self._num_skipped += int((valid & ~finite).sum())
        learned = valid & finite
        sum_errors = update_all(
            self.q.numpy(),
            self.states[learned],
            self.actions[learned],
            np.asarray(rewards, np.float64)[learned],
            terminated[learned],
            np.asarray(observations, np.int64)[learned],
            self.config.lr_at(self.env_steps),
            self.config.gamma,
        )
        self._note_errors(int(learned.sum()), sum_errors)

    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """The best action of each state, ``[S]``."""
        best: np.ndarray = self.q.numpy().argmax(axis=1)[np.asarray(observations, np.int64)]
        return best

    def learn_fragment(
        self,
        table: TransitionTable,
        clock: Clock,
        states: np.ndarray,
        elapsed: np.ndarray,
        returns: np.ndarray,
        random: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """One compiled loop, hundreds of times faster than step by step; :class:`FragmentLearner` has the arguments."""
        config, number = self.config, clock.num_steps * len(states)
        episode_returns, episode_lengths = np.empty(number), np.empty(number)
        num_episodes, sum_errors = learn_fragment(
            self.q.numpy(),
            dynamics_of(table),
            clock,
            Schedule(config.epsilon_start, config.epsilon_end, config.epsilon_steps),
            Schedule(config.lr, config.final_lr, config.lr_steps),
            config.gamma,
            states,
            elapsed,
            returns,
            episode_returns,
            episode_lengths,
            random,
        )
        self._note_errors(number, sum_errors)
        self.env_steps = clock.first + clock.num_steps * clock.stride
        return episode_lengths[:num_episodes], episode_returns[:num_episodes]

    def _note_errors(self, number: int, sum_errors: float) -> None:
        """Count TD errors, of which the absolute values have that sum, for :meth:`diagnostics`."""
        self._num_errors += number
        self._sum_errors += sum_errors

    def diagnostics(self) -> dict[str, float]:
        """Mean absolute TD error, rewards skipped because they are not finite, the schedules, the mean value."""
        found = {
            "td_error": self._sum_errors / max(1, self._num_errors),
            "skipped_rewards": float(self._num_skipped),
            "epsilon": self.config.epsilon_at(self.env_steps),
            "lr": self.config.lr_at(self.env_steps),
            "q_mean": float(self.q.mean()),
        }
        self._num_errors, self._sum_errors, self._num_skipped = 0, 0.0, 0
        return found


def _size(space: spaces.Space, what: str) -> int:
    if not isinstance(space, spaces.Discrete) or space.start != 0:
        raise UserError(f"Q-learning has no table for {what} of {space}", "take an environment with Discrete(n) spaces")
    return int(space.n)

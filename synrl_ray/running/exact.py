"""Exact scores of policies on environments whose dynamics are a table: no sampling noise.

Legend: S states.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from synrl_ray.envs.make import make_environment
from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_values import best_greedy_policy, exact_value, optimal_value
from synrl_ray.errors import UserError
from synrl_ray.experiment import Environment

_ROUNDING = 1e-9  # sums over hundreds of states and steps differ by less where two policies are equally good


class Greedy(Protocol):
    """Best actions ``[S]`` for observations ``[S, ...]``."""

    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """Each on its own, without noise."""


@dataclass(frozen=True)
class ExactScore:
    """In units of return, over the distribution of first states and within the time limit."""

    value: float
    """Expected return of the greedy policy."""
    regret: float
    """Optimum less value; 0 where they differ by rounding only."""


class ExactJudge:
    """Judges greedy policies by dynamic programming.

    The optimum is the value of the best policy that sees the state only, as the judged ones do, from
    :func:`~synrl_ray.envs.tabular_values.best_greedy_policy`. :attr:`upper_bound` is that of one that also sees how
    many steps are left. On Taxi, CliffWalking and the mazes both are the same. On the frozen lakes no policy that sees
    the state only is as good as the bound; one that value iteration does not find would have a negative regret.

    Args:
        table: the environment.
    """

    def __init__(self, table: TransitionTable) -> None:
        self.table = table
        self._observations = np.arange(table.num_states) if table.observations is None else table.observations

    @cached_property
    def optimum(self) -> float:
        """Expected return of the best policy that sees the state only."""
        return best_greedy_policy(self.table)[1]

    @cached_property
    def upper_bound(self) -> float:
        """Expected return of the best policy that also sees how many steps are left."""
        return optimal_value(self.table)

    def score(self, agent: Greedy) -> ExactScore:
        """Value and regret of an agent's greedy policy."""
        value = exact_value(self.table, np.asarray(agent.greedy(self._observations), np.int64))
        regret = self.optimum - value
        return ExactScore(value, 0.0 if abs(regret) < _ROUNDING else regret)

    def describe(self, agent: Greedy) -> dict[str, Any]:
        """The score under the names of ``result.json``."""
        score = self.score(agent)
        return {
            "regret": score.regret,
            "value": score.value,
            "optimum": self.optimum,
            "optimum_with_clock": self.upper_bound,
            "num_first_states": int((self.table.initial > 0).sum()),
        }


def exact_judge(environment: Environment) -> ExactJudge | None:
    """The judge for an environment, ``None`` where it has no transition table.

    Raises:
        UserError: if the environment cannot be made.
    """
    env = make_environment(environment.id, environment.kwargs)
    try:
        return ExactJudge(TransitionTable.from_env(env, name=environment.id))
    except UserError:
        return None
    finally:
        env.close()

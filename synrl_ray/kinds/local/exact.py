"""Exact scores of policies on environments whose dynamics are a table: no sampling noise.

Legend: S states.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from synrl_ray.envs.make import make_environment
from synrl_ray.envs.maze import MazeEnv
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
    success_rate: float | None = None
    """Share of a maze's start cells from which the goal is reached; ``None`` elsewhere."""
    path_ratio: float | None = None
    """Moves over those of the shortest path, the mean over these cells; ``None`` where there are none."""


class ExactJudge:
    """Judges greedy policies by dynamic programming.

    The optimum is the value of the best policy that sees the state only, as the judged ones do, from
    :func:`~synrl_ray.envs.tabular_values.best_greedy_policy`. :attr:`upper_bound` is that of one that also sees how
    many steps are left. On Taxi, CliffWalking and the mazes both are the same. On the frozen lakes no policy that sees
    the state only is as good as the bound; one that value iteration does not find would have a negative regret.

    Args:
        table: the environment.
        maze: the same, where it is one: paths are followed, too.

    Attributes:
        observations: ``[S, ...]``, what is seen in each state.
    """

    def __init__(self, table: TransitionTable, maze: MazeEnv | None = None) -> None:
        self.table, self.maze = table, maze
        self.observations = np.arange(table.num_states) if table.observations is None else table.observations

    @cached_property
    def optimum(self) -> float:
        """Expected return of the best policy that sees the state only."""
        return best_greedy_policy(self.table)[1]

    @cached_property
    def upper_bound(self) -> float:
        """Expected return of the best policy that also sees how many steps are left."""
        return optimal_value(self.table)

    def score(self, agent: Greedy) -> ExactScore:
        """Value and regret of an agent's greedy policy; in a maze its paths as well."""
        actions = np.asarray(agent.greedy(self.observations), np.int64)
        value = exact_value(self.table, actions)
        regret = self.optimum - value
        return ExactScore(value, 0.0 if abs(regret) < _ROUNDING else regret, *self._paths(actions))

    def describe(self, agent: Greedy) -> dict[str, Any]:
        """The score under the names of ``result.json``."""
        score = self.score(agent)
        return {
            "regret": score.regret,
            "value": score.value,
            "optimum": self.optimum,
            "optimum_with_clock": self.upper_bound,
            "num_first_states": int((self.table.initial > 0).sum()),
            **({} if self.maze is None else {"success_rate": score.success_rate, "path_ratio": score.path_ratio}),
        }

    def _paths(self, actions: np.ndarray) -> tuple[float | None, float | None]:
        """Success rate and path ratio over the start cells, equally likely."""
        if self.maze is None:
            return None, None
        starts = self.table.initial > 0
        lengths, shortest = self.maze.path_lengths(actions)[starts], self.maze.distances()[starts]
        arrived = lengths >= 0
        ratio = float((lengths[arrived] / shortest[arrived]).mean()) if arrived.any() else None
        return float(arrived.mean()), ratio


def exact_judge(environment: Environment) -> ExactJudge | None:
    """The judge for an environment, ``None`` where it has no transition table.

    Raises:
        UserError: if the environment cannot be made.
    """
    env = make_environment(environment.id, environment.kwargs)
    core = env.unwrapped
    try:
        table = TransitionTable.from_env(env, name=environment.id)
        return ExactJudge(table, core if isinstance(core, MazeEnv) else None)
    except UserError:
        return None
    finally:
        env.close()

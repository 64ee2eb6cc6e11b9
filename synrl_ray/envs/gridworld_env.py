"""One gridworld as a Gymnasium environment, in numpy: it can be registered without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from synrl_ray.envs.gridworld_layout import cell_state, random_layout, read_layout, write_layout
from synrl_ray.envs.gridworld_observations import GridworldObservation, cell_features
from synrl_ray.envs.gridworld_tables import GridworldRewards, build_tables
from synrl_ray.envs.maze_layout import MOST_SEEN_CELLS, Cell, require_few_cells
from synrl_ray.envs.time_limit import require_time_limit
from synrl_ray.errors import UserError


class GridworldEnv(gym.Env[Any, np.int64]):
    """Find the goal in a grid of R x C cells, some of which are obstacles.

    Dynamics, rewards and observations are those of one task of :class:`~synrl_ray.envs.gridworld.Gridworlds`; in
    addition the observation ``cell`` is the cell's number, ``row * C + column``. After ``time_limit`` moves an episode
    is truncated, by the environment itself. With shaping, returns include it.

    The tools for tabular environments work on it: it has ``P``, ``initial_state_distrib`` and ``state_observations``,
    see :class:`~synrl_ray.envs.tabular.TransitionTable`.

    Args:
        rows, columns, num_obstacles, map_seed: of a random grid. Seeds of ``reset`` choose first cells only.
        layout: lines of a grid of your own, see :func:`~synrl_ray.envs.gridworld_layout.read_layout`, instead.
        start: the first cell as (row, column), or ``None`` for any free cell but the goal, equally likely.
        goal: (row, column); ``None`` for the south-east corner.
        observation: what is seen.
        show_obstacles: whether the map of obstacles is seen as well, 1 for each.
        goal_reward, step_cost, shaping_scale, shaping_discount: see
            :class:`~synrl_ray.envs.gridworld_tables.GridworldRewards`.
        time_limit: moves; ``None`` for four times the number of cells.
        render_mode: ``ansi``.

    Raises:
        UserError: for a grid that is too small or has a free cell without a path to the goal, too many obstacles, a
            start or goal outside or in an obstacle, rewards or a limit out of range, or an unknown observation.

    Example:
        >>> env = GridworldEnv(layout=["..#", "...", "#.."], start=(0, 0))
        >>> env.reset(seed=0)
        (0, {})
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 10}  # noqa: RUF012 (gymnasium's own convention)

    def __init__(
        self,
        rows: int = 5,
        columns: int = 5,
        num_obstacles: int = 0,
        map_seed: int = 0,
        layout: Sequence[str] | None = None,
        start: Cell | None = None,
        goal: Cell | None = None,
        observation: Literal["cell"] | GridworldObservation = "cell",
        show_obstacles: bool = False,
        goal_reward: float = 1.0,
        step_cost: float = 0.01,
        shaping_scale: float | None = None,
        shaping_discount: float = 1.0,
        time_limit: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        if map_seed < 0:
            raise UserError(f"map_seed={map_seed} is negative", "choose 0 or more")
        require_time_limit(time_limit)
        if show_obstacles and observation == "cell":
            raise UserError("the observation 'cell' has no room for obstacles", "take one_hot or coordinates")
        free = None if layout is None else read_layout(layout)
        if free is not None:
            rows, columns = free.shape
        goal = (rows - 1, columns - 1) if goal is None else goal
        if free is None:
            keep = {"goal": goal} if start is None else {"goal": goal, "start": start}
            free = random_layout(rows, columns, num_obstacles, np.random.default_rng(map_seed), keep)
        rewards = GridworldRewards(goal_reward, step_cost, shaping_scale, shaping_discount)
        self.tables = build_tables(free, [goal], None if start is None else [start], rewards)
        """Of this one task: M = 1."""
        self.time_limit = time_limit or 4 * free.size
        self.state_observations = None
        self.observation_space: spaces.Space = spaces.Discrete(free.size)
        if observation != "cell":
            seen = cell_features(rows, columns, observation)
            if show_obstacles:
                require_few_cells(rows, columns, MOST_SEEN_CELLS)
                seen = np.hstack((seen, np.broadcast_to(~free.ravel(), (free.size, free.size)).astype(np.float32)))
            self.state_observations = seen
            lowest = -1.0 if observation == "coordinates" else 0.0
            self.observation_space = spaces.Box(lowest, 1.0, seen.shape[1:], np.float32)
        self.action_space = spaces.Discrete(4)
        self.render_mode = render_mode
        self.agent = int(np.flatnonzero(self.initial_state_distrib)[0])
        """The agent's state."""
        self.elapsed = 0

    @property
    def goal(self) -> int:
        """The goal's state."""
        return int(self.tables.goals[0])

    @property
    def initial_state_distrib(self) -> np.ndarray:
        """``[S]``: the distribution of the first state."""
        return self.tables.initial[0].copy()

    @property
    def P(self) -> dict[int, dict[int, list[tuple[float, int, float, bool]]]]:
        """Transitions as toy-text has them: ``P[s][a] = [(1.0, s', reward, terminated)]``.

        The goal, and obstacles, end an episode without reward.
        """
        leads, reward = self.tables.next_state[0].tolist(), self.tables.reward[0].tolist()
        final = (self.tables.distance[0] <= 0).tolist()
        return {
            state: {move: [(1.0, to, reward[state][move], final[to])] for move, to in enumerate(row)}
            for state, row in enumerate(leads)
        }

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        """Start an episode.

        Args:
            seed: of the first cells.
            options: ``start``, a cell, is the first one of this episode only.

        Raises:
            UserError: for a start outside, in an obstacle, or at the goal.
        """
        super().reset(seed=seed)
        if options and options.get("start") is not None:
            start = cell_state(options["start"], self.tables.free[0], "start")
            if start == self.goal:
                raise UserError(f"start and goal are the same cell {tuple(options['start'])}", "choose two cells")
        else:
            starts = np.flatnonzero(self.tables.initial[0])
            start = int(starts[self.np_random.integers(len(starts))])
        self.agent, self.elapsed = start, 0
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict]:
        """One move."""
        reward = float(self.tables.reward[0, self.agent, action])
        self.agent = int(self.tables.next_state[0, self.agent, action])
        self.elapsed += 1
        return self._observation(), reward, self.agent == self.goal, self.elapsed >= self.time_limit, {}

    def render(self) -> str | None:  # type: ignore[override]
        """The grid with ``A`` for the agent and ``G`` for the goal, for ``render_mode="ansi"``."""
        if self.render_mode != "ansi":
            return None
        lines = [list(line) for line in write_layout(self.tables.free[0])]
        for state, mark in ((self.goal, "G"), (self.agent, "A")):
            row, column = divmod(state, len(lines[0]))
            lines[row][column] = mark
        return "\n".join("".join(line) for line in lines) + "\n"

    def _observation(self) -> Any:
        return self.agent if self.state_observations is None else self.state_observations[self.agent].copy()

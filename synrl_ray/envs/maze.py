"""A maze to be crossed, with a known shortest path from every cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from synrl_ray.envs.maze_drawing import draw_maze, maze_text
from synrl_ray.envs.maze_generator import generate_maze
from synrl_ray.envs.maze_layout import Cell, MazeLayout
from synrl_ray.envs.maze_observations import MazeObservation, state_observations
from synrl_ray.envs.time_limit import require_time_limit
from synrl_ray.errors import UserError


class MazeEnv(gym.Env[Any, np.int64]):
    """Find the goal in a maze of R x C cells with walls between them.

    Actions: 0, 1, 2, 3 move one cell north, east, south, west; a wall in the way leaves the agent where it is.
    Observation: one of three, as ``observation`` says: ``place_cells``, Gaussian activities of R*C place cells;
    ``local``, walls to the north, east, south and west as 0 or 1; ``cell``, the cell's number ``row * C + column``.
    Reward: ``-step_cost`` for every move, ``-bump_cost`` more where a wall is in the way, and ``goal_reward`` more on
    reaching the goal, which ends the episode. So the best return from a cell at distance d is
    ``goal_reward - d * step_cost``. After ``time_limit`` moves an episode is truncated, by the environment itself.

    The tools for tabular environments work on it: it has ``P``, ``initial_state_distrib`` and ``state_observations``,
    see :class:`~synrl_ray.envs.tabular.TransitionTable`. They hold for the present goal.

    Args:
        size: cells on a side of a generated maze, at least 3.
        maze_seed: of the generated maze. Seeds of ``reset`` choose first cells only.
        braid: share of dead ends that are opened, 0 (a tree) to 1 (no dead end).
        layout: lines of a maze of your own, see :meth:`MazeLayout.from_text`, instead of a generated one.
        start: the first cell as (row, column), or ``None`` for any free cell but the goal, equally likely.
        goal: (row, column); ``None`` for the south-east corner.
        observation: what is seen.
        sigma: width of place fields, in cells.
        goal_reward, step_cost, bump_cost: in units of reward, see above; costs are not negative.
        time_limit: moves; ``None`` for four times the number of cells.
        render_mode: ``ansi`` or ``rgb_array``.

    Raises:
        UserError: for a maze that is too small, a share, cost, width or limit out of range, a start or goal outside or
            in a wall, or a first cell without a path to the goal.

    Example:
        >>> env = MazeEnv(size=5, maze_seed=0, observation="cell", start=(0, 0))
        >>> env.reset(seed=0)
        (0, {})
        >>> env.distances()[0] == len(env.shortest_path()) - 1
        np.True_
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 10}  # noqa: RUF012 (gymnasium's own convention)

    def __init__(
        self,
        size: int = 8,
        maze_seed: int = 0,
        braid: float = 0.0,
        layout: Sequence[str] | None = None,
        start: Cell | None = None,
        goal: Cell | None = None,
        observation: MazeObservation = "place_cells",
        sigma: float = 0.75,
        goal_reward: float = 1.0,
        step_cost: float = 0.01,
        bump_cost: float = 0.05,
        time_limit: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.layout = generate_maze(size, maze_seed, braid) if layout is None else MazeLayout.from_text(layout)
        if not (0 <= step_cost < np.inf and 0 <= bump_cost < np.inf and np.isfinite(goal_reward)):
            costs = f"goal_reward={goal_reward}, step_cost={step_cost}, bump_cost={bump_cost}"
            raise UserError(f"rewards of the maze are out of range ({costs})", "costs are finite and not negative")
        require_time_limit(time_limit)
        self.goal_reward, self.step_cost, self.bump_cost = goal_reward, step_cost, bump_cost
        self.time_limit = time_limit or 4 * self.layout.num_states
        self.state_observations, self.observation_space = state_observations(self.layout, observation, sigma)
        self.action_space = spaces.Discrete(4)
        self.render_mode = render_mode
        self._start = None if start is None else self.layout.state(start, "start")
        rows, columns = self.layout.shape
        self._move_goal(self.layout.state((rows - 1, columns - 1) if goal is None else goal, "goal"))
        self.agent = int(np.flatnonzero(self.initial_state_distrib)[0])
        """The agent's state."""
        self.elapsed = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        """Start an episode.

        Args:
            seed: of the first cells.
            options: ``goal``, a cell, moves the goal for this and all later episodes; ``start``, a cell, is the first
                one of this episode only.

        Raises:
            UserError: as for the arguments of the environment; goal and agent stay then.
        """
        super().reset(seed=seed)
        options = options or {}
        goal = self.goal if options.get("goal") is None else self.layout.state(options["goal"], "goal")
        start = None
        if options.get("start") is not None:
            start = self._checked_start(self.layout.state(options["start"], "start"), goal)
        if goal != self.goal:
            self._move_goal(goal)
        if start is None:
            starts = np.flatnonzero(self._initial)
            start = int(starts[self.np_random.integers(len(starts))])
        self.agent, self.elapsed = start, 0
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict]:
        """One move."""
        before = self.agent
        self.agent = int(self.layout.next_state[before, int(action)])
        self.elapsed += 1
        terminated = self.agent == self.goal
        return self._observation(), self._reward(before, self.agent), terminated, self.elapsed >= self.time_limit, {}

    def render(self) -> Any:
        """A picture ``[height, width, 3]`` of uint8 for ``rgb_array``, text for ``ansi``."""
        if self.render_mode == "rgb_array":
            return draw_maze(self)
        return maze_text(self.layout, self.agent, self.goal) if self.render_mode == "ansi" else None

    def distances(self) -> np.ndarray:
        """Moves on a shortest path to the goal from each state, ``[S]``; -1 in walls and where no path leads."""
        return self._distances.copy()

    def optimal_actions(self) -> np.ndarray:
        """First action of a shortest path to the goal from each state, ``[S]``; -1 at the goal, in walls, and where
        no path leads. Where several are as short, it is the first in the order of actions."""
        ahead = self._distances[self.layout.next_state]
        nearer = (ahead >= 0) & (ahead == self._distances[:, None] - 1)
        return np.where(nearer.any(axis=1), nearer.argmax(axis=1), -1)

    def path_lengths(self, actions: np.ndarray) -> np.ndarray:
        """Moves to the goal from each state where action ``actions[s]`` is taken in state s.

        Args:
            actions: ``[S]``.

        Returns:
            ``[S]`` of integers; -1 in walls, and where the goal is not reached within the time limit.
        """
        at = np.arange(self.layout.num_states)
        lengths = np.where(at == self.goal, 0, -1)
        for moves in range(1, min(self.time_limit, self.layout.num_states) + 1):  # a longer way goes in circles
            at = np.where(lengths < 0, self.layout.next_state[at, actions[at]], self.goal)
            lengths[(lengths < 0) & (at == self.goal)] = moves
        return lengths

    def shortest_path(self, start: Cell | None = None) -> list[int]:
        """States from a cell (by default the agent's) to the goal, both included."""
        return self.layout.shortest_path(self.agent if start is None else self.layout.state(start), self.goal)

    @property
    def initial_state_distrib(self) -> np.ndarray:
        """``[S]``: the distribution of the first state."""
        return self._initial / self._initial.sum()

    @property
    def P(self) -> dict[int, dict[int, list[tuple[float, int, float, bool]]]]:
        """Transitions with the present goal, as toy-text has them: ``P[s][a] = [(1.0, s', reward, terminated)]``.

        The goal, and cells in walls, end an episode without reward.
        """
        final = ~self.layout.free.ravel()
        final[self.goal] = True
        table: dict[int, dict[int, list[tuple[float, int, float, bool]]]] = {}
        for state, row in enumerate(self.layout.next_state.tolist()):
            if final[state]:
                table[state] = {action: [(1.0, state, 0.0, True)] for action in range(4)}
            else:
                table[state] = {a: [(1.0, s, self._reward(state, s), s == self.goal)] for a, s in enumerate(row)}
        return table

    def _reward(self, before: int, after: int) -> float:
        bump = self.bump_cost if before == after else 0.0
        return (self.goal_reward if after == self.goal else 0.0) - self.step_cost - bump

    def _observation(self) -> Any:
        return self.agent if self.state_observations is None else self.state_observations[self.agent].copy()

    def _move_goal(self, goal: int) -> None:
        distances = self.layout.distances(goal)
        initial = np.zeros(self.layout.num_states)
        if self._start is not None:
            initial[self._checked_start(self._start, goal)] = 1.0
        else:
            initial[self.layout.free.ravel()] = 1.0
            initial[goal] = 0.0
            if cut_off := np.flatnonzero((initial > 0) & (distances < 0)).tolist():
                where = f"from {self.layout.cell(cut_off[0])} to the goal {self.layout.cell(goal)}"
                raise UserError(f"the maze has no path {where}", "open a wall, or choose a start")
            if not initial.any():
                raise UserError("the maze has no free cell but its goal", "open a cell to start from")
        self.goal, self._distances, self._initial = goal, distances, initial

    def _checked_start(self, start: int, goal: int) -> int:
        if start == goal:
            raise UserError(f"start and goal are the same cell {self.layout.cell(goal)}", "choose two cells")
        self.layout.shortest_path(start, goal)  # raises where there is none
        return start

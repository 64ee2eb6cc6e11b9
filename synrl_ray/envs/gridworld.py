"""Gridworlds in torch: all tasks and all their episodes are stepped at once.

Legend: M tasks, E episodes of each, T environment steps, R rows, C columns, S = R * C states, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synrl_ray.envs.gridworld_env import GridworldEnv
from synrl_ray.envs.gridworld_layout import write_layout
from synrl_ray.envs.gridworld_observations import GridworldObservation, cell_features
from synrl_ray.envs.gridworld_tables import GridworldRewards, build_tables
from synrl_ray.envs.maze_layout import MOST_SEEN_CELLS, Cell, require_few_cells
from synrl_ray.errors import UserError

NUM_ACTIONS = 4


@dataclass(frozen=True, eq=False)
class Gridworlds:
    """M gridworlds of the same size; make them with :meth:`from_cells`.

    Actions: 0, 1, 2, 3 move one cell north, east, south, west; the border or an obstacle in the way leaves the agent
    where it is. Observation: see :func:`~synrl_ray.envs.gridworld_observations.cell_features`, then, if
    ``show_obstacles``, the map of obstacles with 1 for each. The goal is never seen. Reward:
    :mod:`~synrl_ray.envs.gridworld_tables`. Reaching the goal terminates an episode; the horizon truncates it. At the
    goal every move stays there and is paid nothing, so arrays need no reset in the middle.

    Attributes:
        free: ``[M, R, C]`` of bool.
        goals: ``[M]`` of int64, states.
        next_state: ``[M, S, 4]`` of int64.
        task_reward: ``[M, S, 4]`` of float64, without shaping: what agents are judged by.
        reward: ``[M, S, 4]`` of float64, with shaping where there is any: what agents learn from.
        initial: ``[M, S]`` of float64, the distribution of the first state.
        features: ``[S, D']`` of float32, what is seen of each cell.
        horizon: environment steps of an episode.
        rewards: the amounts that the tables were made of.
        observation, show_obstacles: what is seen.
    """

    free: Tensor
    goals: Tensor
    next_state: Tensor
    task_reward: Tensor
    reward: Tensor
    initial: Tensor
    features: Tensor
    horizon: int
    rewards: GridworldRewards
    observation: GridworldObservation
    show_obstacles: bool

    @classmethod
    def from_cells(
        cls,
        free: np.ndarray,
        goals: Sequence[Cell],
        starts: Sequence[Cell] | None = None,
        *,
        horizon: int,
        rewards: GridworldRewards | None = None,
        observation: GridworldObservation = "one_hot",
        show_obstacles: bool = False,
    ) -> Gridworlds:
        """M gridworlds on the CPU.

        Args:
            free: ``[M, R, C]`` of bool, or ``[R, C]`` for the same obstacles in all tasks.
            goals: M cells as (row, column).
            starts: M cells; ``None`` for any free cell but the goal, equally likely.
            horizon: environment steps after which an episode is truncated.
            rewards: what moves are paid; 1 for the goal less 0.01 for each move by default.
            observation, show_obstacles: what is seen.

        Raises:
            UserError: as :func:`~synrl_ray.envs.gridworld_tables.build_tables`, for a horizon without a step, or an
                observation that does not exist.

        Example:
            >>> free = np.ones((4, 5), bool)
            >>> grids = Gridworlds.from_cells(free, goals=[(0, 4), (3, 0)], horizon=20)
            >>> states = grids.reset(num_episodes=8, generator=torch.Generator().manual_seed(0))
            >>> states, reward, terminated = grids.step(states, torch.ones_like(states))
            >>> grids.observe(states).shape
            torch.Size([2, 8, 20])
        """
        if horizon < 1:
            raise UserError(f"horizon={horizon} leaves no step", "choose 1 or more")
        rewards = rewards or GridworldRewards()
        if show_obstacles:
            rows, columns = np.shape(free)[-2:]
            require_few_cells(rows, columns, MOST_SEEN_CELLS)
        tables = build_tables(np.asarray(free, np.bool_), goals, starts, rewards)
        return cls(
            free=torch.from_numpy(tables.free),
            goals=torch.from_numpy(tables.goals),
            next_state=torch.from_numpy(tables.next_state),
            task_reward=torch.from_numpy(tables.task_reward),
            reward=torch.from_numpy(tables.reward),
            initial=torch.from_numpy(tables.initial),
            features=torch.from_numpy(cell_features(tables.free.shape[1], tables.free.shape[2], observation)),
            horizon=horizon,
            rewards=rewards,
            observation=observation,
            show_obstacles=show_obstacles,
        )

    @property
    def num_tasks(self) -> int:
        """M."""
        return self.free.shape[0]

    @property
    def num_states(self) -> int:
        """S."""
        return self.features.shape[0]

    @property
    def num_features(self) -> int:
        """D, the size of an observation."""
        return self.features.shape[1] + (self.num_states if self.show_obstacles else 0)

    def to(self, device: torch.device | str) -> Gridworlds:
        """The same tasks on a device; generators must be on it, too."""
        members = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors: dict[str, Any] = {name: t.to(device) for name, t in members.items() if isinstance(t, Tensor)}
        return replace(self, **tensors)

    def reset(self, num_episodes: int, generator: torch.Generator | None = None) -> Tensor:
        """First states, ``[M, E]`` of int64.

        Raises:
            UserError: for less than one episode.
        """
        if num_episodes < 1:
            raise UserError(f"num_episodes={num_episodes} leaves nothing to play", "choose 1 or more")
        return torch.multinomial(self.initial, num_episodes, replacement=True, generator=generator)

    def observe(self, states: Tensor) -> Tensor:
        """What is seen in states: ``[M, E]`` → ``[M, E, D]`` of float32."""
        seen = torch.nn.functional.embedding(states, self.features)  # faster than features[states]
        if not self.show_obstacles:
            return seen
        obstacles = (~self.free).to(seen.dtype).reshape(self.num_tasks, 1, self.num_states)
        return torch.cat((seen, obstacles.expand(-1, states.shape[1], -1)), dim=-1)

    def all_observations(self) -> Tensor:
        """What is seen in each state, ``[M, S, D]``."""
        return self.observe(torch.arange(self.num_states, device=self.goals.device).expand(self.num_tasks, -1))

    def step(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One environment step of all episodes; any number of axes may come before M.

        States and actions are not checked; the horizon is the caller's.

        Args:
            states, actions: ``[..., M, E]`` of int64.

        Returns:
            Next states ``[..., M, E]``; rewards with shaping, of float64; whether the goal was reached by this step.
        """
        rows = self.rows(states, actions)
        after = self.next_state.take(rows)
        goal = self.goals[:, None]
        return after, self.reward.take(rows), (after == goal) & (states != goal)

    def rows(self, states: Tensor, actions: Tensor) -> Tensor:
        """Where the tables, flattened, keep what follows from actions in states; shapes as in :meth:`step`."""
        tasks = torch.arange(self.num_tasks, device=states.device)[:, None]
        return (tasks * self.num_states + states) * NUM_ACTIONS + actions

    def single(self, task: int) -> GridworldEnv:
        """One of the tasks as a Gymnasium environment, with the same observations, rewards and horizon."""
        free = self.free[task].cpu().numpy()
        starts = torch.nonzero(self.initial[task]).flatten().tolist()
        columns = free.shape[1]
        return GridworldEnv(
            layout=write_layout(free),
            goal=divmod(int(self.goals[task]), columns),
            start=divmod(starts[0], columns) if len(starts) == 1 else None,
            observation=self.observation,
            show_obstacles=self.show_obstacles,
            goal_reward=self.rewards.goal_reward,
            step_cost=self.rewards.step_cost,
            shaping_scale=self.rewards.shaping_scale,
            shaping_discount=self.rewards.shaping_discount,
            time_limit=self.horizon,
        )

"""Small tasks on which an algorithm shows within a minute that it learns, and greedy episodes on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchSquashedGaussian
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from torch.utils._pytree import tree_map

EPISODES = 20
FIRST_SEED = 2_000_000


class Recall(gym.Env):
    """A cue is shown at the first step only, and each step pays 1 for the action that it stands for.

    Without a memory 3.5 of 6 is the best mean return: the first step's, and half of what follows.
    """

    steps = 6

    def __init__(self, config: Any = None) -> None:
        self.observation_space = spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.cue, self.step_number = int(self.np_random.integers(2)), 0
        return np.array([2 * self.cue - 1, 1 - 2 * self.cue], np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.step_number += 1
        return np.zeros(2, np.float32), float(action == self.cue), self.step_number == self.steps, False, {}


class Reach(gym.Env):
    """A point is pushed towards a target on a line; each of five steps costs their distance."""

    steps = 5

    def __init__(self, config: Any = None) -> None:
        self.observation_space = spaces.Box(-3, 3, (2,), np.float32)
        self.action_space = spaces.Box(-2, 2, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.target = self.np_random.uniform(-1, 1, 2)
        self.step_number = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.place = float(np.clip(self.place + action[0], -3, 3))
        self.step_number += 1
        return self._observation(), -abs(self.place - self.target), False, self.step_number == self.steps, {}

    def _observation(self) -> np.ndarray:
        return np.array([self.place, self.target], np.float32)


@dataclass(frozen=True)
class Task:
    """An environment, the mean greedy return that counts as learned, and an expert to learn from.

    Attributes:
        make: the environment.
        enough: mean return of :data:`EPISODES` greedy episodes.
        expert: the action for what the episode has shown so far.
    """

    name: str
    make: Callable[..., gym.Env]
    enough: float
    expert: Callable[[list[np.ndarray]], Any] | None = None


def _balance(shown: list[np.ndarray]) -> int:
    """Push to where the pole falls, and back to the middle: 500 of 500 steps from each of the seeds 0 to 99."""
    place, speed, angle, turn = shown[-1]
    return int(3 * angle + turn + 0.1 * speed + 0.03 * place > 0)


CARTPOLE = Task("CartPole-v1", lambda config=None: gym.make("CartPole-v1"), 150.0, _balance)
RECALL = Task("Recall", Recall, 5.4, lambda shown: int(shown[0][0] > 0))
REACH = Task("Reach", Reach, -1.5)


def greedy_return(module: Any, task: Task, episodes: int = EPISODES) -> float:
    """Mean return of greedy episodes of RLlib's module, on seeds that training never uses."""
    env, returns = task.make(), []
    for number in range(episodes):
        observation, _ = env.reset(seed=FIRST_SEED + number)
        state, total, ended = (
            tree_map(lambda s: torch.as_tensor(s).unsqueeze(0), module.get_initial_state()),
            0.0,
            False,
        )
        while not ended:
            action, state = _greedy(module, env.action_space, observation, state)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, ended = total + float(reward), terminated or truncated
        returns.append(total)
    return float(np.mean(returns))


def _greedy(module: Any, space: gym.Space, observation: np.ndarray, state: Any) -> tuple[Any, Any]:
    given = torch.as_tensor(observation).unsqueeze(0)
    batch = {Columns.OBS: given.unsqueeze(0), Columns.STATE_IN: state} if state else {Columns.OBS: given}
    outputs = module.forward_inference(batch)
    if Columns.ACTIONS in outputs:
        action = outputs[Columns.ACTIONS]
    else:
        kind, inputs = module.get_inference_action_dist_cls(), outputs[Columns.ACTION_DIST_INPUTS]
        action = kind.from_logits(inputs).to_deterministic().sample()
        action = action.tanh() if kind is TorchSquashedGaussian else action  # RLlib's takes the mean before the tangent
    chosen = action.detach().numpy().reshape(space.shape)
    if isinstance(space, spaces.Box):
        chosen = np.clip(space.low + (chosen + 1) * (space.high - space.low) / 2, space.low, space.high)
    return chosen if space.shape else int(chosen), outputs.get(Columns.STATE_OUT)


def random_return(task: Task, episodes: int = 200) -> float:
    """Mean return of random actions."""
    env, total = task.make(), 0.0
    env.action_space.seed(0)
    for number in range(episodes):
        env.reset(seed=number)
        ended = False
        while not ended:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            total, ended = total + float(reward), terminated or truncated
    return total / episodes


def recorded(task: Task, episodes: int, most_steps: int = 200) -> list[SingleAgentEpisode]:
    """Episodes of the task's expert, as RLlib's learners take them."""
    env, kept = task.make(), []
    assert task.expert is not None
    for number in range(episodes):
        observation, _ = env.reset(seed=number)
        shown, actions, rewards, ended = [observation], [], [], False
        while not ended and len(actions) < most_steps:
            actions.append(task.expert(shown))
            observation, reward, terminated, truncated, _ = env.step(actions[-1])
            rewards.append(float(reward))
            shown.append(observation)
            ended = terminated or truncated
        episode = SingleAgentEpisode(
            observations=shown,
            actions=actions,
            rewards=rewards,
            terminated=terminated,
            truncated=not terminated,
            observation_space=env.observation_space,
            action_space=env.action_space,
            len_lookback_buffer=0,
        )
        episode.to_numpy()
        kept.append(episode)
    return kept

"""Atari games, prepared as is usual: ale-py's C++ vector environment for training, Gymnasium's wrappers for judging.

Legend: N environments.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from ale_py import ALEInterface, LoggerMode
from ale_py.registration import rom_id_to_name
from ale_py.roms import get_all_rom_ids
from ale_py.vector_env import AtariVectorEnv
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv, VectorWrapper

from synrl_ray.errors import UserError
from synrl_ray.settings.preprocessing import AtariFrames

ALEInterface.setLoggerMode(LoggerMode.Error)  # no banner for every emulator

_FIRE = 1
"""Index of FIRE in the action set of every game that has it."""
_MAX_FRAMES = 108_000
"""Frames of a game at most: half an hour of play."""


def make_atari(env_id: str, kwargs: Mapping[str, Any], frames: AtariFrames, *, training: bool) -> gym.Env:
    """One game with Gymnasium's own wrappers; observations ``[1, size, size]`` of ``uint8``.

    Raises:
        UserError: if the id is no Atari game.
    """
    _rom_of(env_id)
    importlib.import_module("cv2")  # where it is missing, Gymnasium names an extra of its own
    env = gym.make(
        env_id,
        **{
            **kwargs,
            "frameskip": 1,  # the wrapper below skips frames
            "repeat_action_probability": frames.sticky_actions,
            "max_num_frames_per_episode": _MAX_FRAMES,
        },
    )
    env = gym.wrappers.AtariPreprocessing(
        env, noop_max=frames.noop_max, frame_skip=frames.frame_skip, screen_size=frames.screen_size
    )
    env = OneLifeAfterAnother(env, fire=frames.fire, ends=training and frames.life_loss_ends_episode)
    return (
        gym.wrappers.TransformReward(env, lambda reward: float(np.sign(float(reward))))
        if training and frames.clip_rewards
        else env
    )


def make_atari_vector(env_id: str, frames: AtariFrames, num_envs: int, num_threads: int = 1) -> VectorEnv:
    """N games for training, in C++; observations ``[N, 1, size, size]`` of ``uint8``.

    They are the same with any number of threads.

    Raises:
        UserError: if the id is no Atari game.
    """
    env = AtariVectorEnv(
        _rom_of(env_id),
        num_envs,
        num_threads=min(num_threads, num_envs),
        stack_num=1,
        img_height=frames.screen_size,
        img_width=frames.screen_size,
        frameskip=frames.frame_skip,
        noop_max=frames.noop_max,
        repeat_action_probability=frames.sticky_actions,
        max_num_frames_per_episode=_MAX_FRAMES,
        # Its "episodic_life" starts a new game at every lost life, so that a policy never meets a half-played one.
        life_loss_info=frames.life_loss_ends_episode,
        use_fire_reset=frames.fire,
        reward_clipping=False,
    )
    return LivesOfManyGames(env, frames)


class OneLifeAfterAnother(gym.Wrapper, RecordConstructorArgs):
    """Presses FIRE where a life begins, may end an episode where one is lost, and adds the channel axis.

    An episode that ends with a life goes on in the same game after ``reset``. Where a game ends, ``info["episode"]``
    holds its score ``r`` and its length ``l`` over all lives.
    """

    def __init__(self, env: gym.Env, *, fire: bool, ends: bool) -> None:
        RecordConstructorArgs.__init__(self, fire=fire, ends=ends)
        super().__init__(env)
        meanings: list[str] = env.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
        self.fire = fire and len(meanings) > _FIRE and meanings[_FIRE] == "FIRE"
        self.ends = ends
        size = env.observation_space.shape or ()
        self.observation_space = spaces.Box(0, 255, (1, *size), np.uint8)
        self._lives = 0
        self._game_goes_on = False
        self._score, self._length = 0.0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start a game, or the next life of the one that goes on."""
        if self._game_goes_on and seed is None:
            observation, reward, terminated, truncated, info = self.env.step(_FIRE if self.fire else 0)
            if not (terminated or truncated):
                self._score, self._length = self._score + float(reward), self._length + 1
                return self._begin(observation, info)
        self._score, self._length = 0.0, 0
        observation, info = self.env.reset(seed=seed, options=options)
        if self.fire:
            observation, _, terminated, truncated, info = self.env.step(_FIRE)
            if terminated or truncated:
                observation, info = self.env.reset(options=options)
        return self._begin(observation, info)

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict]:
        """One decision; between two lives of an episode that goes on, FIRE is pressed in its place."""
        observation, reward, terminated, truncated, info = self.env.step(self._pending(action))
        lost = 0 < info["lives"] < self._lives
        self._lives = info["lives"]
        self._must_fire = lost and self.fire
        if lost and self.ends and not (terminated or truncated):
            self._game_goes_on = terminated = True
        elif terminated or truncated:
            self._game_goes_on = False
        self._score, self._length = self._score + float(reward), self._length + 1
        if (terminated or truncated) and not self._game_goes_on:
            info = {**info, "episode": {"r": self._score, "l": self._length}}
        return observation[None], reward, bool(terminated), bool(truncated), info

    def _pending(self, action: Any) -> Any:
        return _FIRE if self._must_fire else action

    def _begin(self, observation: np.ndarray, info: dict) -> tuple[np.ndarray, dict]:
        self._lives, self._must_fire, self._game_goes_on = info["lives"], False, False
        return observation[None], info


class LivesOfManyGames(VectorWrapper):
    """Lives as episodes, FIRE where one begins, clipped rewards; whole games in ``info["episode"]``.

    The step after a lost life takes the place of the reset that vector environments make there. As Gymnasium's
    ``RecordEpisodeStatistics`` does, ``info["episode"]`` holds score ``r`` and length ``l`` of the games that have
    just ended, marked in ``info["_episode"]``: the unclipped score over all lives.
    """

    def __init__(self, env: AtariVectorEnv, frames: AtariFrames) -> None:
        super().__init__(env)
        actions = env.ale.get_action_set()
        self.fire = frames.fire and len(actions) > _FIRE and actions[_FIRE].name == "FIRE"
        self.clip = frames.clip_rewards

    reports_episodes = True

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Start N games; their emulator takes seeds below 2**31, so greater ones are folded into its upper half."""
        if isinstance(seed, int) and seed >= 2**30:
            seed = 2**30 + seed % 2**29
        observations, info = self.env.reset(seed=seed, options=options)
        self._score = np.zeros(self.num_envs)
        self._length = np.zeros(self.num_envs, np.int64)
        self._lives = np.array(info["lives"])
        self._over = np.zeros(self.num_envs, np.bool_)
        self._lost = np.zeros(self.num_envs, np.bool_)
        return observations, info

    def step(self, actions: Any) -> Any:
        """One decision in every game."""
        if self.fire:
            actions = np.where(self._lost, _FIRE, actions)
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        lives = np.array(info["lives"])
        self._score += rewards
        self._length += ~self._over
        over = (terminated & (lives == 0)) | truncated
        if over.any():
            info["episode"] = {"r": np.where(over, self._score, 0.0), "l": np.where(over, self._length, 0)}
            info["_episode"] = over
            self._score[over] = 0.0
            self._length[over] = 0
        self._lost = (lives < self._lives) & ~over
        self._lives, self._over = lives, over
        clipped = np.sign(rewards) if self.clip else rewards
        return observations, clipped.astype(np.float32), terminated, truncated, info


def _rom_of(env_id: str) -> str:
    """``ALE/Breakout-v5`` → ``breakout``."""
    name = env_id.rsplit(":", 1)[-1].removeprefix("ALE/").rsplit("-", 1)[0]
    roms = {rom_id_to_name(rom): rom for rom in get_all_rom_ids()}
    if name not in roms:
        raise UserError(f"{env_id!r} is no Atari game", "its frames can be prepared for ids such as ALE/Breakout-v5")
    return roms[name]

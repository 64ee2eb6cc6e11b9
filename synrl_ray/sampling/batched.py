"""An RLlib env runner that steps a vector environment and writes arrays: no episode objects, no connectors.

Legend: T environment steps of the fragment, N environments, S state.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import ray
import torch
from gymnasium.vector import SyncVectorEnv
from ray.rllib.callbacks.utils import make_callback
from ray.rllib.core import (
    COMPONENT_RL_MODULE,
    DEFAULT_MODULE_ID,
)
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils import force_list
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME, WEIGHTS_SEQ_NO

from synrl_ray.envs.make import make_environment
from synrl_ray.envs.time_limit import most_steps
from synrl_ray.policies.spaces import to_environment
from synrl_ray.rl_modules.plastic import Transition
from synrl_ray.sampling.failures import FAILURE, FailureCount, keep_going
from synrl_ray.sampling.metrics import log_cut, log_episode, log_steps
from synrl_ray.sampling.rollout import Rollout, empty_rollout, join
from synrl_ray.sampling.seeding import draw_seeds
from synrl_ray.sampling.vector import PREPROCESSING, make_vector
from synrl_ray.snn.device import compute_alone

_PIECE = 64  # steps that whole episodes are collected in


class StepOutcome(NamedTuple):
    """What one step of all environments gave, each ``[N]``."""

    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    valid: np.ndarray
    """Whether it was a transition: no reset, and no failure."""
    void: np.ndarray | None
    """Environments that failed and start anew; ``None`` where all went well."""


def _cores() -> int:
    """That this process may use: those that Ray has given to a worker, in a program of the user's own all of them."""
    if ray.is_initialized() and ray.get_runtime_context().worker.mode == ray.WORKER_MODE:
        return max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1)))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class BatchedEnvRunner(EnvRunner, Checkpointable):
    """Collects :class:`~synrl_ray.sampling.rollout.Rollout` fragments with an
    :class:`~synrl_ray.rl_modules.ActorCriticModule`.

    Used through ``config.env_runners(env_runner_cls=BatchedEnvRunner)``, by algorithms that learn from rollouts.
    Membrane state is kept for every environment and zeroed where an episode starts. An environment that raises or
    returns NaN is restarted: the step is not valid, and the episode counts as truncated before it.

    Raises:
        UserError: where that happens to a larger share of the steps than ``max_failure_share``.
    """

    _observations: np.ndarray
    _state: np.ndarray
    _starts: np.ndarray
    """Environments whose present observation starts an episode."""
    _ended: np.ndarray
    """Environments whose episode has ended: their next step is a reset."""
    _returns: np.ndarray
    _lengths: np.ndarray

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        compute_alone()
        self.num_envs: int = self.config.num_envs_per_env_runner
        self.failures = FailureCount(str(self.config.env), self.config.max_failure_share)
        self.make_env()
        self.make_module()
        self._callbacks = [make() for make in force_list(self.config.callbacks_class)]
        self._watchers = [callback for callback in self._callbacks if hasattr(callback, "on_batched_step")]
        self._weights_seq_no = 0
        self._seconds = {"environment": 0.0, "policy": 0.0}
        self._generator = torch.Generator()
        self.reseed(0)

    # --- sampling --------------------------------------------------------------------------------------------

    def sample(self, **kwargs: Any) -> Rollout:
        """Collect T steps of every environment, or one whole episode of each, as ``batch_mode`` says."""
        whole = self.config.batch_mode == "complete_episodes"
        while True:
            rollout = self._sample_episodes() if whole else self._sample_steps()
            self._count_steps(rollout.num_steps)
            if rollout.num_steps:  # else all environments were resetting, or failed
                make_callback(
                    "on_sample_end",
                    callbacks_objects=self._callbacks,
                    callbacks_functions=self.config.callbacks_on_sample_end,
                    kwargs={"env_runner": self, "metrics_logger": self.metrics, "samples": rollout},
                )
                return rollout

    def _sample_steps(self) -> Rollout:
        num_steps = self.config.get_rollout_fragment_length(self.worker_index)
        rollout = self._allocate(num_steps)
        for t in range(num_steps):
            self._advance(rollout, t)
        self._add_last_values(rollout, num_steps)
        return rollout

    def _sample_episodes(self) -> Rollout:
        """One episode of every environment, so that short ones are not favoured; steps after its end are not valid.

        Where the environment sets no time limit, episodes are truncated after
        :data:`~synrl_ray.envs.time_limit.MOST_STEPS`.
        """
        self._restart(None)
        pieces: list[Rollout] = []
        running = np.ones(self.num_envs, np.bool_)
        num_left = most_steps(self.env)
        while running.any():
            piece = self._allocate(self._sequence_length() if self._state_size() else _PIECE)
            pieces.append(piece)
            for t in range(len(piece.valid)):
                self._advance(piece, t, counted=running)
                running = running & ~self._ended & ~self._starts  # one that starts anew has failed
                num_left -= 1
                if not num_left:
                    self._cut(piece, t, running)
                    running = np.zeros_like(running)
                if not running.any():
                    break
            self._add_last_values(piece, t + 1)
        return join(pieces)

    def _cut(self, piece: Rollout, t: int, running: np.ndarray) -> None:
        """Truncate the episodes that go on after step ``t``."""
        piece.truncated[t] |= running
        for n in np.flatnonzero(running):
            self._log_episode(self._lengths[n], self._returns[n])
        log_cut(self.metrics, int(running.sum()))

    def _advance(self, rollout: Rollout, t: int, counted: np.ndarray | None = None) -> None:
        """Act and step, and note how long either took."""
        began = time.perf_counter()
        self._act(rollout, t)
        decided = time.perf_counter()
        self._keep(rollout, t, counted)
        self._seconds["policy"] += decided - began
        self._seconds["environment"] += time.perf_counter() - decided

    def _forward(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The network on the present observations, without moving on."""
        inputs, values, state = self.module.network(
            torch.as_tensor(self._observations).unsqueeze(0),
            torch.from_numpy(self._state),
            torch.from_numpy(self._starts).unsqueeze(0),
        )
        return inputs[0], values[0], state

    def _add_last_values(self, rollout: Rollout, num_steps: int) -> None:
        """Value what followed the fragment's steps; a critic of its own values all of them at once."""
        network = self.module.network
        if not network.is_separable:
            rollout.values[num_steps] = self._value()
            return
        seen = np.concatenate((rollout.observations[:num_steps], self._observations[None]))
        with torch.no_grad():
            rollout.values[: num_steps + 1] = network.critic(torch.from_numpy(seen)).numpy()

    def _value(self) -> np.ndarray:
        """Of the present observations, ``[N]``."""
        network = self.module.network
        with torch.no_grad():
            if network.is_separable:
                values: np.ndarray = network.critic(torch.as_tensor(self._observations).unsqueeze(0))[0].numpy()
                return values
            return self._forward()[1].numpy()

    def _act(self, rollout: Rollout, t: int) -> None:
        period = rollout.observations.shape[0] // rollout.states.shape[0]
        if t % period == 0:
            rollout.states[t // period] = self._state
        network = self.module.network
        with torch.no_grad():
            if network.is_separable:
                inputs = network.actor(torch.as_tensor(self._observations).unsqueeze(0))[0]
            else:
                inputs, values, state = self._forward()
                rollout.values[t], self._state = values.numpy(), state.numpy()
            actions, logp = network.distribution.sample(inputs, self._generator)
        rollout.observations[t] = self._observations
        rollout.starts[t] = self._starts
        rollout.inputs[t], rollout.logp[t], rollout.actions[t] = inputs.numpy(), logp.numpy(), actions.numpy()

    def _keep(self, rollout: Rollout, t: int, counted: np.ndarray | None) -> None:
        """Step the environments and write what came of it."""
        outcome = self._step(rollout.actions[t], counted, rollout.num_steps)
        if self._watchers:
            transition = Transition(
                rows=np.arange(self.num_envs),
                observations=rollout.observations[t],
                starts=rollout.starts[t],
                actions=rollout.actions[t],
                rewards=outcome.rewards,
                valid=outcome.valid,
            )
            for watcher in self._watchers:
                watcher.on_batched_step(env_runner=self, transition=transition)
        if t and outcome.void is not None:
            # The value of the last good observation stands in row t, as at any episode's end.
            rollout.truncated[t - 1] |= outcome.void & rollout.valid[t - 1] & ~rollout.terminated[t - 1]
        rollout.valid[t], rollout.rewards[t] = outcome.valid, outcome.rewards
        rollout.terminated[t], rollout.truncated[t] = outcome.terminated, outcome.truncated

    def _step(self, actions: np.ndarray, counted: np.ndarray | None, num_steps: int) -> StepOutcome:
        """Step the environments.

        Args:
            actions: ``[N, ...]``, as the policy chose them.
            counted: environments whose steps are kept; all that are not resetting if ``None``.
            num_steps: steps that are taken but not counted yet, for a message.
        """
        observations, rewards, terminated, truncated, info = self.env.step(
            to_environment(self.module.action_space, actions)
        )
        valid = ~self._ended if counted is None else counted
        self._starts = self._ended  # what has just been reset starts now
        void: np.ndarray | None = info.get(f"_{FAILURE}")
        if void is not None:
            valid, self._starts = valid & ~void, self._starts | void
            self._returns[void] = self._lengths[void] = 0
            self.failures.note(info, self._steps_of_run(num_steps))
        self._observations = observations
        self._ended = terminated | truncated
        self._returns += rewards
        self._lengths += valid
        if self._env_reports_episodes:
            games = info.get("episode", {})
            for n in np.flatnonzero(info.get("_episode", ())):
                self._log_episode(games["l"][n], games["r"][n])
        else:
            for n in np.flatnonzero(self._ended & valid):
                self._log_episode(self._lengths[n], self._returns[n])
        self._returns[self._ended] = self._lengths[self._ended] = 0
        return StepOutcome(rewards, terminated, truncated, valid, void)

    def _allocate(self, num_steps: int) -> Rollout:
        """An empty fragment: nothing in it is valid yet."""
        network = self.module.network
        period = min(num_steps, self._sequence_length()) if network.state_size else num_steps
        spaces = (self.module.observation_space, self.module.action_space)
        return empty_rollout(
            (num_steps, self.num_envs), *spaces, network.num_distribution_inputs, network.state_size, period
        )

    def _state_size(self) -> int:
        return int(self.module.network.state_size)

    def _sequence_length(self) -> int:
        return int(self.module.network.config.max_seq_len)

    # --- metrics ---------------------------------------------------------------------------------------------

    @property
    def _window(self) -> int:
        """Newest episodes of this runner that means are taken over."""
        return max(1, -(-self.config.metrics_num_episodes_for_smoothing // (self.config.num_env_runners or 1)))

    def _log_episode(self, length: float, episode_return: float) -> None:
        log_episode(self.metrics, length, episode_return, self._window)

    def _count_steps(self, num_steps: int) -> None:
        log_steps(self.metrics, num_steps, self._seconds)
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        self.num_env_steps_sampled_lifetime += num_steps
        self._own_steps += num_steps

    def _steps_of_run(self, num_steps: int) -> int:
        """Steps of all runners so far, if the others took as many: those of a fragment that is not counted yet too."""
        return self._run_steps + (self._own_steps + num_steps) * (self.config.num_env_runners or 1)

    def get_metrics(self) -> Any:
        """Metrics since the last call."""
        return self.metrics.reduce()

    # --- RLlib's interface -----------------------------------------------------------------------------------

    def apply(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Call ``func(self, ...)`` and let its exceptions through, so that the driver learns the cause."""
        return func(self, *args, **kwargs)

    def make_env(self) -> None:
        """Make the vector environment."""
        kwargs = dict(self.config.env_config)
        make_all = partial(make_vector, self.config.env, dict(kwargs), self.num_envs, _cores())
        preprocessing = kwargs.pop(PREPROCESSING, None)
        self.env = keep_going(make_all, lambda: make_environment(self.config.env, kwargs, preprocessing, training=True))
        # Where episodes of training are parts of games (lives), the environments report the whole games themselves.
        self._env_reports_episodes = getattr(self.env, "reports_episodes", False)

    def make_module(self) -> None:
        """Build the module."""
        spec = self.config.get_rl_module_spec(env=self.env, spaces=self.get_spaces(), inference_only=False)
        self.module = spec.build()

    def get_spaces(self) -> dict[str, Any]:
        """Spaces of the vector environment, of one environment, of the module."""
        single = (self.env.single_observation_space, self.env.single_action_space)
        return {
            INPUT_ENV_SPACES: (self.env.observation_space, self.env.action_space),
            INPUT_ENV_SINGLE_SPACES: single,
            DEFAULT_MODULE_ID: single,
        }

    def assert_healthy(self) -> None:
        """Raise if the runner is not complete."""
        assert self.env is not None
        assert self.module is not None

    def stop(self) -> None:
        """Close the environments."""
        self.env.close()

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Weights and counters; after a restart, :meth:`reseed` starts new episodes."""
        state: dict[str, Any] = {NUM_ENV_STEPS_SAMPLED_LIFETIME: self.num_env_steps_sampled_lifetime}
        if self._check_component(COMPONENT_RL_MODULE, components, not_components):
            state[COMPONENT_RL_MODULE] = self.module.get_state(**kwargs)
            state[WEIGHTS_SEQ_NO] = self._weights_seq_no
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`get_state`; also how RLlib hands over new weights."""
        if COMPONENT_RL_MODULE in state:
            weights = state[COMPONENT_RL_MODULE]
            if isinstance(weights, ray.ObjectRef):
                weights = ray.get(weights)
            self.module.set_state(weights.get(DEFAULT_MODULE_ID, weights))
            self._weights_seq_no = state.get(WEIGHTS_SEQ_NO, self._weights_seq_no)
        if NUM_ENV_STEPS_SAMPLED_LIFETIME in state:
            self.num_env_steps_sampled_lifetime = state[NUM_ENV_STEPS_SAMPLED_LIFETIME]

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[()], dict[str, Any]]:
        """How to make another one."""
        return (), {"config": self.config}

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        """The module."""
        return [(COMPONENT_RL_MODULE, self.module)]

    def reseed(self, steps: int) -> None:
        """Start new episodes, seeded for this point of the run; ``steps`` are those that it has taken so far."""
        seeds = [seed | 2**31 for seed in draw_seeds(self, steps, self.num_envs + 1)]
        self._generator.manual_seed(seeds[-1])
        self._run_steps, self._own_steps = steps, 0
        self.failures.reset()
        self._restart(seeds[:-1] if isinstance(self.env, SyncVectorEnv) else seeds[0])

    def _restart(self, seed: int | list[int] | None) -> None:
        """New episodes everywhere."""
        self._observations, info = self.env.reset(seed=seed)  # type: ignore[arg-type]
        self.failures.note(info, self._steps_of_run(0))
        self._state = np.zeros((self.num_envs, self._state_size()), np.float32)
        self._starts = np.ones(self.num_envs, np.bool_)
        self._ended = np.zeros(self.num_envs, np.bool_)
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs)

"""Stable-Baselines3, and a PPO in the style of CleanRL on EnvPool, at a task of ``sampling.py`` (extra ``peers``)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from sampling_tasks import Contender, Task
from torch import Tensor, nn

from synrl_ray.envs.registration import ensure_registered
from synrl_ray.experiment import PPO
from synrl_ray.settings.preprocessing import AtariFrames
from synrl_ray.snn import CNN


def contenders(task: Task) -> dict[str, Callable[[Task, int], Contender]]:
    """Who can do the task."""
    result: dict[str, Callable[[Task, int], Contender]] = {"SB3 ann": stable_baselines}
    if task.experiment.environment.preprocessing is None:
        result["EnvPool ann"] = EnvPoolPPO
    return result


# --- Stable-Baselines3 ---------------------------------------------------------------------------------------


def stable_baselines(task: Task, workers: int) -> Contender:
    """Its A2C or PPO with the experiment's settings and the same network."""
    from stable_baselines3 import A2C as SB3A2C
    from stable_baselines3 import PPO as SB3PPO
    from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

    settings, layout = task.settings, task.experiment.ann
    envs = stable_baselines_environments(task)
    policy_kwargs: dict[str, Any] = {"net_arch": list(layout.hidden_sizes), "activation_fn": nn.Tanh}
    if layout.conv_layers is not None:
        policy_kwargs = {
            "net_arch": [],
            "features_extractor_class": features_extractor(),
            "features_extractor_kwargs": {"layers": layout.conv_layers, "features_dim": layout.hidden_sizes[0]},
        }
    shared: dict[str, Any] = {
        "policy": "MlpPolicy" if layout.conv_layers is None else "CnnPolicy",
        "env": envs,
        "learning_rate": settings.lr,
        "gamma": settings.gamma,
        "gae_lambda": settings.gae_lambda,
        "ent_coef": settings.entropy_coeff,
        "vf_coef": settings.vf_loss_coeff,
        "max_grad_norm": settings.grad_clip,
        "seed": 0,
        "device": "cpu",
    }
    if isinstance(settings, PPO):
        model: Any = SB3PPO(
            n_steps=settings.train_batch_size // envs.num_envs, batch_size=settings.minibatch_size,
            n_epochs=settings.num_epochs, clip_range=settings.clip_param, policy_kwargs=policy_kwargs, **shared,
        )  # fmt: skip
    else:
        policy_kwargs |= {
            "optimizer_class": RMSpropTFLike,
            "optimizer_kwargs": {"alpha": settings.rmsprop_alpha, "eps": settings.rmsprop_eps},
        }
        model = SB3A2C(n_steps=settings.num_steps, use_rms_prop=False, policy_kwargs=policy_kwargs, **shared)
    return StableBaselines(model, task.steps)


class StableBaselines:
    """One of its algorithms."""

    def __init__(self, model: Any, steps: int) -> None:
        self.model, self.steps = model, steps

    def run(self) -> int:
        before = self.model.num_timesteps
        self.model.learn(self.steps, reset_num_timesteps=False, log_interval=None)
        return self.model.num_timesteps - before

    def close(self) -> None:
        self.model.get_env().close()


def stable_baselines_environments(task: Task) -> Any:
    """Its vector environment: its own Atari wrappers, or our wrapped environments, with frames stacked by it."""
    from stable_baselines3.common.env_util import make_atari_env, make_vec_env
    from stable_baselines3.common.vec_env import VecFrameStack

    environment = task.experiment.environment
    if isinstance(environment.preprocessing, AtariFrames):
        plain = {"frameskip": 1, "repeat_action_probability": environment.preprocessing.sticky_actions}
        game = environment.id.rpartition(":")[2]
        ensure_registered(game)
        envs = make_atari_env(game, n_envs=environment.num_envs, seed=0, env_kwargs=plain)
    else:
        envs = make_vec_env(task.make_environment, n_envs=environment.num_envs, seed=0)
    return VecFrameStack(envs, task.stacked) if task.stacked > 1 else envs


def features_extractor() -> type:
    """A class of features extractor: the convolutions and the hidden layer of our twin."""
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

    class Convolutions(BaseFeaturesExtractor):
        def __init__(self, space: Any, layers: Any, features_dim: int) -> None:
            super().__init__(space, features_dim)
            twin = CNN(space.shape, 1, shape=layers, hidden_size=features_dim)
            twin.to(memory_format=torch.contiguous_format)  # as its own extractors are, and its initialisation expects
            parts = [part for convolution in twin.convolutions for part in (convolution, nn.ReLU())]
            self.layers = nn.Sequential(*parts, nn.Flatten(), twin.linear, nn.ReLU())

        def forward(self, observations: Tensor) -> Tensor:
            return self.layers(observations)

    return Convolutions


# --- EnvPool -------------------------------------------------------------------------------------------------


class EnvPoolPPO:
    """One file of PPO as CleanRL writes it, on EnvPool's environments in the thread of the learner.

    EnvPool resets on the step after an episode's end, as Gymnasium does; CleanRL learns from that row, too.
    """

    def __init__(self, task: Task, workers: int) -> None:
        import envpool

        settings = task.settings
        assert isinstance(settings, PPO)
        self.settings, self.num_envs = settings, task.experiment.environment.num_envs
        self.envs = envpool.make(
            task.experiment.environment.id, env_type="gymnasium", num_envs=self.num_envs, num_threads=1, seed=0
        )
        inputs, actions = self.envs.observation_space.shape[0], int(self.envs.action_space.n)
        sizes = (inputs, *task.experiment.ann.hidden_sizes)
        self.actor, self.critic = tanh_network(sizes, actions, 0.01), tanh_network(sizes, 1, 1.0)
        self.parameters = [*self.actor.parameters(), *self.critic.parameters()]
        self.optimizer = torch.optim.Adam(self.parameters, lr=settings.lr, eps=1e-5)
        self.seen = torch.from_numpy(np.asarray(self.envs.reset()[0], np.float32))
        self.over = torch.zeros(self.num_envs)
        self.num_steps = settings.train_batch_size // self.num_envs

    def run(self) -> int:
        shape = (self.num_steps, self.num_envs)
        observations = torch.zeros(*shape, self.seen.shape[1])
        actions, logps, rewards, overs, values = (torch.zeros(shape) for _ in range(5))
        for t in range(self.num_steps):
            observations[t], overs[t] = self.seen, self.over
            with torch.no_grad():
                distribution = torch.distributions.Categorical(logits=self.actor(self.seen))
                action = distribution.sample()
                values[t] = self.critic(self.seen).flatten()
            actions[t], logps[t] = action, distribution.log_prob(action)
            following, reward, terminated, truncated, _ = self.envs.step(action.numpy())
            rewards[t] = torch.from_numpy(np.asarray(reward, np.float32))
            self.seen = torch.from_numpy(np.asarray(following, np.float32))
            self.over = torch.from_numpy((terminated | truncated).astype(np.float32))
        advantages = self._advantages(rewards, overs, values)
        self._learn(observations.flatten(0, 1), actions.flatten(), logps.flatten(), advantages.flatten(),
                    (advantages + values).flatten())  # fmt: skip
        return self.num_steps * self.num_envs

    def _advantages(self, rewards: Tensor, overs: Tensor, values: Tensor) -> Tensor:
        gamma, decay = self.settings.gamma, self.settings.gae_lambda
        advantages, running = torch.zeros_like(rewards), torch.zeros(self.num_envs)
        with torch.no_grad():
            value, goes_on = self.critic(self.seen).flatten(), 1 - self.over
        for t in range(self.num_steps - 1, -1, -1):
            running = rewards[t] + gamma * value * goes_on - values[t] + gamma * decay * goes_on * running
            advantages[t], value, goes_on = running, values[t], 1 - overs[t]
        return advantages

    def _learn(
        self, observations: Tensor, actions: Tensor, old_logp: Tensor, advantages: Tensor, returns: Tensor
    ) -> None:
        settings = self.settings
        for _ in range(settings.num_epochs):
            for rows in torch.randperm(len(actions)).split(settings.minibatch_size):
                distribution = torch.distributions.Categorical(logits=self.actor(observations[rows]))
                values = self.critic(observations[rows]).flatten()
                ratio = (distribution.log_prob(actions[rows]) - old_logp[rows]).exp()
                advantage = advantages[rows]
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                clipped = ratio.clamp(1 - settings.clip_param, 1 + settings.clip_param)
                policy = torch.max(-advantage * ratio, -advantage * clipped).mean()
                value = (values - returns[rows]).square().mean()
                entropy = distribution.entropy().mean()
                loss = policy + settings.vf_loss_coeff * value - settings.entropy_coeff * entropy
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.parameters, settings.grad_clip)
                self.optimizer.step()

    def close(self) -> None:
        self.envs.close()


def tanh_network(sizes: tuple[int, ...], out_features: int, gain: float) -> nn.Sequential:
    """Tanh layers with orthogonal weights."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [orthogonal(nn.Linear(before, after), 2**0.5), nn.Tanh()]
    return nn.Sequential(*layers, orthogonal(nn.Linear(sizes[-1], out_features), gain))


def orthogonal(layer: nn.Linear, gain: float) -> nn.Linear:
    """As CleanRL initialises its layers."""
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer

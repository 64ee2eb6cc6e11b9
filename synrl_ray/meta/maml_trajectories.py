"""MAML of policies in any environment, by trajectories: see :mod:`synrl_ray.meta.policy_learner` for the loops.

Legend: M tasks, T environment steps, E episodes, K = T * E decisions, D features, A numbers of an action.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from synrl_ray.meta.action_heads import ActionHead, DecisionLoss, clipped_decisions, ratio_of
from synrl_ray.meta.engine import Parameters
from synrl_ray.meta.environment_tasks import EnvironmentBatch
from synrl_ray.meta.losses import refuse_non_finite
from synrl_ray.meta.policy_learner import PolicyLearner
from synrl_ray.meta.trajectories import Trajectories, play_episodes, weights_of
from synrl_ray.settings.maml import MamlRl


@dataclass(frozen=True, eq=False)
class PlayedDecisions:
    """What one policy of each task has lived through.

    Args:
        seen: scaled observations ``[M, K, D]``.
        targets: actions, and advantages over the number of decisions, ``[M, K, A + 1]``.
        log_prob: of the actions, ``[M, K]``.
        share: 1 over the number of a task's decisions, 0 where there is none, ``[M, K]``.
        env_steps: ``[M]``.
        returns: mean return of the episodes ``[M]``.
    """

    seen: Tensor
    targets: Tensor
    log_prob: Tensor
    share: Tensor
    env_steps: Tensor
    returns: Tensor


class TrajectoryPolicy(PolicyLearner):
    """A policy in an environment; its policies are parameters ``[M, ...]`` by name.

    Args:
        model: ``[K, D]`` → outputs ``[K, O]`` of the head, without state between calls.
        config: the settings.
        discount: of returns.
        head: what the outputs mean.

    Raises:
        UserError: for a model without parameters.
    """

    def __init__(self, model: nn.Module, config: MamlRl, discount: float, head: ActionHead) -> None:
        super().__init__(model, config, discount)
        self.head = head
        self._loss = DecisionLoss(head)

    @torch.no_grad()
    def episodes(
        self, batch: EnvironmentBatch, policy: Parameters, stream: int, *, greedy: bool = False
    ) -> Trajectories:
        """Episodes of policies, as many of each task as in an inner step.

        Args:
            batch: M tasks.
            policy: parameters ``[M, ...]``.
            stream: of the random numbers.
            greedy: whether the likeliest actions are taken.

        Raises:
            NonFiniteError: if a policy's outputs are not finite; it names the task's seed.
        """
        config, horizon, size = self.config, batch.settings.horizon, self.head.size
        count, shape = config.episodes, (len(batch), horizon, config.episodes, size)
        numbers = batch.uniforms(count + horizon * count * size, stream)
        seeds, drawn = (numbers[:, :count] * 2**31).astype(np.int64), numbers[:, count:].reshape(shape)

        def act(seen: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
            outputs = self._network(policy, self._scaled(seen, batch))
            if not bool(torch.isfinite(outputs).all()):
                refuse_non_finite(outputs, batch.seeds, "the policy", f"in environment step {step}")
            numbers = torch.as_tensor(drawn[:, step], device=outputs.device)
            chosen = (self.head.greedy(outputs) if greedy else self.head.draw(outputs, numbers)).cpu().numpy()
            actions = self.head.for_environment(chosen)
            return chosen, actions.reshape(-1, *actions.shape[2:])

        return play_episodes(batch.envs(count), act, seeds, horizon)

    def _policy(self, current: Parameters, batch: EnvironmentBatch, where: str) -> Parameters:
        for name in self.adapting:
            refuse_non_finite(current[name], batch.seeds, "the policy", where)
        return current

    def _played(self, batch: EnvironmentBatch, policy: Parameters, stream: int) -> PlayedDecisions:
        found = self.episodes(batch, policy, stream)
        weights = weights_of(found, batch.settings.horizon, self.discount, self.config.gae_lambda)
        tensor = partial(torch.as_tensor, dtype=self.inner_rates[0].dtype, device=self.inner_rates[0].device)

        def column(values: np.ndarray) -> Tensor:
            """``[T, M, E, ...]`` → ``[M, K, ...]``."""
            return tensor(np.moveaxis(values, 1, 0).reshape(len(batch), -1, *values.shape[3:]))

        seen = self._scaled(
            np.moveaxis(found.observations, 1, 0).reshape(len(batch), -1, found.observations.shape[-1]), batch
        )
        targets = torch.cat([column(found.actions), column(weights[..., None])], -1)
        return PlayedDecisions(
            seen=seen,
            targets=targets,
            log_prob=self.head.log_prob(self._network(policy, seen), targets[..., :-1]),
            share=column(found.valid / found.env_steps[None, :, None]),
            env_steps=torch.from_numpy(found.env_steps),
            returns=tensor(found.returns.mean(axis=1)),
        )

    def _adapted(
        self,
        current: Parameters,
        rates: list[Tensor],
        batch: EnvironmentBatch,
        policy: Parameters,
        played: PlayedDecisions,
        step: int,
        *,
        graph: bool = False,
        reweighted: bool = False,
    ) -> Parameters:
        targets = played.targets
        if reweighted:
            with torch.no_grad():
                log_prob = self.head.log_prob(self._network(policy, played.seen), targets[..., :-1])
                ratio = ratio_of(log_prob, played.log_prob).unsqueeze(-1)
                targets = torch.cat([targets[..., :-1], targets[..., -1:] * ratio], -1)
        return self._moved(current, rates, played.seen, targets, self._loss, step, graph)

    def _outer(self, policy: Parameters, played: PlayedDecisions) -> Tensor:
        outputs = self._network(policy, played.seen)
        bonus = self.config.entropy * (self.head.entropy(outputs) * played.share).sum(1)
        if self.config.outer == "ppo":
            log_prob = self.head.log_prob(outputs, played.targets[..., :-1])
            return clipped_decisions(log_prob, played.log_prob, played.targets[..., -1], self.config.ppo_clip) - bonus
        return self._loss(outputs, played.targets) - bonus

    def _exploration(self, policy: Parameters, batch: EnvironmentBatch, played: PlayedDecisions) -> Tensor:
        """Where its episodes go."""
        if not self.config.exploration:
            return played.returns.new_zeros(len(batch))
        return (self.head.entropy(self._network(policy, played.seen)) * played.share).sum(1)

    def _scaled(self, seen: np.ndarray, batch: EnvironmentBatch) -> Tensor:
        scale = np.asarray(batch.settings.observation_scale or 1.0, np.float32)
        return torch.as_tensor(seen / scale).to(self.inner_rates[0])

"""MAML of policies on gridworlds, which are tables: see :mod:`synrl_ray.meta.policy_learner` for the loops.

Legend: M tasks, S inner steps, N states, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from synrl_ray.meta.advantages import advantage_table
from synrl_ray.meta.engine import Parameters
from synrl_ray.meta.episodes import numbers_needed, play
from synrl_ray.meta.gridworld_batch import GridworldBatch
from synrl_ray.meta.losses import refuse_non_finite
from synrl_ray.meta.policy_learner import PolicyLearner
from synrl_ray.meta.policy_losses import PolicyGradientLoss, clipped_surrogate, entropy
from synrl_ray.settings.maml import MamlRl


@dataclass(frozen=True, eq=False)
class Played:
    """What one policy of each task has lived through.

    Args:
        log_probs: of the policies, ``[M, N, 4]``.
        gains, losses, visits: ``[M, N, 4]``, ``[M, N, 4]`` and ``[M, N]``, see
            :class:`~synrl_ray.meta.advantages.AdvantageTable`.
        env_steps: ``[M]``.
        returns: mean return of the episodes, without shaping or discount, ``[M]``.
    """

    log_probs: Tensor
    gains: Tensor
    losses: Tensor
    visits: Tensor
    env_steps: Tensor
    returns: Tensor


class MamlPolicy(PolicyLearner):
    """A policy on gridworlds; its policies are log-probabilities ``[M, N, 4]``.

    Args:
        model: ``[K, D]`` → logits ``[K, 4]``, without state between calls.
        config: the settings.
        discount: of returns.

    Raises:
        UserError: for a model without parameters.

    Example:
        >>> from synrl_ray.meta.gridworld_batch import PlayedGridworlds
        >>> from synrl_ray.meta.gridworlds import GridworldDistribution
        >>> from synrl_ray.meta.networks import mlp
        >>> tasks = PlayedGridworlds(GridworldDistribution(rows=4, columns=4, horizon=10))
        >>> maml = MamlPolicy(mlp(16, (8,), 4), MamlRl(inner_steps=2, episodes=5), discount=0.95)
        >>> loss, figures = maml.meta_loss(tasks.sample("train", range(3)), iteration=0)
        >>> loss.backward()
        >>> tuple(figures["return"].shape)
        (3,)
    """

    def __init__(self, model: nn.Module, config: MamlRl, discount: float) -> None:
        super().__init__(model, config, discount)
        self._loss = PolicyGradientLoss()

    def _policy(self, current: Parameters, batch: GridworldBatch, where: str) -> Tensor:
        log_probs = self._network(current, self._observations(batch)).log_softmax(-1)
        refuse_non_finite(log_probs, batch.seeds, "the policy", where)
        return log_probs

    def _adapted(
        self,
        current: Parameters,
        rates: list[Tensor],
        batch: GridworldBatch,
        policy: Tensor,
        played: Played,
        step: int,
        *,
        graph: bool = False,
        reweighted: bool = False,
    ) -> Parameters:
        summed = played.gains + played.losses
        if reweighted:
            summed = summed * (policy.detach() - played.log_probs).exp()
        return self._moved(current, rates, self._observations(batch), summed, self._loss, step, graph)

    def _outer(self, policy: Tensor, played: Played) -> Tensor:
        bonus = self.config.entropy * (entropy(policy) * played.visits).sum(1)
        if self.config.outer == "ppo":
            clip = self.config.ppo_clip
            return clipped_surrogate(policy, played.log_probs, played.gains, played.losses, clip) - bonus
        return self._loss(policy, played.gains + played.losses) - bonus

    def _exploration(self, policy: Tensor, batch: GridworldBatch, played: Played) -> Tensor:
        """In all free states."""
        free = batch.grids.free.flatten(1).to(policy)
        return (entropy(policy) * free).sum(1) / free.sum(1)

    def _played(self, batch: GridworldBatch, policy: Tensor, stream: int) -> Played:
        config, grids = self.config, batch.grids
        numbers = batch.uniforms(numbers_needed(grids, config.episodes), stream)
        episodes = play(grids, policy.double().exp().cpu().numpy(), numbers, config.episodes)
        table = advantage_table(episodes, grids.num_states, self.discount, config.gae_lambda)
        tensor = partial(torch.as_tensor, dtype=policy.dtype, device=policy.device)
        return Played(
            log_probs=policy,
            gains=tensor(table.gains),
            losses=tensor(table.losses),
            visits=tensor(table.visits),
            env_steps=torch.from_numpy(episodes.env_steps),
            returns=tensor(episodes.task_returns.mean(axis=1)),
        )

    def _observations(self, batch: GridworldBatch) -> Tensor:
        """``[M, N, D]`` as the model's parameters are."""
        return batch.observations.to(self.inner_rates[0])

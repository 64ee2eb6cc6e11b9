r"""MAML of policies on gridworlds: each inner step is a step of policy gradient on new episodes.

.. math::
    \theta_{s+1} = \theta_s - \alpha_s \nabla_{\theta_s} L(\theta_s; \tau_s), \qquad
    L_{meta}(\theta, \alpha) = \Big\langle \sum_{s=1}^{S} w_s \big( L'(\theta_s; \tau'_s) - c\, H_{\tau'}(\theta_s)
    \big) - \sum_{s=0}^{S-1} c_0 \kappa^s\, H(\theta_s) \Big\rangle_{tasks}

with :math:`\tau_s` the episodes that adaptation learns from, :math:`\tau'_s` others of the same policy that judge it,
and H the entropy where the policy goes, or in all free states.

A meta-step has two parts. First, episodes are played and their advantages summed, without gradients. Then the inner
steps are taken again on these sums, now differentiably. Later meta-steps on the same episodes (PPO) repeat the second
part; the advantages of the inner steps are then weighted by the ratio of probabilities.

Legend: M tasks, S inner steps, N states, D features.

References:
    Finn, Abbeel & Levine (2017), arXiv:1703.03400, algorithm 3.
    Li, Zhou, Chen & Li (2017), arXiv:1707.03141, and Antoniou et al. (2019), arXiv:1810.09502: learned inner rates, of
    each tensor and each step.
    Stadie et al. (2018), arXiv:1803.01118: what the initial policy has to explore.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from synrl_ray.errors import UserError
from synrl_ray.meta.advantages import advantage_table
from synrl_ray.meta.engine import Parameters
from synrl_ray.meta.engine_vmap import expanded, moved
from synrl_ray.meta.episodes import numbers_needed, play
from synrl_ray.meta.gridworld_batch import GridworldBatch
from synrl_ray.meta.losses import refuse_non_finite
from synrl_ray.meta.meta_learner import MetaLearner
from synrl_ray.meta.policy_losses import PolicyGradientLoss, clipped_surrogate, entropy
from synrl_ray.meta.vmapped import VmappedNetwork
from synrl_ray.meta.written_out.network import WrittenOutNetwork
from synrl_ray.settings.maml import MamlRl


@dataclass(frozen=True, eq=False)
class Played:
    """What one policy of each task has lived through.

    Args:
        gains, losses, visits: ``[M, N, 4]``, ``[M, N, 4]`` and ``[M, N]``, see
            :class:`~synrl_ray.meta.advantages.AdvantageTable`.
        env_steps: ``[M]``.
        returns: mean return of the episodes, without shaping or discount, ``[M]``.
    """

    gains: Tensor
    losses: Tensor
    visits: Tensor
    env_steps: Tensor
    returns: Tensor


@dataclass(frozen=True, eq=False)
class Experience:
    """Adaptation to M tasks; everything is detached.

    Args:
        log_probs: of the policies after 0 … S inner steps, ``[M, N, 4]`` each.
        support: what each of the S inner steps has learned from.
        query: other episodes of the policies after 1 … S inner steps, where they were wanted.
    """

    log_probs: tuple[Tensor, ...]
    support: tuple[Played, ...]
    query: tuple[Played, ...]


class MamlPolicy(MetaLearner):
    """A policy's initial parameters, and the rates at which they adapt, as meta-parameters.

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
        super().__init__()
        self.model = model
        self.config = config
        self.discount = discount
        self.epochs = config.ppo_epochs if config.outer == "ppo" else 1
        named = dict(model.named_parameters())
        if not named:
            raise UserError("the model has no parameters that could adapt", "give it some that require gradients")
        self._names = list(named)
        self.inner_rates = nn.ParameterList(
            nn.Parameter(p.new_full((config.inner_steps,), config.inner_lr), requires_grad=config.learn_inner_lr)
            for p in named.values()
        )
        self._network = WrittenOutNetwork.of(model) or VmappedNetwork(model)
        self._loss = PolicyGradientLoss()

    @property
    def rates(self) -> list[nn.Parameter]:
        """The inner rates."""
        return list(self.inner_rates)

    def meta_loss(
        self, batch: GridworldBatch, iteration: int, behaviour: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Play, adapt and judge; :class:`~synrl_ray.meta.meta_learner.MetaLearner` has the arguments."""
        experience = self.play(batch, behaviour)
        losses = self.losses(batch, experience, reweighted=behaviour is not None)
        refuse_non_finite(losses, batch.seeds, "the meta-loss", f"meta-iteration {iteration}")
        return losses.mean(), {"return": experience.query[-1].returns}

    @torch.no_grad()
    def play(
        self,
        batch: GridworldBatch,
        weights: Mapping[str, Tensor] | None = None,
        *,
        num_steps: int | None = None,
        judged: bool = True,
    ) -> Experience:
        """Adapt to each task, on new episodes before each inner step.

        Args:
            batch: M tasks.
            weights: a ``state_dict()`` to play with instead of the present meta-parameters.
            num_steps: inner steps, if other than the configured ones.
            judged: whether other episodes are played after each step, too.

        Raises:
            NonFiniteError: if a policy is; it names the task's seed.
        """
        steps = self.config.inner_steps if num_steps is None else num_steps
        initial, rates = self._meta_parameters(weights)
        current, seen = expanded(initial, len(batch)), self._observations(batch)
        log_probs, support, query = [], [], []
        for step in range(steps + 1):
            log_probs.append(self._network(current, seen).log_softmax(-1))
            refuse_non_finite(log_probs[-1], batch.seeds, "the policy", f"after {step} inner steps")
            if step and judged:
                query.append(self._played(batch, log_probs[-1], stream=2 * step))
            if step < steps:
                support.append(self._played(batch, log_probs[-1], stream=2 * step + 1))
                summed = support[-1].gains + support[-1].losses
                current = self._moved(current, rates, seen, summed, step, differentiable=False)
        return Experience(tuple(log_probs), tuple(support), tuple(query))

    def losses(self, batch: GridworldBatch, experience: Experience, *, reweighted: bool = False) -> Tensor:
        """The outer loss of each task ``[M]`` by the present meta-parameters, on given episodes.

        Args:
            batch: M tasks.
            experience: what :meth:`play` has given for them.
            reweighted: whether other meta-parameters have played, so that the inner steps' advantages are weighted by
                the ratio of probabilities.
        """
        config, steps = self.config, len(experience.support)
        initial, rates = self._meta_parameters(None)
        current, seen = expanded(initial, len(batch)), self._observations(batch)
        free = batch.grids.free.flatten(1).to(seen)
        total = seen.new_zeros(len(batch))
        for step in range(steps + 1):
            log_probs, old = self._network(current, seen).log_softmax(-1), experience.log_probs[step]
            if step:
                weight, query = 1.0 if step == steps else config.early_weight, experience.query[step - 1]
                bonus = config.entropy * (entropy(log_probs) * query.visits).sum(1)
                total = total + weight * (self._outer(log_probs, old, query) - bonus)
            if step < steps:
                bonus = (entropy(log_probs) * free).sum(1) / free.sum(1)
                total = total - config.exploration * config.exploration_decay**step * bonus
                played = experience.support[step]
                summed = played.gains + played.losses
                if reweighted:
                    summed = summed * (log_probs.detach() - old).exp()
                current = self._moved(current, rates, seen, summed, step, differentiable=config.order == "second")
        return total

    def _outer(self, log_probs: Tensor, old: Tensor, query: Played) -> Tensor:
        if self.config.outer == "ppo":
            return clipped_surrogate(log_probs, old, query.gains, query.losses, self.config.ppo_clip)
        return self._loss(log_probs, query.gains + query.losses)

    def _moved(
        self, current: Parameters, rates: list[Tensor], seen: Tensor, summed: Tensor, step: int, differentiable: bool
    ) -> Parameters:
        """The parameters ``[M, ...]`` after an inner step on summed advantages ``[M, N, 4]``."""
        graph = differentiable and torch.is_grad_enabled()
        _, gradients = self._network.gradients(current, self._names, seen, summed, self._loss, graph)
        at = min(step, self.config.inner_steps - 1)
        return {
            name: moved(current[name], rate[at], gradients[name]) for name, rate in zip(self._names, rates, strict=True)
        }

    def _played(self, batch: GridworldBatch, log_probs: Tensor, stream: int) -> Played:
        """Episodes of policies, by random numbers of their own."""
        config, grids = self.config, batch.grids
        numbers = batch.uniforms(numbers_needed(grids, config.episodes), stream)
        episodes = play(grids, log_probs.double().exp().cpu().numpy(), numbers, config.episodes)
        table = advantage_table(episodes, grids.num_states, self.discount, config.gae_lambda)
        tensor = partial(torch.as_tensor, dtype=log_probs.dtype, device=log_probs.device)
        return Played(
            gains=tensor(table.gains),
            losses=tensor(table.losses),
            visits=tensor(table.visits),
            env_steps=torch.from_numpy(episodes.env_steps),
            returns=tensor(episodes.task_returns.mean(axis=1)),
        )

    def _observations(self, batch: GridworldBatch) -> Tensor:
        """``[M, N, D]`` as the model's parameters are."""
        return batch.grids.all_observations().to(self.inner_rates[0])

    def _meta_parameters(self, weights: Mapping[str, Tensor] | None) -> tuple[Parameters, list[Tensor]]:
        """Initial parameters by name, and their rates ``[S]``: the present ones, or those of a ``state_dict()``."""
        if weights is None:
            return dict(self.model.named_parameters()), list(self.inner_rates)
        initial = {name: weights[f"model.{name}"] for name in self._names}
        return initial, [weights[f"inner_rates.{i}"] for i in range(len(self._names))]

r"""MAML of policies: each inner step is a step of policy gradient on new episodes.

.. math::
    \theta_{s+1} = \theta_s - \alpha_s \nabla_{\theta_s} L(\theta_s; \tau_s), \qquad
    L_{meta}(\theta, \alpha) = \Big\langle \sum_{s=1}^{S} w_s \big( L'(\theta_s; \tau'_s) - c\, H_{\tau'}(\theta_s)
    \big) - \sum_{s=0}^{S-1} c_0 \kappa^s\, H(\theta_s) \Big\rangle_{tasks}

with :math:`\tau_s` the episodes that adaptation learns from, :math:`\tau'_s` others of the same policy that judge it,
and H the entropy where the policy goes, or where it explores.

A meta-step has two parts. First, episodes are played and their advantages computed, without gradients. Then the inner
steps are taken again on these, now differentiably. Later meta-steps on the same episodes (PPO) repeat the second part;
the advantages of the inner steps are then weighted by the ratio of probabilities.

Without inner steps it is a policy gradient over all tasks, which is domain randomisation. Reptile moves :math:`\theta`
towards :math:`\theta_S` instead; its gradient is :math:`(\theta - \theta_S) / \alpha`.

Legend: M tasks, S inner steps.

References:
    Finn, Abbeel & Levine (2017), arXiv:1703.03400, algorithm 3.
    Li, Zhou, Chen & Li (2017), arXiv:1707.03141, and Antoniou et al. (2019), arXiv:1810.09502: learned inner rates, of
    each tensor and each step.
    Stadie et al. (2018), arXiv:1803.01118: what the initial policy has to explore.
    Nichol, Achiam & Schulman (2018), arXiv:1803.02999: Reptile.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from synrl_ray.meta.engine import Parameters
from synrl_ray.meta.engine_vmap import expanded, moved
from synrl_ray.meta.losses import TaskLoss, refuse_non_finite
from synrl_ray.meta.meta_learner import MetaLearner, adapting_names
from synrl_ray.meta.vmapped import VmappedNetwork
from synrl_ray.meta.written_out.network import WrittenOutNetwork
from synrl_ray.settings.maml import MamlRl


class PlayedTasks(Protocol):
    """What one policy of each task has lived through; whoever plays knows more of it."""

    env_steps: Tensor
    """``[M]``."""
    returns: Tensor
    """Mean return of the episodes, as it is reported, ``[M]``."""


@dataclass(frozen=True, eq=False)
class Experience:
    """Adaptation to M tasks; everything is detached.

    Args:
        policies: after 0 … S inner steps, as the learner has them.
        support: what each of the S inner steps has learned from.
        query: other episodes of the policies after 1 … S inner steps, or of the only one, where they were wanted.
    """

    policies: tuple[Any, ...]
    support: tuple[Any, ...]
    query: tuple[Any, ...]


class PolicyLearner(MetaLearner):
    """A policy's initial parameters, and the rates at which they adapt, as meta-parameters.

    A policy is what :meth:`_policy` makes of parameters ``[M, ...]``; the other methods to be written take it.

    Args:
        model: a network without state between calls.
        config: the settings.
        discount: of returns.

    Raises:
        UserError: for a model without parameters.
    """

    def __init__(self, model: nn.Module, config: MamlRl, discount: float) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.discount = discount
        self.epochs = config.ppo_epochs if config.outer == "ppo" and config.order != "reptile" else 1
        self.adapting = adapting_names(model, config.anil)
        self.inner_rates = nn.ParameterList(
            nn.Parameter(
                model.get_parameter(name).new_full((max(1, config.inner_steps),), config.inner_lr),
                requires_grad=config.learn_inner_lr,
            )
            for name in self.adapting
        )
        self._names = [name for name, _ in model.named_parameters()]
        self._network = WrittenOutNetwork.of(model) or VmappedNetwork(model)

    @property
    def rates(self) -> list[nn.Parameter]:
        """The inner rates."""
        return list(self.inner_rates)

    def meta_loss(
        self, batch: Any, iteration: int, behaviour: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Play, adapt and judge; :class:`~synrl_ray.meta.meta_learner.MetaLearner` has the arguments."""
        experience = self.play(batch, behaviour)
        losses = self.losses(batch, experience, reweighted=behaviour is not None)
        refuse_non_finite(losses, batch.seeds, "the meta-loss", f"meta-iteration {iteration}")
        return losses.mean(), {"return": experience.query[-1].returns}

    @torch.no_grad()
    def play(
        self,
        batch: Any,
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
        current = expanded(initial, len(batch))
        policies, support, query = [], [], []
        for step in range(steps + 1):
            policies.append(self._policy(current, batch, f"after {step} inner steps"))
            if judged and self._is_judged(step, steps):
                query.append(self._played(batch, policies[-1], stream=2 * step))
            if step < steps:
                support.append(self._played(batch, policies[-1], stream=2 * step + 1))
                current = self._adapted(current, rates, batch, policies[-1], support[-1], step)
        return Experience(tuple(policies), tuple(support), tuple(query))

    def losses(self, batch: Any, experience: Experience, *, reweighted: bool = False) -> Tensor:
        """The outer loss of each task ``[M]`` by the present meta-parameters, on given episodes.

        Args:
            batch: M tasks.
            experience: what :meth:`play` has given for them.
            reweighted: whether other meta-parameters have played, so that the inner steps' advantages are weighted by
                the ratio of probabilities.
        """
        config, steps = self.config, len(experience.support)
        initial, rates = self._meta_parameters(None)
        current = start = expanded(initial, len(batch))
        total = rates[0].new_zeros(len(batch))
        query = iter(experience.query)
        for step in range(steps + 1):
            policy = self._policy(current, batch, f"after {step} inner steps")
            if config.order != "reptile" and self._is_judged(step, steps):
                total = total + (1.0 if step == steps else config.early_weight) * self._outer(policy, next(query))
            if step < steps:
                played, graph = experience.support[step], config.order == "second"
                if config.order != "reptile":
                    bonus = self._exploration(policy, batch, played)
                    total = total - config.exploration * config.exploration_decay**step * bonus
                current = self._adapted(current, rates, batch, policy, played, step, graph=graph, reweighted=reweighted)
        if config.order == "reptile":
            squared = [(start[name] - current[name].detach()).square().flatten(1).sum(1) for name in self.adapting]
            return torch.stack(squared).sum(0) / (2 * config.inner_lr)
        return total

    @staticmethod
    def _is_judged(step: int, steps: int) -> bool:
        """The initial policy only where it is all there is."""
        return step > 0 or not steps

    def _moved(
        self,
        current: Parameters,
        rates: list[Tensor],
        seen: Tensor,
        targets: Tensor,
        loss: TaskLoss,
        step: int,
        graph: bool,
    ) -> Parameters:
        """The parameters ``[M, ...]`` after an inner step on a loss."""
        graph = graph and torch.is_grad_enabled()
        _, gradients = self._network.gradients(current, self.adapting, seen, targets, loss, graph)
        at = min(step, len(rates[0]) - 1)
        changed = {
            name: moved(current[name], rate[at], gradients[name])
            for name, rate in zip(self.adapting, rates, strict=True)
        }
        return {**current, **changed}

    def _meta_parameters(self, weights: Mapping[str, Tensor] | None) -> tuple[Parameters, list[Tensor]]:
        """Initial parameters by name, and the rates ``[S]`` of those that adapt: the present ones, or of a
        ``state_dict()``."""
        if weights is None:
            return dict(self.model.named_parameters()), list(self.inner_rates)
        initial = {name: weights[f"model.{name}"] for name in self._names}
        return initial, [weights[f"inner_rates.{i}"] for i in range(len(self.adapting))]

    @abstractmethod
    def _policy(self, current: Parameters, batch: Any, where: str) -> Any:
        """What acts by parameters ``[M, ...]``; raises :class:`NonFiniteError` for one that cannot."""

    @abstractmethod
    def _played(self, batch: Any, policy: Any, stream: int) -> Any:
        """Episodes of policies, by random numbers of their own: :class:`PlayedTasks`."""

    @abstractmethod
    def _adapted(
        self,
        current: Parameters,
        rates: list[Tensor],
        batch: Any,
        policy: Any,
        played: Any,
        step: int,
        *,
        graph: bool = False,
        reweighted: bool = False,
    ) -> Parameters:
        """The parameters after an inner step on what was played; ``graph`` asks for its own derivative."""

    @abstractmethod
    def _outer(self, policy: Any, played: Any) -> Tensor:
        """The outer loss ``[M]`` of a policy on what was played, with its bonus."""

    @abstractmethod
    def _exploration(self, policy: Any, batch: Any, played: Any) -> Tensor:
        """How much a policy explores, ``[M]``, in nats."""

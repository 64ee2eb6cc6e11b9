"""Distributions of actions that are chosen among finitely many.

Legend: leading axes are any batch; D distribution inputs, A choices.
"""

from __future__ import annotations

import math

import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot

from synrl_ray.policies.actions.base import ActionDistribution


class Categorical(ActionDistribution):
    """One of ``n`` actions, from their logits ``[..., n]``; deterministic is the likeliest.

    Example:
        >>> chosen = Categorical(spaces.Discrete(3))
        >>> int(chosen.deterministic(torch.tensor([0.1, 0.7, 0.2])))
        1
    """

    def __init__(self, space: spaces.Discrete) -> None:
        self.num_outputs = int(space.n)

    def deterministic(self, inputs: Tensor) -> Tensor:
        """The likeliest action."""
        return inputs.argmax(-1)

    def sample(self, inputs: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw the action of the largest p / q, where q is exponential noise: as ``torch.multinomial`` does."""
        log_probabilities = inputs.log_softmax(-1)
        noise = torch.empty_like(inputs).exponential_(generator=generator)
        actions = (inputs.softmax(-1) / noise).argmax(-1)
        return actions, _taken(log_probabilities, actions)

    def logp_and_entropy(self, inputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Exact."""
        log_probabilities = inputs.log_softmax(-1)
        entropy = -(log_probabilities.exp() * log_probabilities).sum(-1)
        return _taken(log_probabilities, actions), entropy

    def kl(self, inputs: Tensor, others: Tensor) -> Tensor:
        """Exact."""
        log_p, log_q = inputs.log_softmax(-1), others.log_softmax(-1)
        return (log_p.exp() * (log_p - log_q)).sum(-1)


class EpsilonGreedyCategorical(Categorical):
    r"""The action of the highest of the values ``[..., n]``, or with probability :attr:`epsilon` any that is allowed.

    .. math:: \pi(a) = (1 - \epsilon)\, [a = \arg\max Q] + \epsilon / n

    Values of actions that are not allowed are the least number there is.

    Example:
        >>> chosen = EpsilonGreedyCategorical(spaces.Discrete(2))
        >>> chosen.epsilon = 0.5
        >>> logp, _ = chosen.logp_and_entropy(torch.tensor([1.0, 3.0]), torch.tensor(1))
        >>> round(logp.exp().item(), 3)
        0.75
    """

    epsilon = 0.0

    def sample(self, inputs: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """As :class:`Categorical` draws of these probabilities."""
        return super().sample(self._logits(inputs), generator)

    def logp_and_entropy(self, inputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Exact."""
        return super().logp_and_entropy(self._logits(inputs), actions)

    def kl(self, inputs: Tensor, others: Tensor) -> Tensor:
        """Exact, unless one never does what the other does: large then, instead of infinite."""
        return super().kl(self._logits(inputs), self._logits(others))

    def _logits(self, values: Tensor) -> Tensor:
        least = torch.finfo(values.dtype).min
        allowed = (values > least).to(values.dtype)
        greedy = one_hot(values.argmax(-1), self.num_outputs).to(values.dtype)
        of_any = allowed / allowed.sum(-1, keepdim=True).clamp(min=1.0)
        return ((1 - self.epsilon) * greedy + self.epsilon * of_any).log().clamp(min=least)


class MultiCategorical(ActionDistribution):
    """Independent choices, one of ``nvec[i]`` each, from their logits side by side ``[..., sum(nvec)]``."""

    def __init__(self, space: spaces.MultiDiscrete) -> None:
        self.parts = [Categorical(spaces.Discrete(int(n))) for n in space.nvec]
        self.sizes = [part.num_outputs for part in self.parts]
        self.num_outputs = sum(self.sizes)

    def deterministic(self, inputs: Tensor) -> Tensor:
        """The likeliest action of each choice."""
        return torch.stack([logits.argmax(-1) for logits in self._split(inputs)], dim=-1)

    def sample(self, inputs: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Each choice as :class:`Categorical` draws it, in their order."""
        drawn = [part.sample(logits, generator) for part, logits in zip(self.parts, self._split(inputs), strict=True)]
        actions, logp = zip(*drawn, strict=True)
        return torch.stack(actions, dim=-1), torch.stack(logp).sum(0)

    def logp_and_entropy(self, inputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over the choices."""
        parts = zip(self.parts, self._split(inputs), actions.unbind(-1), strict=True)
        logp, entropy = zip(*(part.logp_and_entropy(logits, chosen) for part, logits, chosen in parts), strict=True)
        return torch.stack(logp).sum(0), torch.stack(entropy).sum(0)

    def kl(self, inputs: Tensor, others: Tensor) -> Tensor:
        """Sum over the choices."""
        parts = zip(self.parts, self._split(inputs), self._split(others), strict=True)
        return torch.stack([part.kl(logits, other) for part, logits, other in parts]).sum(0)

    def _split(self, inputs: Tensor) -> tuple[Tensor, ...]:
        return inputs.split(self.sizes, dim=-1)


class Bernoulli(ActionDistribution):
    """Independent bits, from the logits ``[..., n]`` of being set; deterministic is the likelier value of each."""

    def __init__(self, space: spaces.MultiBinary) -> None:
        self.num_outputs = math.prod(space.shape)

    def deterministic(self, inputs: Tensor) -> Tensor:
        """The likelier value of each bit; not set where both are as likely."""
        return (inputs > 0).long()

    def sample(self, inputs: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Each bit is set where its probability is above uniform noise."""
        noise = torch.empty_like(inputs).uniform_(generator=generator)
        actions = (noise < inputs.sigmoid()).long()
        return actions, self.logp_and_entropy(inputs, actions)[0]

    def logp_and_entropy(self, inputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over the bits."""
        log_set, log_not = logsigmoid(inputs), logsigmoid(-inputs)
        entropy = -(log_set.exp() * log_set + log_not.exp() * log_not).sum(-1)
        return torch.where(actions > 0, log_set, log_not).sum(-1), entropy

    def kl(self, inputs: Tensor, others: Tensor) -> Tensor:
        """Sum over the bits."""
        is_set = inputs.sigmoid()
        of_set, of_not = logsigmoid(inputs) - logsigmoid(others), logsigmoid(-inputs) - logsigmoid(-others)
        return (is_set * of_set + (1 - is_set) * of_not).sum(-1)


def _taken(log_probabilities: Tensor, actions: Tensor) -> Tensor:
    return log_probabilities.gather(-1, actions.unsqueeze(-1)).squeeze(-1)

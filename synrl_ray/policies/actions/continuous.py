"""Distributions of Box actions, in units of their bounds: [-1, 1] is stretched to them
(:func:`synrl_ray.policies.spaces.to_environment`), as RLlib's connectors do.

Legend: leading axes are any batch; A action dimensions, K quadrature nodes.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.distributions import kl_divergence
from torch.nn.functional import softplus

from synrl_ray.policies.actions.base import ActionDistribution

_LOG_2 = math.log(2)
_LOG_2PI = math.log(2 * math.pi)
_LOG_STD_BOUNDS = (-5.0, 2.0)
"""Of a deviation that the network gives, as in CleanRL's soft actor-critic. Without the upper one a large output makes
every action a bound; below the lower one the rounding of a mean is more than a deviation, and no learner recomputes the
log-probability that a rollout had."""
_NODES = 32


class Gaussian(ActionDistribution):
    """A normal distribution of each dimension, from means and log standard deviations ``[..., 2A]``.

    What it draws may lie outside [-1, 1], and is clipped to the bounds on its way to the environment; log-probabilities
    are those before. Deterministic is the mean.

    Args:
        space: of actions.
        state_dependent_std: the deviations are outputs of the network, with logarithms within [-5, 2], instead of free
            parameters that start at 0.
    """

    def __init__(self, space: spaces.Box, *, state_dependent_std: bool = False) -> None:
        self.num_actions = int(space.shape[0])
        self.num_outputs = (2 if state_dependent_std else 1) * self.num_actions
        self.num_free = 0 if state_dependent_std else self.num_actions

    def complete(self, outputs: Tensor, free: Tensor | None) -> Tensor:
        """Add the free deviations, or bound the network's own."""
        if free is not None:
            return super().complete(outputs, free)
        mean, log_std = outputs.chunk(2, dim=-1)
        return torch.cat((mean, log_std.clamp(*_LOG_STD_BOUNDS)), dim=-1)

    def deterministic(self, inputs: Tensor) -> Tensor:
        """The mean."""
        return inputs[..., : self.num_actions]

    def sample(self, inputs: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Normal noise, scaled and shifted; gradients reach mean and deviation."""
        mean, log_std = inputs.chunk(2, dim=-1)
        noise = torch.empty_like(mean).normal_(generator=generator)
        return mean + log_std.exp() * noise, _normal_logp(noise, log_std)

    def logp_and_entropy(self, inputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Exact."""
        mean, log_std = inputs.chunk(2, dim=-1)
        entropy = (log_std + 0.5 * (1 + _LOG_2PI)).sum(-1)
        return _normal_logp((actions - mean) / log_std.exp(), log_std), entropy

    def kl(self, inputs: Tensor, others: Tensor) -> Tensor:
        """Exact."""
        (mean, log_std), (other_mean, other_log_std) = inputs.chunk(2, dim=-1), others.chunk(2, dim=-1)
        squares = (2 * (log_std - other_log_std)).exp() + ((mean - other_mean) / other_log_std.exp()).square()
        return (other_log_std - log_std + 0.5 * (squares - 1)).sum(-1)


class SquashedGaussian(Gaussian):
    r"""The hyperbolic tangent of a normal variable: no action outside the bounds, none clipped.

    .. math::
        a = \tanh u, \quad u \sim N(\mu, \sigma), \qquad
        \log\pi(a) = \log N(\mathrm{artanh}\, a; \mu, \sigma) - \log(1 + a) - \log(1 - a)

    Both logarithms and :math:`\mathrm{artanh}\, a = (\log(1 + a) - \log(1 - a)) / 2` are exact near the bounds, since
    they are computed as ``log1p`` of the action itself. Actions stay within one rounding error of the bounds, a larger
    :math:`|u|` than 8.3 in single precision counts as that.

    Deterministic is :math:`\tanh \mu`, as usual in soft actor-critic: the median, since the tangent is monotonous. (The
    mean has no closed form, and the mode jumps to a bound as soon as the deviation is large.)

    The entropy has no closed form either. It is :math:`H(N) + E[\log(1 - \tanh^2 u)]`, and the expectation, of one
    dimension each, is a Gauss-Hermite quadrature of 32 nodes: deterministic, and with a gradient. The divergence is
    that of the normal variables, which no invertible map changes.

    References:
        Haarnoja et al. (2018), "Soft actor-critic", arXiv:1801.01290, appendix C.
    """

    needs_bounds = True

    def deterministic(self, inputs: Tensor) -> Tensor:
        """The median."""
        return super().deterministic(inputs).tanh()

    def sample(self, inputs: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """The tangent of what :class:`Gaussian` draws."""
        actions = _inside(super().sample(inputs, generator)[0].tanh())
        return actions, self._logp(inputs, actions)

    def logp_and_entropy(self, inputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """The entropy by quadrature."""
        mean, log_std = inputs.chunk(2, dim=-1)
        nodes, weights = (values.to(inputs) for values in _quadrature())
        size = (mean.unsqueeze(-1) + log_std.exp().unsqueeze(-1) * nodes).abs()
        log_slope = 2 * (_LOG_2 - size - softplus(-2 * size))  # of the tangent, symmetric and without overflow
        base = super().logp_and_entropy(inputs, mean)[1]
        return self._logp(inputs, actions), base + (log_slope @ weights).sum(-1)

    def _logp(self, inputs: Tensor, actions: Tensor) -> Tensor:
        upper, lower = _log_distances(actions)
        mean, log_std = inputs.chunk(2, dim=-1)
        normal = _normal_logp((0.5 * (lower - upper) - mean) / log_std.exp(), log_std)
        return normal - (lower + upper).sum(-1)


class Beta(ActionDistribution):
    r"""A Beta distribution of each dimension, between the bounds; none of its actions is clipped.

    .. math:: x = (a + 1) / 2 \sim \mathrm{Beta}(\alpha, \beta), \qquad \alpha, \beta = 1 + \mathrm{softplus}(z)

    of outputs z ``[..., 2A]``: those of all α, then of all β. Both are above one, so that the density has one peak and
    is zero at the bounds. Deterministic is the mean :math:`2 \alpha / (\alpha + \beta) - 1`: the mode is undefined
    where both are one, and near that it jumps between the bounds. Entropy and divergence are exact.

    References:
        Chou, Maturana, Scherer (2017), "Improving stochastic policy gradients in continuous control with deep
        reinforcement learning using the Beta distribution", ICML, PMLR 70, section 4.
    """

    needs_bounds = True

    def __init__(self, space: spaces.Box) -> None:
        self.num_outputs = 2 * int(space.shape[0])

    def deterministic(self, inputs: Tensor) -> Tensor:
        """The mean."""
        alpha, beta = self._shapes(inputs)
        return ((alpha - beta) / (alpha + beta)).to(inputs)

    def sample(self, inputs: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """The share of one of two gamma variables in their sum; gradients reach the outputs."""
        # torch.distributions draws from this function, too, and lets no generator in.
        first, second = (torch._standard_gamma(shape, generator=generator) for shape in self._shapes(inputs))
        actions = _inside(((first - second) / (first + second)).to(inputs))
        return actions, self.logp_and_entropy(inputs, actions)[0]

    def logp_and_entropy(self, inputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Exact, in double precision: the logarithms of the gamma function are large, and their differences small."""
        alpha, beta = self._shapes(inputs)
        upper, lower = _log_distances(actions.to(alpha))
        # The density of x is twice that of a; x is (1 + a) / 2, and 1 - x is (1 - a) / 2.
        logp = (alpha - 1) * (lower - _LOG_2) + (beta - 1) * (upper - _LOG_2) - _log_beta(alpha, beta) - _LOG_2
        entropy = self._of_torch(alpha, beta).entropy() + _LOG_2
        return logp.sum(-1).to(inputs), entropy.sum(-1).to(inputs)

    def kl(self, inputs: Tensor, others: Tensor) -> Tensor:
        """Exact."""
        mine, other = (self._of_torch(*self._shapes(given)) for given in (inputs, others))
        return kl_divergence(mine, other).sum(-1).to(inputs)

    @staticmethod
    def _of_torch(alpha: Tensor, beta: Tensor) -> torch.distributions.Beta:
        return torch.distributions.Beta(alpha, beta, validate_args=False)

    @staticmethod
    def _shapes(inputs: Tensor) -> list[Tensor]:
        """α and β, in double precision."""
        return [1 + softplus(part) for part in inputs.double().chunk(2, dim=-1)]


def _normal_logp(noise: Tensor, log_std: Tensor) -> Tensor:
    return (-0.5 * noise.square() - log_std - 0.5 * _LOG_2PI).sum(-1)


def _inside(actions: Tensor) -> Tensor:
    """Actions in (-1, 1), one rounding error of single precision from the bounds at least: rollouts hold that."""
    most = 1 - torch.finfo(torch.float32).eps
    return actions.clamp(-most, most)


def _log_distances(actions: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of the distances of actions from the upper and the lower bound."""
    inside = _inside(actions)
    return torch.log1p(-inside), torch.log1p(inside)


def _log_beta(alpha: Tensor, beta: Tensor) -> Tensor:
    """The logarithm of the Beta function."""
    return torch.lgamma(alpha) + torch.lgamma(beta) - torch.lgamma(alpha + beta)


@cache
def _quadrature() -> tuple[Tensor, Tensor]:
    """Nodes and weights ``[K]`` of an expectation over the standard normal distribution."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())

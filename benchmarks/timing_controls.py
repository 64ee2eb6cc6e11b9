"""Controls of reward-modulated STDP: agents whose rule sees other spikes than those that act. They decide alike.

Legend: K simulation steps, N environments, I input neurons, O action neurons.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synrl_ray.policies.local.r_stdp.agent import RStdpAgent


class ConstantTag(RStdpAgent):
    """All neurons that fire do so once and at once: a synapse's tag is A+ where both have fired, whenever that was."""

    def seen(self, pre: Tensor, post: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        together = torch.zeros_like(pre), torch.zeros_like(post)
        for spikes, moved in zip((pre, post), together, strict=True):
            moved[-1] = spikes.amax(dim=0)
        return together


class OrderKept(RStdpAgent):
    """Spikes of input neurons are moved to random steps on their side of the action's spike: times are lost, the order
    of every pair is not."""

    def seen(self, pre: Tensor, post: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        fired = post.amax(dim=2)  # [K, N]
        is_later = (fired.cumsum(dim=0) - fired).unsqueeze(-1)  # what comes in the very step of the spike is not
        draw = torch.rand(pre.shape, generator=generator) + is_later
        places = draw.argsort(dim=0)
        return pre.gather(0, places), post


class OrderReversed(RStdpAgent):
    """Time runs backwards within the observation: what came before the action's spike comes after it, by as much."""

    def seen(self, pre: Tensor, post: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return pre.flip(0), post.flip(0)


class EitherDirection(RStdpAgent):
    """Time runs backwards in half of all observations, by a fair coin: in the mean over observations the window has no
    asymmetric part, in each of them it has."""

    def seen(self, pre: Tensor, post: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        turned = (torch.rand(pre.shape[1], 1, generator=generator) < 0.5).expand(len(pre), -1, -1)
        return torch.where(turned, pre.flip(0), pre), torch.where(turned, post.flip(0), post)


class SymmetricWindow(RStdpAgent):
    """A window with no asymmetric part: what comes after the action's spike counts as if it came as much before it.

    Two spikes of an input that are as far from it count as one, and what lies further after it than the observation
    reaches before it is not seen, so that it suits inputs that fire once.
    """

    def seen(self, pre: Tensor, post: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        steps = torch.arange(len(pre)).unsqueeze(1)
        action = post.amax(dim=2).argmax(dim=0)
        place = action - (steps - action).abs()  # [K, N]
        is_seen = place >= 0
        rows = torch.arange(pre.shape[1]).expand(len(pre), -1)
        mirrored = torch.zeros_like(pre)
        mirrored.index_put_((place[is_seen], rows[is_seen]), pre[is_seen], accumulate=True)
        return mirrored.clamp_(max=1), post

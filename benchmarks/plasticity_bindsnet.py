"""BindsNET as a contender of ``plasticity.py``: one connection between two input layers, spikes handed in.

BindsNET 0.3 imports torchvision for pictures and data sets, and scikit-learn for evaluation. Its learning rules use
neither: where one is absent, empty modules stand in for it, so that BindsNET can be measured without them.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

UNUSED = {"torchvision": ("utils", "transforms", "datasets"), "sklearn": ("linear_model",)}


class _StandIn(types.ModuleType):
    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def load() -> str | None:
    """Import BindsNET; return what to print about it, or None where it is absent."""
    if importlib.util.find_spec("bindsnet") is None:
        return None
    title = f"BindsNET {importlib.metadata.version('bindsnet')}"
    absent = [name for name in UNUSED if importlib.util.find_spec(name) is None]
    for name in absent:
        top = sys.modules[name] = _StandIn(name)
        for part in UNUSED[name]:
            setattr(top, part, _StandIn(f"{name}.{part}"))
            sys.modules[f"{name}.{part}"] = getattr(top, part)
    if absent:
        title += f" (its learning rules without {' and '.join(absent)}, which they do not use)"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import bindsnet.learning
        import bindsnet.network.nodes
        import bindsnet.network.topology  # noqa: F401 (all of it is checked here)
    return title


def contender(
    rule: str, weights: Tensor, pre: Tensor, post: Tensor, reward: Tensor, nu: tuple[float, float], bounds: Tensor
) -> Callable[[], Tensor]:
    """A function that learns from the spikes, from rest, step by step, and returns the weights.

    ``PostPre`` reads the traces of the layers, which they update in their own step; ``MSTDPET`` keeps its own.
    """
    from bindsnet import learning
    from bindsnet.network.nodes import Input
    from bindsnet.network.topology import Connection

    (_, batch, num_pre), num_post = pre.shape, post.shape[2]
    source, target = (Input(n, traces=rule == "PostPre", tc_trace=20.0) for n in (num_pre, num_post))
    for layer in (source, target):
        layer.set_batch_size(batch)
        layer.compute_decays(1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        connection = Connection(
            source, target, nu=nu, update_rule=getattr(learning, rule), reduction=torch.sum, w=weights.clone(),
            wmin=bounds[0].item(), wmax=bounds[1].item(), tc_plus=20.0, tc_minus=20.0, tc_e_trace=25.0,
        )  # fmt: skip
    connection.dt = torch.tensor(1.0)
    steps = list(zip(pre.bool().unbind(0), post.bool().unbind(0), reward.view(-1, batch, 1, 1).unbind(0), strict=True))

    def learn() -> Tensor:
        connection.w.copy_(weights)
        for layer in (source, target):
            layer.reset_state_variables()
        for name in ("p_plus", "p_minus", "eligibility", "eligibility_trace"):
            if hasattr(connection.update_rule, name):
                getattr(connection.update_rule, name).zero_()
        for pre_spikes, post_spikes, step_reward in steps:
            source.forward(pre_spikes)
            target.forward(post_spikes)
            connection.update(reward=step_reward)
        return connection.w.detach()

    return learn

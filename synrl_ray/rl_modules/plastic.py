"""Modules whose weights change where they act: in the env runners, by local rules.

A change that an env runner makes is overwritten by the next weights that arrive. So it is kept as a difference from the
weights that arrived last, handed over as such, merged with those of the other runners, and committed once, in the
learner, whose weights then go to all.

Legend: N environments.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.utils.numpy import convert_to_numpy
from torch import Tensor

from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.plasticity.merging import Deltas, Merge, merge_deltas
from synrl_ray.rl_modules.pushing import push_weights


class PlasticWeights(TorchRLModule):
    """A module some of whose weights are plastic.

    Attributes:
        plastic_names: names of the plastic weights in the module's state; they are buffers, or parameters that need no
            gradient.
    """

    plastic_names: tuple[str, ...] = ()

    def plastic_weights(self) -> dict[str, Tensor]:
        """The plastic weights by name.

        Raises:
            UserError: for a name that the module does not have, or a weight that a gradient optimiser trains as well.
        """
        own = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        for name in self.plastic_names:
            if name not in own:
                raise UserError(f"there is no plastic weight {name!r}", f"the module has {', '.join(sorted(own))}")
            if own[name].requires_grad:
                problem = f"the plastic weight {name!r} is trained by a gradient optimiser too"
                raise UserError(problem, "call requires_grad_(False) on it, or take it from plastic_names")
        return {name: own[name] for name in self.plastic_names}

    def take_delta(self) -> dict[str, Tensor]:
        """How far the plastic weights have moved since they arrived, or since the last call."""
        weights = _copies(self.plastic_weights())
        base = weights if self._base is None else self._base
        self._base = weights
        return {name: weight - base[name] for name, weight in weights.items()}

    @torch.no_grad()
    def commit(self, delta: Mapping[str, Tensor]) -> None:
        """Add a merged change, within the weights' bounds.

        Raises:
            NonFiniteError: instead of adding what is not finite; nothing is changed then.
        """
        for name, change in delta.items():
            if not torch.isfinite(change).all():
                raise NonFiniteError(f"the change of {name!r}", "plastic weights", "try a smaller learning rate")
        weights = self.plastic_weights()
        for name, change in delta.items():
            self._put(name, self.bounded(name, weights[name] + change.to(weights[name])))
        self._base = _copies(self.plastic_weights())

    def _put(self, name: str, weight: Tensor) -> None:
        """Let a plastic weight be this one."""
        self.plastic_weights()[name].copy_(weight)

    def bounded(self, name: str, weight: Tensor) -> Tensor:
        """A plastic weight, brought into its bounds; there are none by default."""
        return weight

    def plastic_metrics(self) -> dict[str, float]:
        """Diagnostics since the last call, averaged over runners; none by default."""
        return {}

    _base: dict[str, Tensor] | None = None

    def get_state(self, *args: Any, inference_only: bool = False, **kwargs: Any) -> dict[str, Any]:
        """All weights that are wanted, in their own precision; RLlib's would send float64 as float32."""
        wanted = {name: own for name, own in self.state_dict().items() if not (inference_only and self._learns(name))}
        state: dict[str, Any] = convert_to_numpy(wanted, reduce_type=False)
        return state

    def set_state(self, state: Any) -> None:
        """Take weights that arrive, in their own precision, less what only learners have; changes count from them."""
        own = self.state_dict()
        taken = {name: value for name, value in state.items() if name in own or not self._learns(name)}
        self.load_state_dict({name: torch.as_tensor(np.array(value)) for name, value in taken.items()})
        self._base = _copies(self.plastic_weights())

    def _learns(self, name: str) -> bool:
        """Whether a weight is one that only learners have."""
        only = self.get_non_inference_attributes() if isinstance(self, InferenceOnlyAPI) else []
        return name.split(".")[0] in only


@dataclass(frozen=True)
class Transition:
    """One step of N environments, whichever env runner took it."""

    rows: np.ndarray
    """``[N]``, which of the runner's environments these are."""
    observations: np.ndarray
    """``[N, ...]``, what the policy saw."""
    starts: np.ndarray
    """``[N]`` bool, whether that was an episode's first observation."""
    actions: np.ndarray
    """``[N, ...]``, as the policy chose them."""
    rewards: np.ndarray
    """``[N]``"""
    valid: np.ndarray
    """``[N]`` bool, false where the step was no transition."""


class TransitionLearner(PlasticWeights):
    """A module that a gradient algorithm trains, and whose plastic weights
    :class:`~synrl_ray.callbacks.plasticity.PlasticityCallback` lets learn in the env runners."""

    @abstractmethod
    def learn_from(self, transition: Transition) -> None:
        """Change the plastic weights after a step."""


def commit_deltas(algorithm: Any, parts: Sequence[tuple[Deltas, int]], merge: Merge) -> dict[str, Tensor]:
    """Add the merged changes of all runners to the learner's weights, exactly once, and send these to all.

    Args:
        algorithm: any RLlib algorithm whose module is a :class:`PlasticWeights`.
        parts: each runner's changes and the environment steps that they come from.
        merge: how, see :func:`~synrl_ray.plasticity.merging.merge_deltas`.

    Returns:
        The merged change.

    Raises:
        NonFiniteError: for a change that is not finite; the weights stay as they are.
    """
    merged = merge_deltas(parts, merge)

    def commit(learner: Any) -> None:
        learner.module[DEFAULT_MODULE_ID].unwrapped().commit(merged)
        learner._weights_seq_no += 1  # RLlib's runners ignore weights whose number they have

    algorithm.learner_group.foreach_learner(commit)
    push_weights(algorithm.env_runner_group, algorithm.learner_group)
    return merged


def _copies(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in weights.items()}

"""RLlib's view of a :class:`synrl_ray.policies.local.agent.LocalAgent`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from synrl_ray.policies.local.agent import LocalAgent
from synrl_ray.rl_modules.plastic import PlasticWeights
from synrl_ray.rl_modules.stock_algorithms import check_local


class LocalModule(PlasticWeights):
    """An agent that learns by itself.

    ``model_config`` has ``make``, which makes the agent from the spaces::

        RLModuleSpec(module_class=LocalModule, model_config={"make": make_agent})

    Raises:
        UserError: if an algorithm builds it that trains by gradients.
    """

    def setup(self) -> None:
        """Make the agent; RLlib calls this."""
        check_local(self, self.model_config)
        self.agent: LocalAgent = self.model_config["make"](self.observation_space, self.action_space)
        self.plastic_names = tuple(f"agent.{name}" for name in self.agent.plastic_names)
        self.plastic_weights()  # refuses names that do not exist

    def act(self, observations: np.ndarray, starts: np.ndarray, steps: int, generator: torch.Generator) -> np.ndarray:
        """See :meth:`LocalAgent.act`."""
        with torch.no_grad():
            return self.agent.act(observations, starts, steps, generator)

    def learn(
        self, rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray, valid: np.ndarray, observations: Any
    ) -> None:
        """See :meth:`LocalAgent.learn`."""
        with torch.no_grad():
            self.agent.learn(rewards, terminated, truncated, valid, observations)

    def bounded(self, name: str, weight: Tensor) -> Tensor:
        """A weight within the agent's bounds."""
        return self.agent.bounded(name.removeprefix("agent."), weight)

    def plastic_metrics(self) -> dict[str, float]:
        """The agent's diagnostics."""
        return self.agent.diagnostics()

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        raise NotImplementedError("a local agent acts through act()")

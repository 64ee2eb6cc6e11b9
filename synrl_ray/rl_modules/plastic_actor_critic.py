"""An actor-critic that is trained by gradients, except for layers of its actor that learn by reward-modulated STDP.

Legend: N environments, K simulation steps per observation, I and O neurons before and behind a layer.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from synrl_ray.errors import UserError
from synrl_ray.plasticity.bounds import apply_delta, clamp_weights
from synrl_ray.plasticity.homeostasis import threshold_change
from synrl_ray.plasticity.modulation import at_last_step, reward_prediction_error
from synrl_ray.plasticity.reward_modulated import EligibilityState, initial_eligibility, reward_modulated_stdp
from synrl_ray.rl_modules.actor_critic import ActorCriticModule
from synrl_ray.rl_modules.plastic import Transition, TransitionLearner
from synrl_ray.settings.policies import SpikingPolicy
from synrl_ray.snn import SpikingMLP


class PlasticActorCritic(ActorCriticModule, TransitionLearner):
    """A spiking actor-critic some of whose layers are plastic; the others are trained by the algorithm's gradients.

    ``model_config`` is that of :class:`ActorCriticModule`, with :attr:`SpikingPolicy.plastic`; the algorithm needs
    ``.callbacks(PlasticityCallback)``. A plastic layer reads the spikes that it receives (the first one a constant
    current, where no encoder makes spikes of it) and those that its neurons give; the last layer's are the neuron of
    the chosen action, at the last simulation step. Thresholds under homeostasis change as weights do.

    Raises:
        UserError: for a policy without plastic layers, or actions that are not discrete.
    """

    serves_plastic = True

    def setup(self) -> None:
        """Build the network; RLlib calls this."""
        super().setup()
        config = self.network.config
        if not isinstance(config, SpikingPolicy) or config.plastic is None:
            raise UserError("the policy has no plastic layers", "set plastic=PlasticLayers() of a SpikingPolicy")
        self.plasticity = config.plastic
        self._layer_of = {_weights_of(layer, len(config.hidden_sizes)): layer for layer in config.plastic_layers}
        self._neurons_of = {f"{_ACTOR}.neurons.{layer}.threshold": layer for layer in config.homeostatic_layers}
        self.plastic_names = (*self._layer_of, *self._neurons_of)
        own = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        for name in self.plastic_names:
            own[name].requires_grad_(False)
            with torch.no_grad():
                own[name].copy_(self.bounded(name, own[name]))
        self._traces: dict[str, EligibilityState] = {}
        self._mean = torch.zeros(0)
        self._seen: dict[str, float] = {"num_skipped": 0.0}

    def bounded(self, name: str, weight: Tensor) -> Tensor:
        """A plastic weight, or threshold, within its bounds."""
        limits = self.plasticity.homeostasis
        if name in self._neurons_of and limits is not None:
            return weight.clamp(limits.threshold_min, limits.threshold_max)
        return clamp_weights(weight, self.plasticity.bounds)

    def _put(self, name: str, weight: Tensor) -> None:
        """A new tensor in place of the old one, through which a learner's thread (IMPALA's or APPO's) may go back."""
        owner, _, own = name.rpartition(".")
        module = self.get_submodule(owner)
        setattr(module, own, nn.Parameter(weight, requires_grad=False) if own in module._parameters else weight)

    @torch.no_grad()
    def learn_from(self, transition: Transition) -> None:
        """Apply the rule to every plastic layer."""
        rows = torch.as_tensor(transition.rows)
        self._grow(int(rows.max()) + 1)
        body = cast(SpikingMLP, self.network.bodies[0])
        observations = torch.as_tensor(np.asarray(transition.observations))
        features, _ = self.network.actor_inputs(observations, observations.new_zeros(len(rows), 0))
        period = body.steps_per_observation
        received = [signal for _, signal in body.layer_inputs(features)]
        received[0] = received[0].expand(period, -1, -1)  # a current is held, spikes are there for every step
        chosen = nn.functional.one_hot(torch.as_tensor(transition.actions).long(), self.network.num_inputs).to(
            received[0]
        )
        received.append(torch.cat((received[-1].new_zeros(period - 1, *chosen.shape), chosen.unsqueeze(0))))
        prediction = reward_prediction_error(
            torch.as_tensor(transition.rewards, dtype=torch.float32).unsqueeze(0),
            self._mean[rows],
            self.plasticity.prediction,
            torch.as_tensor(transition.valid).unsqueeze(0),
        )
        self._mean[rows] = prediction.mean
        modulator = at_last_step(prediction.error, period)
        reset = torch.zeros(modulator.shape, dtype=torch.bool)
        reset[0] = torch.as_tensor(transition.starts)
        weights = self.plastic_weights()
        for name, index in self._layer_of.items():
            state = _rows_of(self._traces[name], rows)
            proposal = reward_modulated_stdp(
                received[index].contiguous(), received[index + 1].contiguous(), modulator, state, self.plasticity.rule,
                weights=weights[name].t(), bounds=self.plasticity.bounds, reset_mask=reset, reduction="sum",
            )  # fmt: skip
            weights[name].copy_(apply_delta(weights[name].t(), proposal.delta, self.plasticity.bounds).t())
            _put_rows(self._traces[name], rows, proposal.state)
        self._adapt_thresholds(received, weights, torch.as_tensor(transition.valid))
        self._seen["num_skipped"] += prediction.num_skipped
        self._seen["modulator"] = float(prediction.error.abs().mean())

    def _adapt_thresholds(self, received: list[Tensor], weights: dict[str, Tensor], valid: Tensor) -> None:
        """Homeostasis after a step, of the environments in which it was one."""
        if self.plasticity.homeostasis is None:
            return
        for name, layer in self._neurons_of.items():
            change = threshold_change(received[layer + 1][:, valid], self.plasticity.homeostasis)
            weights[name].copy_(self.bounded(name, weights[name] + change))

    def plastic_metrics(self) -> dict[str, float]:
        """Rewards that were skipped, size of the modulator; weights, traces and thresholds of every plastic layer."""
        seen = dict(self._seen)
        self._seen["num_skipped"] = 0.0
        bounds, own = self.plasticity.bounds, self.plastic_weights()
        for name, layer in self._layer_of.items():
            weight, key = own[name], f"layer{layer}"
            seen[f"{key}_weight_mean"], seen[f"{key}_weight_std"] = float(weight.mean()), float(weight.std())
            at_bounds = (weight <= bounds.w_min) | (weight >= bounds.w_max)
            seen[f"{key}_share_at_bounds"] = float(at_bounds.float().mean())
            if name in self._traces:
                seen[f"{key}_trace_norm"] = float(self._traces[name].eligibility.norm())
        for name, layer in self._neurons_of.items():
            seen[f"layer{layer}_threshold_mean"] = float(own[name].mean())
        return {key: value for key, value in seen.items() if math.isfinite(value)}

    def _grow(self, num_envs: int) -> None:
        """Make room for the traces of that many environments."""
        if len(self._mean) >= num_envs:
            return
        self._mean = torch.zeros(num_envs)
        weights = self.plastic_weights()
        for name in self._layer_of:
            weight = weights[name]
            self._traces[name] = initial_eligibility(self.plasticity.rule, num_envs, *weight.t().shape)


_ACTOR = "network.bodies.0"


def _weights_of(layer: int, num_hidden: int) -> str:
    """The name of a layer's weights in the module's state."""
    return f"{_ACTOR}.readout.linear.weight" if layer == num_hidden else f"{_ACTOR}.linears.{layer}.weight"


def _rows_of(state: EligibilityState, rows: Tensor) -> EligibilityState:
    stdp = state.stdp._replace(**{k: v[rows] for k, v in state.stdp._asdict().items() if v is not None})
    return EligibilityState(stdp, state.eligibility[rows])


def _put_rows(state: EligibilityState, rows: Tensor, part: EligibilityState) -> None:
    for name, value in part.stdp._asdict().items():
        if value is not None:
            getattr(state.stdp, name)[rows] = value
    state.eligibility[rows] = part.eligibility

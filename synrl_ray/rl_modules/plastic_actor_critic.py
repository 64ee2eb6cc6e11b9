"""An actor-critic that is trained by gradients, except for layers of its actor that learn by reward-modulated STDP.

Legend: N environments, K simulation steps per observation, I and O neurons before and behind a layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from synrl_ray.errors import UserError
from synrl_ray.plasticity.bounds import apply_delta, clamp_weights
from synrl_ray.plasticity.modulation import at_last_step, reward_prediction_error
from synrl_ray.plasticity.reward_modulated import EligibilityState, initial_eligibility, reward_modulated_stdp
from synrl_ray.rl_modules.actor_critic import ActorCriticModule
from synrl_ray.rl_modules.plastic import Transition, TransitionLearner
from synrl_ray.settings.plasticity import RewardModulatedSTDP, RewardPrediction, WeightBounds
from synrl_ray.settings.policies import SpikingPolicy
from synrl_ray.snn import SpikingMLP

HEAD = "network.bodies.0.readout.linear.weight"
"""The weights from the actor's last spiking layer to its outputs."""


@dataclass(frozen=True, kw_only=True)
class ActorPlasticity:
    """Which of the actor's weights are plastic, and how they learn."""

    weights: tuple[str, ...] = (HEAD,)
    """Names in the module's state: the head, or ``network.bodies.0.linears.<layer>.weight``."""
    rule: RewardModulatedSTDP = field(default_factory=RewardModulatedSTDP)
    prediction: RewardPrediction = field(default_factory=RewardPrediction)
    bounds: WeightBounds = field(default_factory=lambda: WeightBounds(w_min=-1.0, w_max=1.0))


class PlasticActorCritic(ActorCriticModule, TransitionLearner):
    """A spiking actor-critic some of whose layers are plastic; the others are trained by the algorithm's gradients.

    ``model_config`` is that of :class:`ActorCriticModule` with ``"plasticity"``, an :class:`ActorPlasticity`, added;
    the algorithm needs ``.callbacks(PlasticityCallback)``. A plastic layer reads the spikes that it receives and those
    that its neurons give; the head's are the neuron of the chosen action, at the last simulation step. The modulator is
    the reward less its running mean, one for each environment.

    Raises:
        UserError: for a policy whose actor is no fully connected spiking network that starts every observation from
            rest, actions that are not discrete, or a weight that there is not.
    """

    own_settings = frozenset({"plasticity"})

    def setup(self) -> None:
        """Build the network; RLlib calls this."""
        super().setup()
        body, config = self.network.bodies[0], self.network.config
        if not (isinstance(body, SpikingMLP) and isinstance(config, SpikingPolicy)) or config.has_state:
            problem = "a plastic actor is a fully connected spiking network without carried state"
            raise UserError(problem, "set conv_layers=null, carry_state=false, frame_stack=1 and policy=spiking")
        if not isinstance(self.action_space, spaces.Discrete) or config.share_layers:
            raise UserError("a plastic actor has discrete actions and layers of its own", "set share_layers=false")
        self.plasticity: ActorPlasticity = self.model_config.get("plasticity") or ActorPlasticity()
        self.plastic_names = tuple(self.plasticity.weights)
        layers = [*body.linears, body.readout.linear]
        own = dict(self.named_parameters())
        self._layer_of = {
            name: index
            for name in self.plastic_names
            for index, layer in enumerate(layers)
            if own.get(name) is layer.weight
        }
        for name in self.plastic_names:
            if name not in self._layer_of:
                there = ", ".join(key for key, value in own.items() if any(value is layer.weight for layer in layers))
                raise UserError(f"there is no plastic weight {name!r}", f"the actor has {there}")
            own[name].requires_grad_(False)
            with torch.no_grad():
                own[name].copy_(self.bounded(name, own[name]))
        self._traces: dict[str, EligibilityState] = {}
        self._mean = torch.zeros(0)
        self._seen: dict[str, float] = {"num_skipped": 0.0}

    def bounded(self, name: str, weight: Tensor) -> Tensor:
        """A plastic weight within its bounds."""
        return clamp_weights(weight, self.plasticity.bounds)

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
        received[0] = received[0].expand(period, -1, -1)
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
        self._seen["num_skipped"] += prediction.num_skipped
        self._seen["modulator"] = float(prediction.error.abs().mean())

    def plastic_metrics(self) -> dict[str, float]:
        """Rewards that were skipped, size of the modulator, and weights and traces of every plastic layer."""
        seen = dict(self._seen)
        self._seen["num_skipped"] = 0.0
        bounds = self.plasticity.bounds
        for name, weight in self.plastic_weights().items():
            seen[f"{name}/mean"], seen[f"{name}/std"] = float(weight.mean()), float(weight.std())
            at_bounds = (weight <= bounds.w_min) | (weight >= bounds.w_max)
            seen[f"{name}/share_at_bounds"] = float(at_bounds.float().mean())
            if name in self._traces:
                seen[f"{name}/trace_norm"] = float(self._traces[name].eligibility.norm())
        return {key: value for key, value in seen.items() if math.isfinite(value)}

    def _grow(self, num_envs: int) -> None:
        """Make room for the traces of that many environments."""
        if len(self._mean) >= num_envs:
            return
        self._mean = torch.zeros(num_envs)
        for name, weight in self.plastic_weights().items():
            self._traces[name] = initial_eligibility(self.plasticity.rule, num_envs, *weight.t().shape)


def _rows_of(state: EligibilityState, rows: Tensor) -> EligibilityState:
    stdp = state.stdp._replace(**{k: v[rows] for k, v in state.stdp._asdict().items() if v is not None})
    return EligibilityState(stdp, state.eligibility[rows])


def _put_rows(state: EligibilityState, rows: Tensor, part: EligibilityState) -> None:
    for name, value in part.stdp._asdict().items():
        if value is not None:
            getattr(state.stdp, name)[rows] = value
    state.eligibility[rows] = part.eligibility

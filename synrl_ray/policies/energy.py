"""What a policy's decision costs, beside a non-spiking network of the same layers, which needs no encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from synrl_ray.policies.actor_critic import make_body
from synrl_ray.policies.given import observations_from
from synrl_ray.policies.own_network import OwnNetwork
from synrl_ray.policies.policy import Policy
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy
from synrl_ray.snn.energy import EnergyConstants, EnergyReport, count_energy


def decision_energy(
    policy: Policy, observations: np.ndarray, states: np.ndarray, constants: EnergyConstants | None = None
) -> dict[str, Any]:
    """Count the operations of the actor (the critic does not take part in a decision).

    Args:
        policy: spiking or not.
        observations: ``[n, *obs]``, as they were met.
        states: ``[n, S]``, the policy's states before them.
        constants: energy per operation.

    Returns:
        ``policy`` and ``matched_ann`` with the fields of :class:`synrl_ray.snn.energy.EnergyReport`, means per
        decision; the energy's ratio; how many decisions were counted.
    """
    network = policy.network
    seen, _ = observations_from(observations, policy.observation_space)
    inputs, membranes = network.actor_inputs(torch.from_numpy(seen), torch.as_tensor(states))
    spiking_input = isinstance(policy.config, SpikingPolicy) and policy.config.encoder in ("latency", "delta")
    own = count_energy(
        network.bodies[0],  # type: ignore[arg-type]
        inputs,
        membranes,
        constants=constants,
        spiking_input=spiking_input,
    )
    actor = network.bodies[0]
    if isinstance(actor, OwnNetwork):
        twin = _without_time(own, actor.steps_per_observation, constants or EnergyConstants())
    else:
        plain, _ = network.actor_inputs(torch.from_numpy(seen), torch.as_tensor(states), coded=False)
        layout = AnnPolicy(hidden_sizes=policy.config.hidden_sizes, conv_layers=policy.config.conv_layers)
        num_outputs = network.num_inputs + (1 if policy.config.share_layers else 0)
        twin = count_energy(make_body(layout, tuple(plain.shape[2:]), num_outputs), plain, constants=constants)
    return {
        "policy": {**own.to_dict(), "spikes_per_layer": list(own.spikes_per_layer)},
        "matched_ann": {**twin.to_dict(), "spikes_per_layer": []},
        "energy_ratio": own.energy_pj / twin.energy_pj if twin.energy_pj else None,
        "decisions": len(observations),
        "constants_pj": {"mac": (constants or EnergyConstants()).mac_pj, "ac": (constants or EnergyConstants()).ac_pj},
    }


def _without_time(own: EnergyReport, num_steps: int, constants: EnergyConstants) -> EnergyReport:
    """The same layers once for each observation, no activation being zero: what stands in for the twin that a user's
    network does not have."""
    macs = own.dense_operations / num_steps
    return replace(
        own,
        effective_macs=macs,
        effective_acs=0.0,
        dense_operations=macs,
        spikes_per_layer=(),
        activation_sparsity=0.0,
        membrane_updates=0.0,
        energy_pj=macs * constants.mac_pj,
        membrane_energy_pj=0.0,
    )

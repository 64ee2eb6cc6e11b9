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
from synrl_ray.snn.strict_energy import count_strictly


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
        decision; ``policy_strict`` and ``matched_ann_strict`` with those of
        :class:`synrl_ray.snn.strict_energy.StrictReport`; the energies' ratios; how many decisions were counted. Of
        what rectifiers of a trained twin leave at zero an untrained one tells nothing: the strict count has all its
        activations, as ``tanh`` would. What a trained one saves is in the result of a run of its own
        (``--policy ann --set ann.activation=relu``).
    """
    network = policy.network
    seen, _ = observations_from(observations, policy.observation_space)
    inputs, membranes = network.actor_inputs(torch.from_numpy(seen), torch.as_tensor(states))
    spiking_input = isinstance(policy.config, SpikingPolicy) and policy.config.encoder in ("latency", "delta")
    actor: Any = network.bodies[0]
    own = count_energy(actor, inputs, membranes, constants=constants, spiking_input=spiking_input)
    encoder = network.population if network.delta is None else network.delta
    options: dict[str, Any] = {"constants": constants, "spiking_input": spiking_input, "encoder": encoder}
    strict = count_strictly(actor, inputs, membranes, **options)
    twins: dict[str, Any] = {}
    if isinstance(actor, OwnNetwork):
        twin = _without_time(own, actor.steps_per_observation, constants or EnergyConstants())
    else:
        plain, _ = network.actor_inputs(torch.from_numpy(seen), torch.as_tensor(states), coded=False)
        layout = AnnPolicy(hidden_sizes=policy.config.hidden_sizes, conv_layers=policy.config.conv_layers)
        num_outputs = network.num_inputs + (1 if policy.config.share_layers else 0)
        body: Any = make_body(layout, tuple(plain.shape[2:]), num_outputs)
        twin = count_energy(body, plain, constants=constants)
        most = count_strictly(body, plain, constants=constants, dense=True)
        twins = {
            "matched_ann_strict": most.to_dict(),
            "strict_ratio": strict.energy_pj / most.energy_pj if most.energy_pj else None,
        }
    return {
        "policy": {**own.to_dict(), "spikes_per_layer": list(own.spikes_per_layer)},
        "policy_strict": strict.to_dict(),
        "matched_ann": {**twin.to_dict(), "spikes_per_layer": []},
        **twins,
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

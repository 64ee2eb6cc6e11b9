"""A policy from within: its weights, and its spikes in the first decisions of an episode."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from synrl_ray.envs.checked import checked
from synrl_ray.errors import UserError
from synrl_ray.experiment import Evaluation
from synrl_ray.kinds.acting import admitted_environment, experiment_of_run, factory_of
from synrl_ray.kinds.inside import parameters_of, weights_of
from synrl_ray.policies.description import Description
from synrl_ray.policies.policy import Policy, load_network_policy
from synrl_ray.policies.recording import SpikeWatcher
from synrl_ray.running.imports import admit_network
from synrl_ray.running.kind import Inside
from synrl_ray.settings.policies import SpikingPolicy

_MOST_DECISIONS = 50
"""A raster of more is no longer read spike by spike."""


def inside(description: Description, trust: bool, plays: bool) -> Inside:
    """Weights, and if it plays, spikes where the policy has them and its environment can be made here."""
    try:
        admitted = admit_network(description, trust=trust)
    except UserError as refused:
        return Inside(parameters=None, weights={}, note=str(refused))
    policy = load_network_policy(admitted)
    parameters = parameters_of(policy.network.bodies[0])
    weights: dict[str, np.ndarray] = {}
    for name, body in zip(("actor", "critic"), policy.network.bodies, strict=False):
        weights |= {f"{name} {layer}": values for layer, values in weights_of(body).items()}
    if not (plays and isinstance(policy.config, SpikingPolicy)):
        return Inside(parameters=parameters, weights=weights)
    try:
        spikes = _spikes(policy, description, trust)
    except UserError as missing:
        return Inside(parameters=parameters, weights=weights, note=str(missing))
    steps = policy.config.steps_per_observation
    return Inside(parameters=parameters, weights=weights, spikes=spikes, steps_per_decision=steps)


def _spikes(policy: Policy, description: Description, trust: bool) -> tuple[np.ndarray, ...]:
    """Of each layer, ``[T, N]``; the episode is the first that the run's protocol judges by.

    Raises:
        UserError: if the environment is not trusted, not there, or fails.
    """
    environment = admitted_environment(policy, description, trust=trust)
    experiment = experiment_of_run(description, "control")
    protocol = Evaluation() if experiment is None else experiment.evaluation
    watcher = SpikeWatcher(policy)
    seen: list[list[np.ndarray]] = []
    with closing(checked(factory_of(environment)())) as env:
        observation, _ = env.reset(seed=protocol.first_seed)
        state, ended = watcher.initial_state(1), False
        while not ended and len(seen) < _MOST_DECISIONS:
            actions, state = watcher.act(np.asarray(observation)[None], state)
            seen.append([layer.reshape(len(layer), -1) > 0 for layer in watcher.last_spikes or ()])
            observation, _, terminated, truncated, _ = env.step(actions[0])
            ended = terminated or truncated
    return tuple(np.concatenate(layer) for layer in zip(*seen, strict=True))

"""``synrl export``: a trained spiking policy as a NIR graph, checked on observations that it meets itself."""

from __future__ import annotations

import os
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from synrl_ray.errors import UserError
from synrl_ray.evaluation.episodes import evaluate_policy
from synrl_ray.experiment import Environment
from synrl_ray.files import write_atomically
from synrl_ray.kinds.acting import admitted_environment, factory_of
from synrl_ray.policies.description import Description
from synrl_ray.policies.given import observations_from
from synrl_ray.policies.layers import rows_at_once
from synrl_ray.policies.normaliser import BOUND
from synrl_ray.policies.policy import Policy, load_network_policy
from synrl_ray.policies.recording import ObservationRecorder
from synrl_ray.running.imports import admit_network
from synrl_ray.settings.policies import SpikingPolicy

_EPISODES = 10


def export_nir(
    description: Description, out: Path, trust: bool = False, num_observations: int = 1000
) -> dict[str, Any]:
    """Export the actor, read it back, and compare spike by spike on observations of its own episodes.

    Args:
        description: of the policy.
        out: the ``.nir`` file to write.
        num_observations: on how many observations the two must agree; fewer if the network is very large.
        trust: import the module that the environment is in, though the folder is not this user's.

    Returns:
        ``agreement`` (share of equal spikes), ``observations`` and ``file``; for a policy that normalises its
        observations also ``clipped``: how many of them it has clipped, as the graph does not.

    Raises:
        UserError: for a policy that does not spike or carries its state, for what NIR cannot say, and if a single
            spike differs; nothing is written then.
    """
    policy = load_network_policy(admit_network(description, trust=trust))
    config = policy.config
    if not isinstance(config, SpikingPolicy):
        raise UserError(f"the policy in {description.folder} does not spike", "export a run of --policy spiking")
    if config.has_state:
        raise UserError(
            "a policy that carries state across environment steps cannot be checked observation by observation",
            "train with --set " + " ".join(f"spiking.{setting}" for setting in config.without_state),
        )
    if config.encoder != "current":
        raise UserError(
            f"NIR takes currents, and the policy codes its observations (encoder={config.encoder})",
            "train with --set spiking.encoder=current",
        )
    from synrl_ray.snn import nir

    num_observations = rows_at_once(policy.network.numbers_per_observation, num_observations)
    environment = admitted_environment(policy, description, trust=trust)
    # In double precision no spike hangs on how a sum is rounded, so that all must agree.
    network = deepcopy(policy.network).double()
    actor, normaliser = network.bodies[0], network.normaliser
    scaling = None if normaliser is None else nir.Scaling(normaliser.mean, normaliser.deviation)
    clipped: dict[str, int] = {}
    try:
        nir.to_nir(actor)  # refuse what NIR cannot say before playing a thousand steps
        observations, _ = observations_from(
            _observations(policy, environment, num_observations), policy.observation_space
        )
        raw = network.encoder(torch.from_numpy(observations)).double()
        if normaliser is not None:
            clipped["clipped"] = int(normaliser.clips(raw).sum())
        received = raw if normaliser is None else normaliser(raw)
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / "policy.nir"
            agreement = nir.write(actor, draft, raw, minimum=1.0, scaling=scaling, received=received)
            write_atomically(out, draft.read_bytes())
    except nir.NIRError as error:
        remedy = f"{error}{_clipping(clipped, num_observations)}"
        raise UserError(f"{description.folder} cannot be exported", remedy) from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise UserError(f"{out} cannot be written ({reason})", "choose another --out") from error
    return {"file": str(out), "agreement": agreement, "observations": len(raw), **clipped}


def _clipping(clipped: dict[str, int], num_observations: int) -> str:
    """Why a graph of a policy that clips its observations may differ."""
    if not clipped.get("clipped"):
        return ""
    return (
        f"; {clipped['clipped']} of {num_observations:,} observations lie more than {BOUND:g} deviations from their "
        "mean, where the policy clips them and NIR cannot: train it for longer"
    )


def _observations(policy: Policy, environment: Environment, number: int) -> Any:
    """Observations of the policy's own episodes ``[number, *obs]``."""
    recorder = ObservationRecorder(policy, number)
    episodes = 0
    while recorder.count < number:
        evaluate_policy(recorder, factory_of(environment), episodes=_EPISODES, seed=episodes)
        episodes += _EPISODES
    return recorder.observations

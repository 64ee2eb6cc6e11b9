"""``synrl export``: a trained spiking policy as a NIR graph, checked on observations that it meets itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from synrl_ray.envs.make import environment_factory
from synrl_ray.errors import UserError
from synrl_ray.evaluation.rollout import evaluate_policy
from synrl_ray.policies.config import SpikingPolicy
from synrl_ray.policies.policy import DESCRIPTION_FILE, load_policy
from synrl_ray.policies.recording import ObservationRecorder

_EPISODES = 10


def export_nir(path: Path, out: Path, *, num_observations: int = 1000) -> dict[str, Any]:
    """Export the actor, read it back, and compare spike by spike on observations of its own episodes.

    Args:
        path: a run folder.
        out: the ``.nir`` file to write.
        num_observations: on how many observations the two must agree.

    Returns:
        ``agreement`` (share of equal spikes), ``observations`` and ``file``.

    Raises:
        UserError: for a policy that does not spike or carries its state, for what NIR cannot say, and if a single
            spike differs; nothing is written then.
    """
    if out.suffix != ".nir":
        raise UserError(f"{out} is no NIR file", "let its name end in .nir")
    policy = load_policy(path)
    config = policy.config
    if not isinstance(config, SpikingPolicy):
        raise UserError(f"the policy in {path} does not spike", "export a run of --policy spiking")
    if config.carry_state:
        raise UserError(
            "a policy that carries its membranes across environment steps cannot be checked observation by observation",
            "train with carry_state=false",
        )
    from synrl_ray.snn import nir

    environment = json.loads((path / DESCRIPTION_FILE).read_text()).get("environment")
    if not isinstance(environment, dict):
        raise UserError(f"{path / DESCRIPTION_FILE} names no environment", "restore it or train again")
    recorder = ObservationRecorder(policy, num_observations)
    make = environment_factory(environment["id"], environment.get("kwargs", {}))
    episodes = 0
    while recorder.count < num_observations and episodes < 100 * _EPISODES:
        evaluate_policy(recorder, make, episodes=_EPISODES, seed=episodes)
        episodes += _EPISODES
    features = policy.network.encoder(torch.as_tensor(recorder.observations))
    draft = out.with_name(f".{out.stem}-draft.nir")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        agreement = nir.write(policy.network.bodies[0], draft, features, minimum=1.0)
        os.replace(draft, out)
    except nir.NIRError as error:
        raise UserError(f"{path} cannot be exported", str(error)) from error
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror})", "choose another --out") from error
    finally:
        draft.unlink(missing_ok=True)
    return {"file": str(out), "agreement": agreement, "observations": len(features)}

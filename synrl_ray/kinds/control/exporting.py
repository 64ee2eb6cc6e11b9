"""``synrl export``: a trained spiking policy as a NIR graph, checked on whole episodes that it plays itself."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from synrl_ray.errors import UserError
from synrl_ray.evaluation.episodes import evaluate_policy
from synrl_ray.experiment import Environment
from synrl_ray.files import write_atomically
from synrl_ray.kinds.acting import admitted_environment, evaluate_in, factory_of
from synrl_ray.policies.description import Description
from synrl_ray.policies.policy import Policy, load_network_policy
from synrl_ray.running.imports import admit_network
from synrl_ray.settings.policies import SpikingPolicy

_EPISODES_AT_ONCE = 2
_JUDGED_EPISODES = 10
"""Whose returns with and without rounded weights are compared."""


def export_nir(
    description: Description,
    out: Path,
    trust: bool = False,
    num_observations: int = 1000,
    bits: int | None = None,
) -> dict[str, Any]:
    """Export the actor, read it back, and compare spikes and actions from raw observations, over whole episodes.

    Args:
        description: of the policy.
        out: the ``.nir`` file to write.
        trust: import the module that the environment is in, though the folder is not this user's.
        num_observations: on at least how many observations graph and policy must agree; their episodes are whole.
        bits: round the weights that are written to so many bits, and compare the greedy returns.

    Returns:
        ``file``, ``episodes`` and ``observations``; ``nir`` and ``snntorch``, what agrees in ``nir``'s equations and in
        snnTorch's neurons (shares of equal ``spikes`` and ``actions``, and of the actions ``played`` in single
        precision), or why the latter cannot run it; ``normaliser``, where observations are normalised: in the graph or
        before it; ``bits`` and the mean greedy returns before and after where weights were rounded.

    Raises:
        UserError: for a policy that does not spike, for what NIR cannot say, and if a single spike or action differs;
            nothing is written then.
    """
    policy = load_network_policy(admit_network(description, trust=trust))
    if not isinstance(policy.config, SpikingPolicy):
        raise UserError(f"the policy in {description.folder} does not spike", "export a run of --policy spiking")
    from synrl_ray.snn.nir import NIRError

    environment = admitted_environment(policy, description, trust=trust)
    try:
        outcome, graph = _checked(policy, environment, num_observations)
        if bits is not None:
            outcome |= _rounded(graph, bits, policy, environment)
            graph = outcome.pop("graph")
        write_atomically(out, _bytes_of(graph))
    except NIRError as error:
        raise UserError(f"{description.folder} cannot be exported", str(error)) from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise UserError(f"{out} cannot be written ({reason})", "choose another --out") from error
    return {"file": str(out), **outcome}


def _checked(policy: Policy, environment: Environment, num_observations: int) -> tuple[dict[str, Any], Any]:
    """What agrees, and the graph."""
    from synrl_ray.policies.graph_check import EpisodeRecorder, compare, num_clipped
    from synrl_ray.policies.graphs import GraphPolicy, graph_of
    from synrl_ray.snn.nir import NIRError
    from synrl_ray.snn.nir.snntorch_reader import SnnTorchRun

    graph_of(policy)  # refuse what NIR cannot say before playing a thousand steps
    recorded = EpisodeRecorder(policy)
    while recorded.count < num_observations:
        seed = len(recorded.observations)
        evaluate_policy(recorded, factory_of(environment), episodes=_EPISODES_AT_ONCE, seed=seed)
    # A graph does not clip: where observations reach the normaliser's bound, it stays outside, with the bound.
    graph = _read_back(graph_of(policy, fold=not num_clipped(policy, recorded)))
    acting = GraphPolicy(graph)
    readers: list[Any] = [acting.run]
    refused = None
    try:
        readers.append(SnnTorchRun(graph))
    except NIRError as error:
        refused = str(error)
    own, *others = compare(policy, acting, readers, recorded)
    for found, name in zip((own, *others), ("in NIR's equations", "in snnTorch's neurons"), strict=False):
        if min(found.spikes, found.actions) < 1:
            raise NIRError(
                f"the exported graph does not do the same {name}: {found.spikes:.6f} of the spikes agree, "
                f"{found.actions:.6f} of the actions"
            )
    outcome = {
        "episodes": len(recorded.actions),
        "observations": recorded.count,
        "nir": asdict(own),
        "snntorch": asdict(others[0]) if others else refused,
    }
    if policy.network.normaliser is not None:
        outside = any(step["do"] == "normalise" for step in acting.preparation.steps)
        outcome["normaliser"] = "before the graph" if outside else "in the graph"
    return outcome, graph


def _rounded(graph: Any, bits: int, policy: Policy, environment: Environment) -> dict[str, Any]:
    """The graph with rounded weights, and the greedy returns without and with them."""
    from synrl_ray.policies.graphs import GraphPolicy
    from synrl_ray.snn.nir.quantising import quantised

    try:
        graph = _read_back(quantised(graph, bits))
    except ValueError as error:
        raise UserError(str(error), "leave --bits out, or take 8") from None
    policies = policy, GraphPolicy(graph)
    before, after = (
        evaluate_in(each, environment, episodes=_JUDGED_EPISODES, seed=0).summary().mean for each in policies
    )
    return {"graph": graph, "bits": bits, "return": before, "return_rounded": after, "judged": _JUDGED_EPISODES}


def _read_back(graph: Any) -> Any:
    return _in_a_file(graph, lambda nir, path: nir.read(str(path)))


def _bytes_of(graph: Any) -> bytes:
    content: bytes = _in_a_file(graph, lambda nir, path: path.read_bytes())
    return content


def _in_a_file(graph: Any, use: Callable[[Any, Path], Any]) -> Any:
    import nir

    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "policy.nir"
        nir.write(str(draft), graph)
        return use(nir, draft)

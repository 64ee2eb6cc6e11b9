"""Every committed spiking policy of control is a NIR graph that does the same, in two simulators."""

import json
from pathlib import Path

import nir
import numpy as np
import pytest

from synrl_ray.policies.graph_check import EpisodeRecorder, compare
from synrl_ray.policies.graphs import GraphPolicy, graph_of
from synrl_ray.policies.policy import load_network_policy
from synrl_ray.snn.nir.snntorch_reader import SnnTorchRun

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
FOLDERS = sorted(
    file.parent
    for file in RESULTS.glob("*/spiking/policy.json")
    if json.loads(file.read_text())["format"] == 1  # networks; the others are tables, local rules and learners
)


def test_there_are_some():
    assert len(FOLDERS) >= 6


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_the_graph_of_a_committed_policy_agrees(folder, tmp_path):
    """On observations of no episode, which are the more different: `synrl export` has those of episodes."""
    policy = load_network_policy(folder)
    fold = policy.network.normaliser is None
    nir.write(str(tmp_path / "policy.nir"), graph_of(policy, fold=fold))
    graph = nir.read(str(tmp_path / "policy.nir"))
    policy.observation_space.seed(0)
    recorded, rows = EpisodeRecorder(policy), 2
    state = recorded.initial_state(rows)
    for _ in range(3):
        observations = np.stack([policy.observation_space.sample() for _ in range(rows)])
        _, state = recorded.act(observations, state)
    acting = GraphPolicy(graph)
    for found in compare(policy, acting, [acting.run, SnnTorchRun(graph)], recorded):
        assert (found.spikes, found.actions) == (1.0, 1.0)

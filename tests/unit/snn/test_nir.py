"""NIR export and import: round trips, spike agreement, what must be refused."""

import nir
import numpy as np
import pytest
import torch

from synrl_ray.snn import LIF, MLP, SpikingMLP, Synaptic
from synrl_ray.snn import nir as ours


def make_net(**options):
    torch.manual_seed(0)
    return SpikingMLP(4, (16, 12), 2, **{"steps_per_observation": 5, "reset": "zero", "gain": 4.0, **options})


def test_round_trip_through_a_file(tmp_path):
    net, observations = make_net(), torch.randn(200, 4)
    assert ours.write(net, tmp_path / "net.nir", observations) == 1.0
    back = ours.read(tmp_path / "net.nir")
    assert back.steps_per_observation == 5
    assert back.neurons[0].beta.item() == net.neurons[0].beta.item()
    for a, b in zip(back.parameters(), net.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(back(observations.unsqueeze(0)), net(observations.unsqueeze(0)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_agreement_is_about_spikes_that_happen():
    net, observations = make_net(), torch.randn(50, 4)
    spikes, readout = ours.simulate(ours.to_nir(net), observations, 5)
    assert all(0.01 < layer.mean() < 0.99 for layer in spikes)
    torch.testing.assert_close(readout, net(observations.unsqueeze(0))[0][0], rtol=0, atol=1e-5)
    other = make_net(beta=0.5)
    assert ours.spike_agreement(other, ours.to_nir(net), observations) < 1


def test_per_neuron_parameters_survive():
    net = make_net()
    net.neurons[0] = LIF(torch.rand(16) * 0.9, torch.rand(16) + 0.5, reset="zero", hold=5)
    back = ours.from_nir(ours.to_nir(net))
    torch.testing.assert_close(back.neurons[0].beta, net.neurons[0].beta, rtol=0, atol=1e-7)
    assert torch.equal(back.neurons[0].threshold, net.neurons[0].threshold)
    assert back.neurons[1].beta.dim() == 0
    assert ours.spike_agreement(net, ours.to_nir(net), torch.randn(100, 4)) == 1.0


def test_a_graph_from_elsewhere():
    """Another time step, another gain of the current and no bias: v <- 0.75 v + 0.25 * 4 * 0.3."""
    tau, size = np.full(1, 4e-3), np.ones(1)
    graph = nir.NIRGraph.from_list(
        nir.Linear(weight=np.full((1, 1), 0.3)),
        nir.LIF(tau=tau, r=4 * size, v_leak=0 * size, v_threshold=size, v_reset=0 * size),
        nir.Affine(weight=np.ones((1, 1)), bias=np.zeros(1)),
        nir.LI(tau=tau, r=4 * size, v_leak=0 * size),
    )
    graph.metadata = {"dt": 1e-3}
    with pytest.raises(ours.NIRError, match="pass steps_per_observation"):
        ours.from_nir(graph)
    net = ours.from_nir(graph, steps_per_observation=10)
    _, _, (spikes,) = net.forward_with_spikes(torch.ones(1, 1, 1))
    v, expected = 0.0, []
    for _ in range(10):
        v = 0.75 * v + 0.3
        expected.append(float(v > 1))
        v = 0.0 if v > 1 else v
    assert spikes.flatten().tolist() == expected
    assert sum(expected) > 0


def test_what_nir_cannot_say(tmp_path):
    with pytest.raises(ours.NIRError, match=r"no reset by 'subtract'.*reset=.zero"):
        ours.write(make_net(reset="subtract"), tmp_path / "a.nir")
    with pytest.raises(ours.NIRError, match="no reset by 'none'"):
        ours.to_nir(make_net(reset="none"))
    with pytest.raises(ours.NIRError, match="layer 0 does not leak"):
        ours.to_nir(make_net(beta=1.0))
    with pytest.raises(ours.NIRError, match="the readout does not leak"):
        ours.to_nir(make_net(readout_beta=1.0))
    with pytest.raises(ours.NIRError, match="only a SpikingMLP is exported, got MLP"):
        ours.to_nir(MLP(2, (3,), 1))
    with pytest.raises(ours.NIRError, match="only LIF neurons"):
        ours.to_nir(make_net(neuron=Synaptic))
    with pytest.raises(ours.NIRError, match="this network has skip connections"):
        ours.to_nir(SpikingMLP(4, (8, 8, 8), 2, reset="zero", skip=True))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_does_not_agree_is_removed(tmp_path):
    with pytest.raises(ours.NIRError, match="of the spikes agree"):
        ours.write(make_net(), tmp_path / "net.nir", torch.randn(20, 4), minimum=1.1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.edges.append(("lif_0", "output")), "only a chain"),
        (lambda g: setattr(g.nodes["lif_0"], "v_reset", np.ones(16)), "leak and reset to zero"),
        (lambda g: g.nodes.update(lif_0=nir.LI(np.ones(16), np.ones(16), np.zeros(16))), "LIF nodes in turn"),
        (lambda g: setattr(g.nodes["lif_0"], "tau", np.full(16, 1e-5)), "shorter than a step"),
        (lambda g: setattr(g.nodes["integrator"], "tau", np.array([1e-3, 2e-3])), "different time constants"),
    ],
)
def test_graphs_that_are_not_networks(change, message):
    graph = ours.to_nir(make_net())
    change(graph)
    with pytest.raises(ours.NIRError, match=message):
        ours.from_nir(graph)

"""NIR export and import: round trips, graphs from elsewhere, what must be refused."""

import nir
import numpy as np
import pytest
import torch

from synrl_ray.snn import LIF, MLP, AdaptiveLIF, SpikingCNN, SpikingMLP, Synaptic
from synrl_ray.snn import nir as ours
from synrl_ray.snn.snntorch_layer import SnnTorchLayer


def make_net(**options):
    torch.manual_seed(0)
    return SpikingMLP(4, (16, 12), 2, **{"steps_per_observation": 5, "reset": "zero", "gain": 4.0, **options})


def chain(*nodes, dt=1e-3):
    graph = nir.NIRGraph.from_list(*nodes)
    graph.metadata = {"dt": dt}
    return graph


def leaky(kind, size=1, **more):
    one = np.ones(size)
    return kind(tau=4e-3 * one, r=4 * one, v_leak=0 * one, **more)


def readout(size=1):
    return nir.Affine(weight=np.ones((1, size)), bias=np.zeros(1)), leaky(nir.LI)


@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
def test_round_trip_through_a_file(tmp_path, reset):
    net, observations = make_net(reset=reset), torch.randn(200, 4)
    assert ours.write(net, tmp_path / "net.nir", observations) == 1.0
    back = ours.read(tmp_path / "net.nir")
    assert back.steps_per_observation == 5
    assert [neuron.reset for neuron in back.neurons] == [reset, reset]
    assert back.neurons[0].beta.item() == net.neurons[0].beta.item()
    for a, b in zip(back.parameters(), net.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(back(observations.unsqueeze(0)), net(observations.unsqueeze(0)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
def test_synaptic_neurons_come_back(reset):
    net = make_net(neuron=lambda: Synaptic(torch.rand(1)[0], 0.7, reset=reset), readout="mean")
    back = ours.from_nir(ours.to_nir(net))
    assert [type(neuron) for neuron in back.neurons] == [Synaptic, Synaptic]
    observations = torch.randn(3, 20, 4)
    for a, b in zip(back(observations), net(observations), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-5)


def test_a_convolutional_network_comes_back():
    torch.manual_seed(0)
    net = SpikingCNN((2, 14, 14), 3, shape=((4, 4, 2), (6, 3, 1)), hidden_size=8, steps_per_observation=3, gain=4.0)
    back = ours.from_nir(ours.to_nir(net))
    images = torch.rand(2, 4, 2, 14, 14)
    for a, b in zip(back(images), net(images), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_per_neuron_parameters_survive():
    net = make_net()
    net.neurons[0] = LIF(torch.rand(16) * 0.9, torch.rand(16) + 0.5, reset="zero", hold=5)
    back = ours.from_nir(ours.to_nir(net))
    torch.testing.assert_close(back.neurons[0].beta, net.neurons[0].beta, rtol=0, atol=1e-7)
    assert torch.equal(back.neurons[0].threshold, net.neurons[0].threshold)
    assert back.neurons[1].beta.dim() == 0
    assert ours.spike_agreement(net, ours.to_nir(net), torch.randn(100, 4)) == 1.0


def test_a_graph_of_another_network_does_not_agree():
    assert ours.spike_agreement(make_net(beta=0.5), ours.to_nir(make_net()), torch.randn(50, 4)) < 1


def test_the_first_outputs_alone():
    net, observations = make_net(), torch.randn(1, 20, 4)
    _, outputs, _ = ours.run(ours.GraphRun(ours.to_nir(net, num_outputs=1)), observations, hold=5)
    torch.testing.assert_close(outputs[-1].float(), net(observations)[0][0, :, :1], rtol=1e-6, atol=1e-5)


def test_a_graph_from_elsewhere():
    """Another time step, another gain of the current and no bias: v <- 0.75 v + 0.25 * 4 * 0.3."""
    size = np.ones(1)
    spiking = leaky(nir.LIF, v_threshold=size, v_reset=0 * size)
    graph = chain(nir.Linear(weight=np.full((1, 1), 0.3)), spiking, *readout())
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
    with pytest.raises(ours.NIRError, match="only a SpikingMLP or SpikingCNN is exported, got MLP"):
        ours.to_nir(MLP(2, (3,), 1))
    net = make_net(neuron=lambda: SnnTorchLayer("Leaky", beta=0.9))
    with pytest.raises(ours.NIRError, match=r"layer 0 has neurons of snntorch\.Leaky, .* train with neuron=lif"):
        ours.write(net, tmp_path / "a.nir")
    net = make_net()
    net.neurons[1] = LIF(torch.tensor([1.0] + [0.9] * 11), reset="zero")
    with pytest.raises(ours.NIRError, match="layer 1 has some neurons that leak and some with beta=1"):
        ours.to_nir(net)
    net = SpikingCNN((1, 8, 8), 2, shape=((2, 3, 1),), hidden_size=4)
    with pytest.raises(ours.NIRError, match="one scale for all pixels"):
        ours.to_nir(net, ours.Scaling(torch.zeros(1, 8, 8), torch.ones(1, 8, 8)))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_does_not_agree_is_removed(tmp_path):
    with pytest.raises(ours.NIRError, match="of the spikes agree"):
        ours.write(make_net(), tmp_path / "net.nir", torch.randn(20, 4), minimum=1.1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.edges.append(("spikes_0", "output")), "expected linear maps"),
        (lambda g: setattr(g.nodes["spikes_0"], "v_reset", np.ones(16)), "leak and reset to zero"),
        (lambda g: setattr(g.nodes["spikes_0"], "v_leak", np.ones(16)), "leak and reset to zero"),
        (lambda g: g.nodes.update(spikes_0=nir.LI(np.ones(16), np.ones(16), np.zeros(16))), "neurons in turn"),
        (lambda g: setattr(g.nodes["spikes_0"], "tau", np.full(16, 1e-5)), "shorter than a step"),
        (lambda g: setattr(g.nodes["integrator"], "tau", np.array([1e-3, 2e-3])), "different time constants"),
        (lambda g: g.nodes.update(spikes_0=nir.Delay(np.zeros(16))), "neurons in turn"),
        (lambda g: g.edges.append(("spikes_1", "nowhere")), "no such node"),
        (lambda g: g.nodes.update(more=nir.Output({"output": np.array([1])})), "one input and one output"),
    ],
)
def test_graphs_that_are_not_networks(change, message):
    graph = ours.to_nir(make_net())
    change(graph)
    with pytest.raises(ours.NIRError, match=message):
        ours.from_nir(graph)


def test_graphs_that_run_and_are_no_network_of_ours():
    with pytest.raises(ours.NIRError, match="expected linear maps"):
        ours.from_nir(ours.to_nir(make_net(neuron=AdaptiveLIF)))
    with pytest.raises(ours.NIRError, match="expected linear maps"):
        ours.from_nir(ours.to_nir(SpikingMLP(4, (8, 8, 8), 2, skip=True)))
    graph = ours.to_nir(make_net(reset="subtract"))
    graph.nodes["reset_0"].scale *= 2
    with pytest.raises(ours.NIRError, match="reset_0 leads back from spikes_0 and is not its threshold"):
        ours.from_nir(graph)
    one = np.ones(1)
    with pytest.raises(ours.NIRError, match="expected linear maps"):  # a readout alone is no spiking network
        ours.from_nir(chain(*readout()), steps_per_observation=2)
    padded = nir.Conv2d((4, 4), np.ones((1, 1, 3, 3)), 1, 1, 1, 1, np.zeros(1))
    shape = np.ones((1, 4, 4))
    spiking = nir.LIF(4e-3 * shape, shape, 0 * shape, shape, 0 * shape)
    flat = nir.Flatten({"input": np.array([1, 4, 4])}, 0)
    with pytest.raises(ours.NIRError, match="convolutions must be square, without padding"):
        ours.from_nir(chain(padded, spiking, flat, nir.Affine(np.ones((1, 16)), one), leaky(nir.LI)))


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("input", "linear_0"),
        ("linear_0", "spikes_0"),
        ("linear_0", "membrane_0"),
        ("membrane_0", "membrane_0"),
        ("membrane_0", "spikes_0"),
        ("spikes_0", "spikes_0"),
        ("readout", "integrator"),
        ("integrator", "integrator"),
        ("output", "integrator"),
    ],
)
def test_a_scale_that_is_no_reset_is_never_left_out(source, target):
    torch.manual_seed(0)
    graph = ours.to_nir(SpikingMLP(3, (3,), 3, steps_per_observation=5, reset="subtract", gain=4.0))
    changed = nir.NIRGraph(dict(graph.nodes), list(graph.edges), metadata=graph.metadata)
    changed.nodes["more"] = nir.Scale(np.full(3, -0.5))
    changed.edges += [(source, "more"), ("more", target)]
    observations = torch.rand(1, 20, 3)
    before, after = (ours.run(ours.GraphRun(each), observations, hold=5)[1] for each in (graph, changed))
    assert not torch.allclose(before, after), "the scale does something"
    with pytest.raises(ours.NIRError, match="expected linear maps"):
        ours.from_nir(changed)


@pytest.mark.parametrize(("source", "target"), [("convolution_0", "spikes_0"), ("spikes_0", "convolution_0")])
def test_a_scale_beside_a_convolution_is_never_left_out(source, target):
    net = SpikingCNN((1, 3, 3), 2, shape=((1, 1, 1),), hidden_size=4, steps_per_observation=2, reset="zero")
    graph = ours.to_nir(net)
    graph.nodes["more"] = nir.Scale(np.full((1, 3, 3), 2.0))
    graph.edges += [(source, "more"), ("more", target)]
    with pytest.raises(ours.NIRError, match="expected linear maps"):
        ours.from_nir(graph)

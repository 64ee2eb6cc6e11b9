"""What a network does, its graph does: in ``nir``'s equations and in snnTorch's neurons run by NIRTorch."""

import nir
import numpy as np
import pytest
import torch

from synrl_ray.snn import LIF, AdaptiveLIF, SpikingCNN, SpikingMLP, Synaptic
from synrl_ray.snn import nir as ours
from synrl_ray.snn.nir.files import share_of_equal
from synrl_ray.snn.nir.snntorch_reader import SnnTorchRun

READERS = {"nir": ours.GraphRun, "snntorch": SnnTorchRun}
K = 4


def mlp(**options):
    return SpikingMLP(5, (16, 16, 16), 3, **{"steps_per_observation": K, "gain": 4.0, "hidden_gain": 2.0, **options})


def cnn(**options):
    shape = ((4, 4, 2), (6, 3, 1))
    options = {"steps_per_observation": K, "gain": 4.0, "hidden_gain": 3.0, **options}
    return SpikingCNN((2, 14, 14), 3, shape=shape, hidden_size=8, **options)


def each_its_own(reset):
    return LIF(torch.rand(16) * 0.9, torch.rand(16) + 0.5, reset=reset)


def measured(net):
    for norm in net.norms:
        for values in (norm.mean, norm.variance, norm.weight.data, norm.bias.data):
            values.uniform_(0.2, 0.8)
    return net


NETWORKS = {
    **{f"{reset}": lambda reset=reset: mlp(reset=reset) for reset in ("zero", "subtract", "none")},
    **{f"synaptic {r}": lambda r=r: mlp(neuron=lambda: Synaptic(0.6, reset=r)) for r in ("zero", "subtract", "none")},
    **{f"per neuron {r}": lambda r=r: mlp(neuron=lambda: each_its_own(r)) for r in ("zero", "subtract")},
    **{f"convolutions {reset}": lambda reset=reset: cnn(reset=reset) for reset in ("zero", "subtract", "none")},
    **{f"no leak {r}": lambda r=r: mlp(reset=r, beta=1.0, readout_beta=1.0) for r in ("zero", "subtract")},
    "adaptive": lambda: mlp(neuron=lambda: AdaptiveLIF(kappa=0.4)),
    "adaptive convolutions": lambda: cnn(neuron=lambda: AdaptiveLIF(kappa=0.4)),
    "skip": lambda: mlp(skip=True),
    "no leak of the current": lambda: mlp(neuron=lambda: Synaptic(1.0, 0.5, reset="zero")),
    **{
        f"recurrent, {kind}, {reset}": lambda kind=kind, reset=reset: mlp(recurrent=kind, reset=reset)
        for kind in ("one_to_one", "all_to_all")
        for reset in ("zero", "subtract", "none")
    },
    "recurrent, synaptic": lambda: mlp(recurrent="all_to_all", neuron=lambda: Synaptic(0.6, reset="subtract")),
    "recurrent behind convolutions": lambda: cnn(recurrent="all_to_all"),
    "running norm": lambda: measured(mlp(norm="running")),
    "running norm of maps": lambda: measured(cnn(norm="running")),
    "highest membrane": lambda: mlp(readout="max"),
}


@pytest.fixture(autouse=True)
def _double_precision():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_spike_over_episodes_that_begin_at_any_step(name, reader, tmp_path):
    net = NETWORKS[name]()
    nir.write(str(tmp_path / "net.nir"), ours.to_nir(net))
    graph = nir.read(str(tmp_path / "net.nir"))
    shape = (2, 14, 14) if isinstance(net, SpikingCNN) else (5,)
    inputs, starts = torch.rand(12, 7, *shape) * 2 - 0.5, torch.rand(12, 7) < 0.2
    outputs, _, spikes = net.forward_with_spikes(inputs, None, starts)
    found, emitted, _ = ours.run(READERS[reader](graph), inputs, starts=starts, hold=K)
    assert share_of_equal(spikes, found) == 1.0
    assert all(0.01 < layer.mean() < 0.99 for layer in spikes)
    steps = emitted.unflatten(0, (-1, K))
    torch.testing.assert_close(steps.amax(1) if name == "highest membrane" else steps[:, -1], outputs)
    assert graph.metadata["readout"] == ("max" if name == "highest membrane" else "last")


@pytest.mark.parametrize("reader", READERS)
def test_a_sequence_may_be_cut_anywhere(reader):
    graph, inputs = ours.to_nir(mlp(neuron=AdaptiveLIF)), torch.rand(10, 3, 5)
    whole = ours.run(READERS[reader](graph), inputs, hold=K)
    run = READERS[reader](graph)
    first = ours.run(run, inputs[:4], hold=K)
    second = ours.run(run, inputs[4:], first[2], hold=K)
    assert torch.equal(torch.cat((first[1], second[1])), whole[1])


def test_a_scale_of_pixels_becomes_part_of_the_first_weights():
    net = cnn()
    graph = ours.to_nir(net, ours.Scaling(torch.tensor(2.0), torch.tensor(255.0)))
    raw = torch.randint(0, 256, (3, 4, 2, 14, 14)).double()
    _, _, spikes = net.forward_with_spikes((raw - 2) / 255)
    for reader in READERS.values():
        assert share_of_equal(spikes, ours.run(reader(graph), raw, hold=K)[0]) == 1.0


def test_a_scale_of_pixels_is_not_rounded_to_the_weights_precision():
    net = cnn().float()
    graph = ours.to_nir(net, ours.Scaling(torch.tensor(0.0), torch.tensor(255.0)))
    expected = net.convolutions[0].weight.detach().double() / 255
    np.testing.assert_array_equal(graph.nodes["convolution_0"].weight, expected)


@pytest.mark.parametrize("reader", READERS)
def test_pooling_and_a_current_between(reader):
    """Sums and means of [[1, 2], [3, 4]] and of twice that, into a current that decays by 1/2 and a membrane by 1/4."""
    image = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(1, 1, 1, 2, 2) * torch.tensor([1.0, 2.0]).view(2, 1, 1, 1, 1)
    two = np.array([2, 2])
    start = nir.Input({"input": np.array([1, 2, 2])})
    shape = np.ones((1, 1, 1))
    cuba = nir.CubaLI(tau_syn=2e-4 * shape, tau_mem=4e-4 / 3 * shape, r=4 / 3 * shape, v_leak=0 * shape, w_in=2 * shape)
    for kind, factor in ((nir.SumPool2d, 10.0), (nir.AvgPool2d, 2.5)):
        if kind is nir.SumPool2d and reader == "snntorch":
            continue  # NIRTorch's own is a norm, whose powers and roots round
        graph = nir.NIRGraph.from_list(start, kind(two, two, np.array([0, 0])), cuba)
        _, outputs, _ = ours.run(READERS[reader](graph), image)
        currents = [factor, factor / 2 + 2 * factor]
        expected = [currents[0], currents[0] / 4 + currents[1]]
        assert outputs.flatten().tolist() == pytest.approx(expected)


def test_nodes_that_are_not_known_are_named():
    delay = nir.NIRGraph.from_list(nir.Linear(np.ones((2, 2))), nir.Delay(np.ones(2)))
    with pytest.raises(ours.NIRError, match="the node delay is a Delay, and known are Affine, Linear, Conv2d, "):
        ours.GraphRun(delay)
    with pytest.raises(ours.NIRError, match=r"NIRTorch cannot run it: .*Delay"):
        SnnTorchRun(delay)
    one = np.ones(1)
    with pytest.raises(ours.NIRError, match="snnTorch's neurons have no v_leak"):
        SnnTorchRun(nir.NIRGraph.from_list(nir.Linear(np.ones((1, 1))), nir.LI(1e-3 * one, one, one)))
    graph = nir.NIRGraph.from_list(nir.Linear(np.ones((1, 1))))
    graph.nodes["alone"] = nir.Scale(one)
    with pytest.raises(ours.NIRError, match="the input does not reach alone"):
        ours.GraphRun(graph)


def test_a_leak_and_a_reset_to_other_potentials():
    """v <- v/2 + (1 + i)/2, from 0 with i = 2: 1.5 fires and becomes -1; then 1, 2."""
    one = np.ones(1)
    lif = nir.LIF(tau=2e-4 * one, r=one, v_leak=one, v_threshold=1.2 * one, v_reset=-one)
    graph = nir.NIRGraph.from_list(nir.Linear(np.eye(1)), lif)
    spikes, _, state = ours.run(ours.GraphRun(graph), torch.full((3, 1, 1), 2.0))
    assert spikes[0].flatten().tolist() == [True, False, True]
    assert state.tolist() == [[-1.0]]

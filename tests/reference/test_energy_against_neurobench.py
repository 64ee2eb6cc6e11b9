"""Operation counts against NeuroBench's own, layer by layer, where it is installed."""

from types import SimpleNamespace

import pytest
import snntorch
import torch

from synrl_ray.snn import CNN, LIF, MLP, SpikingCNN, SpikingMLP, Synaptic, energy
from synrl_ray.snn.snntorch_layer import SnnTorchLayer
from synrl_ray.snn.strict_energy import count_strictly

layers = pytest.importorskip("neurobench.metrics.utils.layers")
NeuronHook = pytest.importorskip("neurobench.hooks.neuron").NeuronHook
NeuronOperations = pytest.importorskip("neurobench.metrics.workload.neuron_operations").NeuronOperations
CONVOLUTIONS = {"shape": ((4, 4, 2), (6, 3, 1)), "hidden_size": 10}
CASES = {
    "spiking": (lambda: SpikingMLP(5, (12, 9), 2, gain=5.0), (2, 3, 5)),
    "twin": (lambda: MLP(5, (12, 9), 2), (2, 3, 5)),
    "spiking convolutions": (lambda: SpikingCNN((1, 12, 12), 2, gain=5.0, **CONVOLUTIONS), (2, 3, 1, 12, 12)),
    "convolutions": (lambda: CNN((1, 12, 12), 2, **CONVOLUTIONS), (2, 3, 1, 12, 12)),
}


@pytest.mark.parametrize("name", CASES)
def test_operations_of_every_layer(name):
    torch.manual_seed(0)
    make, shape = CASES[name]
    net = make()
    received = net.layer_inputs(torch.rand(*shape) + 0.1)
    for i, (layer, signal) in enumerate(received):
        with torch.no_grad():
            layer.weight[0] = 0  # a pruned output
            rows = signal if signal.dim() == 4 else signal.flatten(0, -2)
            effective, is_spiking = layers.single_layer_MACs(rows, layer)
            dense, _ = layers.single_layer_MACs(rows, layer, total=True)
        assert energy.effective_operations(layer, signal) == pytest.approx(float(effective))
        assert energy.dense_operations(layer, signal) == pytest.approx(float(dense))
        if i > 0 and (rows != 0).any():
            assert is_spiking == name.startswith("spiking")


NEURONS = {
    "Leaky": (lambda reset: LIF(0.9, reset=reset), lambda reset: snntorch.Leaky(0.9, reset_mechanism=reset)),
    "Synaptic": (
        lambda reset: Synaptic(0.8, 0.9, reset=reset),
        lambda reset: snntorch.Synaptic(0.8, 0.9, reset_mechanism=reset),
    ),
    "Alpha": (
        lambda reset: SnnTorchLayer("Alpha", alpha=0.9, beta=0.8, reset_mechanism=reset),
        lambda reset: snntorch.Alpha(0.9, 0.8, reset_mechanism=reset),
    ),
    "Lapicque": (
        lambda reset: SnnTorchLayer("Lapicque", beta=0.9, reset_mechanism=reset),
        lambda reset: snntorch.Lapicque(beta=0.9, reset_mechanism=reset),
    ),
}


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("name", NEURONS)
def test_operations_of_neurons(name, reset):
    """Its dense operations: every neuron in every step."""
    own, theirs = (make(reset) for make in NEURONS[name])
    hook, steps, size = NeuronHook(theirs), 5, 7
    state = ()
    for _ in range(steps):
        _, *state = theirs(torch.rand(1, size), *state)
    found = NeuronOperations()(SimpleNamespace(activation_hooks=[hook]), None, (torch.zeros(1, 1), None))
    net = SpikingMLP(3, (size,), 2, steps_per_observation=steps, neuron=lambda: own)
    assert count_strictly(net, torch.zeros(1, 1, 3)).neuron_operations == found["Neuron Dense Ops"]

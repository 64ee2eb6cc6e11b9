"""Operation counts against NeuroBench's own, layer by layer, where it is installed."""

import pytest
import torch

from synrl_ray.snn import CNN, MLP, SpikingCNN, SpikingMLP, energy

layers = pytest.importorskip("neurobench.metrics.utils.layers")
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

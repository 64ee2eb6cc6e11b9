"""Normalised currents and dropout: values against torch's, moments, replay, folding, what is left out."""

import pytest
import torch
from torch import nn

from synrl_ray.snn import CNN, LIF, MLP, SpikingCNN, SpikingMLP, nir
from synrl_ray.snn.energy import count_energy
from synrl_ray.snn.norms import RunningNorm, make_norm, measuring
from synrl_ray.snn.strict_energy import count_strictly

IMAGE = {"in_shape": (1, 8, 8), "shape": ((3, 4, 2),), "hidden_size": 6}


def network(kind, **options):
    torch.manual_seed(0)
    options = {"steps_per_observation": 3, **options}
    if kind == "mlp":
        return SpikingMLP(4, (8, 6), 2, **options), torch.randn(5, 2, 4)
    return SpikingCNN(IMAGE["in_shape"], 2, shape=IMAGE["shape"], hidden_size=6, **options), torch.randn(5, 2, 1, 8, 8)


@pytest.mark.parametrize("is_map", [False, True])
def test_running_moments_are_those_of_torchs_batch_norm(is_map):
    """In the mode of inference; ours counts deviations without Bessel's correction, and the first batch alone."""
    torch.manual_seed(0)
    shape = (7, 3, 4, 5) if is_map else (50, 3)
    theirs = nn.BatchNorm2d(3) if is_map else nn.BatchNorm1d(3)
    ours = RunningNorm(3, is_map=is_map)
    batches = [torch.randn(shape) * 3 + 2 for _ in range(30)]
    for batch in batches:
        ours.update(batch)
        theirs(batch)
    over = (0, 2, 3) if is_map else (0,)
    first = RunningNorm(3, is_map=is_map)
    first.update(batches[0])
    torch.testing.assert_close(first.mean, batches[0].mean(over))
    torch.testing.assert_close(first.variance, batches[0].var(over, correction=0))
    torch.testing.assert_close(ours.mean, theirs.running_mean, rtol=0.2, atol=0.2)
    with torch.no_grad():
        for one in (ours, theirs):
            one.weight.copy_(torch.tensor([1.0, 2.0, -1.0]))
            one.bias.copy_(torch.tensor([0.5, 0.0, 1.0]))
        theirs.running_mean.copy_(ours.mean)
        theirs.running_var.copy_(ours.variance)
    torch.testing.assert_close(ours(batches[3]), theirs.eval()(batches[3]), rtol=1e-5, atol=1e-5)


def test_the_kth_batch_counts_for_a_kth_and_for_a_tenth_in_the_end():
    norm = RunningNorm(1)
    for value in (1.0, 2.0, 6.0):
        norm.update(torch.full((4, 1), value))
    assert norm.mean.item() == pytest.approx(3.0)
    for _ in range(20):
        norm.update(torch.zeros(4, 1))
    before = norm.mean.item()
    norm.update(torch.full((4, 1), before + 1))
    assert norm.mean.item() == pytest.approx(before + 0.1)


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_layer_norm_of_the_currents(kind):
    """The neurons receive currents of mean 0 and deviation 1 in each row, over the whole of each map."""
    net, inputs = network(kind, norm="layer")
    received = []
    for neuron in net.neurons:
        neuron.register_forward_pre_hook(lambda module, args: received.append(args[0]))
    net(inputs)
    assert len(received) == 2
    for current in received:
        assert current.dim() == 3
        torch.testing.assert_close(current.mean(-1), torch.zeros(current.shape[:2]), rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(received[0].std(-1, correction=0), torch.ones(5, 2), rtol=1e-2, atol=1e-2)
    assert type(net.norms[0]) is (nn.LayerNorm if kind == "mlp" else nn.GroupNorm)


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_running_norms_are_measured_the_first_layer_first(kind):
    """After one pass the currents of all layers have the moments that are divided by: each saw what was to come."""
    net, inputs = network(kind, norm="running", gain=3.0, hidden_gain=3.0)
    before = net(inputs)[0]
    torch.testing.assert_close(net(inputs)[0], before, msg="a pass changes nothing")
    with measuring(net), torch.no_grad():
        net(inputs)
    again = net(inputs)[0]
    assert not torch.equal(again, before)
    torch.testing.assert_close(net(inputs)[0], again)
    received = []
    for neuron in net.neurons:
        neuron.register_forward_pre_hook(lambda module, args: received.append(args[0]))
    net(inputs)
    channels = [8, 6] if kind == "mlp" else [3, 6]
    for current, number in zip(received, channels, strict=True):
        features = current.reshape(-1, number, current.shape[-1] // number)
        spread = features.var((0, 2), correction=0)
        torch.testing.assert_close(features.mean((0, 2)), torch.zeros(number), rtol=0, atol=1e-4)
        live = spread > 0.5  # a channel without any change stays without
        assert live.any()
        torch.testing.assert_close(spread[live], torch.ones(int(live.sum())), rtol=1e-2, atol=1e-2)
    assert [int(norm.count) for norm in net.norms] == [1, 1]


@pytest.mark.parametrize("norm", ["layer", "running"])
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_in_a_network(kind, norm):
    net, inputs = network(kind, norm=norm)
    with measuring(net):
        net(inputs)
    whole, final, spikes = net.forward_with_spikes(inputs)
    assert all(layer.sum() > 0 for layer in spikes)
    first, state = net(inputs[:2])
    second, state = net(inputs[2:], state)
    torch.testing.assert_close(torch.cat((first, second)), whole, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(state, final, rtol=1e-6, atol=1e-5)
    whole.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())
    assert {"norms.0.weight", "norms.1.bias"} <= {name for name, _ in net.named_parameters()}


def test_folded_into_the_weights_it_is_the_same_network():
    torch.manual_seed(0)
    net, inputs = network("mlp", norm="running", reset="zero")
    with measuring(net):
        net(inputs)
    with torch.no_grad():
        for norm in net.norms:
            norm.weight.uniform_(0.5, 2.0)
            norm.bias.uniform_(-0.5, 0.5)
    plain = SpikingMLP(4, (8, 6), 2, steps_per_observation=3, reset="zero")
    with torch.no_grad():
        for linear, theirs, norm in zip(plain.linears, net.linears, net.norms, strict=True):
            scale = norm.weight / (norm.variance + 1e-5).sqrt()
            linear.weight.copy_(scale.unsqueeze(1) * theirs.weight)
            linear.bias.copy_(scale * (theirs.bias - norm.mean) + norm.bias)
    plain.readout = net.readout
    torch.testing.assert_close(plain(inputs)[0], net(inputs)[0], rtol=1e-4, atol=1e-5)
    again = nir.from_nir(nir.to_nir(net))
    torch.testing.assert_close(again(inputs)[0], net(inputs)[0], rtol=1e-4, atol=1e-4)
    assert count_energy(plain, inputs).effective_acs == count_energy(net, inputs).effective_acs


def test_running_norms_run_fused_as_the_layers_one_by_one(monkeypatch):
    """Values, state and all gradients; and one that is watched is called."""
    net, inputs = network("mlp", norm="running", gain=3.0, hidden_gain=3.0)
    with measuring(net), torch.no_grad():
        net(inputs)
    mask, state = torch.rand(5, 2) < 0.3, torch.randn(2, net.state_size)
    results = []
    for run in (net, lambda *given: net.forward_with_spikes(*given)[:2]):
        outputs, after = run(inputs, state, mask)
        loss = outputs.square().sum() + after.sum()
        results.append((outputs, after, *torch.autograd.grad(loss, list(net.parameters()))))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    called = []
    handle = net.norms[1].register_forward_hook(lambda *_: called.append(1))
    net(inputs)
    assert called == [1]
    handle.remove()
    monkeypatch.setattr(SpikingMLP, "forward_with_spikes", None)
    monkeypatch.setattr("synrl_ray.snn.networks._ONE_BY_ONE", None)
    net(inputs)


def test_what_nir_cannot_say():
    with pytest.raises(nir.NIRError, match="no normalisation over a layer: train with norm=running"):
        nir.to_nir(network("mlp", norm="layer", reset="zero")[0])
    with pytest.raises(ValueError, match="unknown norm 'batch': choose one of none, layer, running"):
        make_norm("batch", 3)


# --- dropout ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_dropout_leaves_out_whole_neurons_while_training_only(kind):
    net, inputs = network(kind, dropout=0.5, gain=4.0, hidden_gain=4.0)
    received = []
    net.readout.register_forward_pre_hook(lambda module, args: received.append(args[0]))
    _, _, spikes = net.forward_with_spikes(inputs)
    (signal,) = received
    kept = (signal != 0).any(0)
    fired = (spikes[-1] != 0).any(0)
    assert 0 < kept.sum() < fired.sum(), "some neurons of some rows are not heard"
    torch.testing.assert_close(signal, 2 * spikes[-1] * kept, msg="the others count double, in every step")
    assert not torch.equal(net(inputs)[0], net(inputs)[0])
    net.eval()
    torch.testing.assert_close(net(inputs)[0], net(inputs)[0], rtol=0, atol=0)
    received.clear()
    _, _, spikes = net.forward_with_spikes(inputs)
    assert torch.equal(received[0], spikes[-1])


def test_without_norm_and_dropout_no_tensor_is_added():
    assert all(isinstance(neuron, LIF) for neuron in network("mlp")[0].neurons)
    assert not any("norm" in name for name in network("cnn")[0].state_dict())


@pytest.mark.parametrize("is_map", [False, True])
def test_of_nothing_no_moments_are_taken(is_map):
    norm = RunningNorm(3, is_map=is_map)
    norm.update(torch.zeros(0, 3, 2, 2) if is_map else torch.zeros(0, 3))
    assert int(norm.count) == 0
    assert torch.isfinite(norm.mean).all()
    assert torch.isfinite(norm.variance).all()


def test_the_twin_normalises_what_its_units_receive_by_torchs_own_layers():
    torch.manual_seed(0)
    net, inputs = MLP(4, (8, 6), 2, "relu", "layer"), torch.randn(5, 2, 4)
    first, second, last = net.linears
    expected = last(net.norms[1](second(net.norms[0](first(inputs)).relu())).relu())
    torch.testing.assert_close(net(inputs)[0], expected)
    assert [type(norm) for norm in net.norms] == [nn.LayerNorm] * 2
    cnn = CNN(IMAGE["in_shape"], 2, shape=IMAGE["shape"], hidden_size=6, norm="layer")
    images = torch.randn(10, 1, 8, 8)
    maps = cnn.norms[0](cnn.convolutions[0](images)).relu()
    expected = cnn.readout(cnn.norms[1](cnn.linear(maps.flatten(1))).relu())
    torch.testing.assert_close(cnn(images.unflatten(0, (5, 2)))[0].flatten(0, 1), expected)
    assert [type(norm) for norm in cnn.norms] == [nn.GroupNorm, nn.LayerNorm]
    assert MLP(4, (8,), 2).norms is None


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_the_strict_count_has_the_twins_norms(kind):
    """Mean, deviation, scale and gain: as those of currents, once for each observation."""
    options = {"shape": IMAGE["shape"], "hidden_size": 6}
    own, plain = (
        count_strictly(MLP(4, (8, 6), 2, norm=norm), torch.randn(3, 2, 4))
        if kind == "mlp"
        else count_strictly(CNN(IMAGE["in_shape"], 2, norm=norm, **options), torch.rand(3, 2, 1, 8, 8), dense=True)
        for norm in ("layer", "none")
    )
    numbers = 8 + 6 if kind == "mlp" else 27 + 6
    assert own.macs - plain.macs == 3 * numbers + 2 * 6
    assert own.acs - plain.acs == numbers

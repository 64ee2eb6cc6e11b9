"""Spikes as inputs: dense, as lists, as an event stream, and from latencies."""

import copy

import pytest
import torch

from synrl_ray.snn import SpikeLists, SpikingCNN, SpikingMLP
from synrl_ray.snn.encoders import rate, rate_lists

STEPS, OBSERVATIONS, BATCH = 4, 3, 5


def spikes(num_neurons, rate=0.05):
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(STEPS * OBSERVATIONS, BATCH, num_neurons, generator=generator) < rate).double()


def mlp(**settings):
    torch.manual_seed(1)
    options = {"steps_per_observation": STEPS, "threshold": 0.3, "inputs": "spikes", **settings}
    return SpikingMLP(150, (144, 32), 2, **options).double()


def cnn(**settings):
    torch.manual_seed(1)
    options = {"shape": ((16, 3, 2), (16, 2, 1)), "hidden_size": 16, "threshold": 0.3, "inputs": "spikes", **settings}
    return SpikingCNN((2, 9, 7), 3, steps_per_observation=STEPS, **options).double()


def results(net, inputs):
    """Outputs, state and gradients of weights, from states that are not at rest and with a restart."""
    mask = torch.zeros(OBSERVATIONS, BATCH, dtype=torch.bool)
    mask[1, ::2] = True
    state = torch.linspace(-0.2, 0.2, BATCH * net.state_size, dtype=torch.float64).view(BATCH, -1)
    outputs, final = net(inputs, state, mask)
    grads = torch.autograd.grad(outputs.sin().sum() + final.cos().sum(), list(net.parameters()))
    return [outputs, final, *grads]


def same(found, expected):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def one_by_one(net):
    twin = copy.deepcopy(net)
    twin.kernel = "torch"
    return twin


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.6])
def test_a_network_computes_the_same_from_dense_spikes_and_lists_as_its_layers_one_by_one(rate):
    net, given = mlp(), spikes(150, rate)
    expected = results(one_by_one(net), given)
    same(results(net, given), expected)
    same(results(net, SpikeLists.of(given)), expected)
    same(results(one_by_one(net), SpikeLists.of(given)), expected)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
@pytest.mark.parametrize("rate", [0.05, 0.6])
def test_spikes_may_be_of_any_type(dtype, rate):
    given, pixels = spikes(150, rate), spikes(126, rate).view(STEPS * OBSERVATIONS, BATCH, 2, 9, 7)
    for net, signal in ((mlp(), given), (one_by_one(mlp()), given), (cnn(), pixels), (one_by_one(cnn()), pixels)):
        same(results(net, signal.to(dtype)), results(net, signal))


def test_a_step_of_input_reaches_its_step_of_the_simulation_only():
    net = SpikingMLP(1, (1,), 1, steps_per_observation=3, beta=0.0, threshold=0.5, inputs="spikes")
    with torch.no_grad():
        net.linears[0].weight.fill_(1.0)
        net.linears[0].bias.zero_()
    given = torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1)
    assert net.forward_with_spikes(given)[2][0].flatten().tolist() == [0.0, 1.0, 0.0]


def test_an_event_stream_in_any_order_is_its_dense_spikes():
    net, given = mlp(), spikes(150)
    steps, rows, neurons = given.nonzero(as_tuple=True)
    order = torch.randperm(len(steps), generator=torch.Generator().manual_seed(2))
    events = SpikeLists.of_events(steps[order], rows[order], neurons[order], tuple(given.shape))
    same(results(net, events), results(net, given))


def test_an_event_that_comes_twice_counts_twice():
    twice = torch.tensor([0, 0])
    lists = SpikeLists.of_events(twice, twice, torch.tensor([2, 2]), (1, 1, 3))
    assert lists.dense(torch.empty(1, 1, 3)).tolist() == [[[0.0, 0.0, 2.0]]]


def test_events_of_one_pixel_may_be_more_than_its_window_has_inputs():
    net = SpikingCNN(
        (1, 40, 40), 3, shape=((16, 4, 2),), hidden_size=16, steps_per_observation=2, inputs="spikes"
    ).double()
    neurons = torch.full((390,), 41)
    lists = SpikeLists.of_events(neurons * 0, neurons * 0, neurons, (2, 1, 1600), 1600)
    outputs, state = net(lists)
    net.kernel = "torch"
    same((outputs, state), net(lists))


def test_neurons_are_whole_pixels():
    with pytest.raises(ValueError, match="5 neurons are no 3 pixels"):
        SpikeLists.of(torch.ones(2, 5), num_pixels=3)
    none = torch.zeros(0, dtype=torch.long)
    with pytest.raises(ValueError, match="5 neurons are no 3 pixels"):
        SpikeLists.of_events(none, none, none, (2, 1, 5), 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_networks_of_half_precision_take_spikes(dtype):
    net, given = mlp().to(dtype), spikes(150)
    outputs, _ = net(given.to(dtype))
    assert outputs.dtype == dtype
    assert torch.equal(net(SpikeLists.of(given))[0], outputs)
    latencies = mlp(inputs="currents", latency=(0.0, 1.0)).to(dtype)
    assert latencies(torch.rand(OBSERVATIONS, BATCH, 150).to(dtype))[0].dtype == dtype
    maps = given[..., :126]
    net = cnn().to(dtype)
    outputs, _ = net(maps.view(*maps.shape[:2], 9, 7, 2).permute(0, 1, 4, 2, 3).to(dtype))
    assert torch.equal(net(SpikeLists.of(maps, num_pixels=63))[0], outputs)


def test_spikes_of_bytes_are_ones_where_brightness_is_scaled():
    net, given = cnn(), spikes(126, 0.3).view(STEPS * OBSERVATIONS, BATCH, 2, 9, 7)
    assert torch.equal(net(given.byte())[0], net(given)[0])


@pytest.mark.parametrize("rate", [0.05, 0.6])
def test_an_event_camera_s_lists_are_its_maps(rate):
    net = cnn()
    pixels = spikes(9 * 7 * 2, rate)
    maps = pixels.view(*pixels.shape[:2], 9, 7, 2).permute(0, 1, 4, 2, 3)
    expected = results(one_by_one(net), maps)
    same(results(net, maps), expected)
    same(results(net, SpikeLists.of(pixels, num_pixels=63)), expected)
    steps, rows, addresses = pixels.nonzero(as_tuple=True)
    same(results(net, SpikeLists.of_events(steps, rows, addresses, tuple(pixels.shape), 63)), expected)


def test_latencies_are_listed_as_they_are_spread():
    net = mlp(inputs="currents", latency=(0.0, 1.0))
    given = torch.rand(OBSERVATIONS, BATCH, 150, generator=torch.Generator().manual_seed(3)).double() - 0.2
    dense, lists = net.encoder(given), net.encoder.lists(given)
    assert torch.equal(lists.dense(torch.empty(lists.shape, dtype=torch.float64)), dense)
    same(results(net, given), results(one_by_one(net), given))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rates_are_listed_as_they_are_spread(dtype):
    rates = torch.rand(5, 150, generator=torch.Generator().manual_seed(4), dtype=dtype)
    spread, listed = (code(rates, STEPS, torch.Generator().manual_seed(5)) for code in (rate, rate_lists))
    assert torch.equal(listed.dense(torch.empty(listed.shape, dtype=dtype)), spread)


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (([3], [0], [0]), "the step of events is from 3 to 3, there are 3"),
        (([0], [-1], [0]), "the row of events is from -1 to -1, there are 2"),
        (([0], [0], [4]), "the address of events is from 4 to 4, there are 4"),
        (([0] * 5, [1] * 5, [0] * 5), "5 events of 4 neurons in one step"),
    ],
)
def test_events_outside_of_their_shape_are_refused(events, told):
    with pytest.raises(ValueError, match=told):
        SpikeLists.of_events(*map(torch.tensor, events), (3, 2, 4))


@pytest.mark.parametrize(
    ("make", "given", "told"),
    [
        (mlp, lambda: spikes(150)[:7], r"inputs must be \[E \* 4, B, 150\], got \(7, 5, 150\)"),
        (mlp, lambda: SpikeLists.of(spikes(149)), "inputs must be"),
        (lambda: mlp(inputs="currents"), lambda: SpikeLists.of(spikes(150)), "takes lists of spikes if"),
        (lambda: cnn(inputs="currents"), lambda: SpikeLists.of(spikes(126), 63), "takes lists of spikes if"),
        (cnn, lambda: SpikeLists.of(spikes(126)), "lists must be of 9 x 7 pixels of 2 channels, got 1 pixels of 126"),
        (cnn, lambda: spikes(126)[:7].view(7, 5, 2, 9, 7), "spikes must be of 4 steps for each observation, got 7"),
        (lambda: mlp(inputs="spike"), lambda: None, "unknown inputs 'spike': choose one of currents, spikes"),
        (lambda: cnn(inputs="spike"), lambda: None, "unknown inputs 'spike': choose one of currents, spikes"),
        (lambda: mlp(latency=(0.0, 1.0)), lambda: None, "leave out one of latency and inputs"),
    ],
)
def test_inputs_that_are_no_spikes_of_whole_observations_are_refused(make, given, told):
    with pytest.raises(ValueError, match=told):
        make()(given())

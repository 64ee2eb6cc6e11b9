"""The strict count against sums written out by hand."""

import pytest
import torch

from synrl_ray.snn import CNN, MLP, AdaptiveLIF, Recurrent, SpikeLists, SpikingCNN, SpikingMLP, Synaptic
from synrl_ray.snn.encoders import DeltaCode, PopulationCode
from synrl_ray.snn.energy import EnergyConstants, count_energy
from synrl_ray.snn.snntorch_layer import SnnTorchLayer
from synrl_ray.snn.strict_energy import access_pj, count_strictly, macs_of_update, operations_of_update

K, ROWS = 4, 6


def spiking(**options):
    torch.manual_seed(0)
    return SpikingMLP(5, (12, 9), 2, **{"steps_per_observation": K, "gain": 5.0, "hidden_gain": 3.0, **options})


def spikes_of(net, inputs):
    return [layer.sum().item() / ROWS for layer in net.forward_with_spikes(inputs)[2]]


def test_an_access_of_a_memory_is_on_the_line_through_horowitz_figures():
    sizes, figures = torch.tensor([8.0, 32.0, 1024.0]) * 1024, torch.tensor([10.0, 20.0, 100.0])
    ones = torch.ones_like(sizes)
    height, slope = torch.linalg.lstsq(torch.stack((ones, sizes)).double().T, figures.double()).solution
    assert access_pj(0) == pytest.approx(height.item(), rel=1e-5)
    assert access_pj(1e5) - access_pj(0) == pytest.approx(1e5 * slope.item(), rel=1e-4)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_a_spiking_network_pays_for_each_step_and_each_access(reset):
    net, inputs = spiking(reset=reset), torch.randn(3, 2, 5)
    first, second = spikes_of(net, inputs)
    assert min(first, second) > 0
    report = count_strictly(net, inputs)
    updates = K * (12 + 9 + 2)
    assert report.membrane_macs == updates
    assert report.macs == K * 5 * 12 + updates
    resets = first + second if reset == "subtract" else 0
    assert report.acs == pytest.approx(first * 9 + second * 2 + updates + resets)  # a bias for each update
    assert report.neuron_operations == K * (12 + 9) * 4
    accesses = {  # words of the memory → how often
        "inputs": (5, K * 5),
        "weights 0": (60, K * 60),
        "bias 0": (12, K * 12),
        "potentials 0": (12, 2 * K * 12),
        "spikes 0, written and read": (12, 2 * first),
        "weights 1": (108, first * 9),
        "bias 1": (9, K * 9),
        "potentials 1": (9, 2 * (first * 9 + K * 9)),
        "spikes 1": (9, 2 * second),
        "weights of the readout": (18, second * 2),
        "its bias": (2, K * 2),
        "its potentials": (2, 2 * (second * 2 + K * 2)),
    }
    assert report.memory_accesses == pytest.approx(sum(number for _, number in accesses.values()))
    memory = sum(number * access_pj(4 * words) for words, number in accesses.values())
    assert report.memory_pj == pytest.approx(memory)
    assert report.compute_pj == pytest.approx(report.macs * 4.6 + report.acs * 0.9)
    assert report.energy_pj == pytest.approx(report.compute_pj + memory)


def test_a_convolutional_network():
    torch.manual_seed(0)
    net = SpikingCNN((1, 8, 8), 2, shape=((3, 4, 2),), hidden_size=5, steps_per_observation=K, gain=5.0, reset="zero")
    inputs = torch.rand(2, 3, 1, 8, 8) + 0.1
    (maps, hidden), report = spikes_of(net, inputs), count_strictly(net, inputs)
    products, neurons = 3 * 3 * 3 * 16, 27 + 5 + 2
    assert report.macs == K * (products + neurons)
    assert report.acs == pytest.approx(maps * 5 + hidden * 2 + K * neurons)
    weights, inputs_read = K * products + maps * 5 + hidden * 2, K * products
    potentials = 2 * (maps * 5 + hidden * 2 + K * neurons)
    expected = weights + inputs_read + potentials + K * neurons + 2 * (maps + hidden)
    assert report.memory_accesses == pytest.approx(expected)


def test_twins_skip_what_is_zero_and_at_most_nothing_is():
    torch.manual_seed(0)
    inputs = torch.randn(3, 2, 5)
    tanh = count_strictly(MLP(5, (12, 9), 2), inputs)
    assert tanh.macs == 5 * 12 + 12 * 9 + 9 * 2
    assert tanh.acs == 12 + 9 + 2
    assert tanh.memory_accesses == tanh.macs + (5 + 12 + 9) + 2 * (12 + 9 + 2)
    relu = MLP(5, (12, 9), 2, activation="relu")
    second, third = (signal for _, signal in relu.layer_inputs(inputs)[1:])
    active = [(signal != 0).sum().item() / ROWS for signal in (second, third)]
    assert 0 < active[0] < 12
    assert count_strictly(relu, inputs).macs == pytest.approx(5 * 12 + active[0] * 9 + active[1] * 2)
    assert count_strictly(relu, inputs, dense=True).to_dict() == pytest.approx(tanh.to_dict())
    convolutions = CNN((1, 8, 8), 2, shape=((3, 4, 2),), hidden_size=5)
    frames = torch.rand(1, 6, 1, 8, 8) + 0.1
    assert count_strictly(convolutions, frames, dense=True).macs == 3 * 3 * 3 * 16 + 27 * 5 + 5 * 2
    assert count_strictly(convolutions, frames).macs < 3 * 3 * 3 * 16 + 27 * 5 + 5 * 2


def test_recurrent_synapses_and_states_of_other_neurons():
    net = spiking(neuron=lambda: Synaptic(0.5), recurrent="one_to_one")
    inputs = torch.randn(3, 2, 5)
    first, second = spikes_of(net, inputs)
    report = count_strictly(net, inputs)
    received = sum(s.sum().item() / ROWS for layer, s in net.layer_inputs(inputs) if not hasattr(layer, "bias"))
    assert report.membrane_macs == K * (2 * 12 + 2 * 9 + 2)
    assert report.acs == pytest.approx(first * 9 + second * 2 + received + K * 23 + first + second)


def test_updates_of_each_neuron():
    neurons = [Recurrent(Synaptic(), 3, "all_to_all"), AdaptiveLIF(), SnnTorchLayer("Alpha", alpha=0.9, beta=0.8)]
    assert [macs_of_update(neuron) for neuron in neurons] == [2, 3, 3]
    assert [operations_of_update(neuron) for neuron in neurons] == [6, 8, 24]


def test_spikes_at_the_input_accumulate():
    inputs = (torch.rand(3, 2, 5) > 0.5).float()
    net, ones = spiking(), inputs.sum().item() / ROWS
    given, coded = (count_strictly(net, inputs, spiking_input=spiking_input) for spiking_input in (False, True))
    assert given.macs - coded.macs == pytest.approx(K * ones * 12)
    assert coded.acs - given.acs == pytest.approx(K * ones * 12)  # held, as the current


def test_currents_normalised_over_a_layer_cost_their_sums_squares_scale_and_gain_in_each_step():
    net, inputs = spiking(norm="layer", recurrent="one_to_one"), torch.randn(3, 2, 5)
    report, spikes = count_strictly(net, inputs), spikes_of(net, inputs)
    back = sum(s.sum().item() / ROWS for layer, s in net.layer_inputs(inputs) if not hasattr(layer, "bias"))
    norms, updates = 3 * (12 + 9) + 2 * 6, 12 + 9 + 2
    assert report.macs == K * (5 * 12 + updates + norms)
    assert report.acs == pytest.approx(spikes[0] * 9 + spikes[1] * 2 + back + K * updates + sum(spikes) + K * (12 + 9))


def test_memory_of_normalised_currents():
    """Silent neurons, so that nothing else differs: each current written, read twice, its gain and shift read."""
    inputs = torch.randn(3, 2, 5)
    own, plain = (count_strictly(spiking(norm=norm, threshold=99.0), inputs) for norm in ("layer", "none"))
    assert own.memory_accesses - plain.memory_accesses == 5 * K * (12 + 9)
    expected = 5 * K * (12 * access_pj(4 * 12) + 9 * access_pj(4 * 9))
    assert own.memory_pj - plain.memory_pj == pytest.approx(expected)


def test_maps_are_normalised_each_as_a_whole_with_a_gain_of_each_channel():
    options = {"shape": ((3, 4, 2),), "hidden_size": 5, "steps_per_observation": K, "threshold": 99.0}
    inputs = torch.rand(2, 3, 1, 8, 8) + 0.1
    own, plain = (count_strictly(SpikingCNN((1, 8, 8), 2, norm=norm, **options), inputs) for norm in ("layer", "none"))
    assert own.macs - plain.macs == K * (3 * (27 + 5) + 2 * 6)
    assert own.acs - plain.acs == K * (27 + 5)
    expected = K * (27 * (3 * access_pj(4 * 27) + 2 * access_pj(4 * 3)) + 5 * 5 * access_pj(4 * 5))
    assert own.memory_pj - plain.memory_pj == pytest.approx(expected)


def test_running_moments_are_part_of_the_weights():
    inputs = torch.randn(3, 2, 5)
    own, plain = (count_strictly(spiking(norm=norm, threshold=99.0), inputs) for norm in ("running", "none"))
    assert own == plain


def test_receptive_fields_are_paid_once_for_each_observation():
    code, numbers = PopulationCode(-3.0, 3.0, 4), torch.randn(3, 2, 5)
    net, currents = SpikingMLP(20, (12,), 2, steps_per_observation=K), code(numbers)
    own, plain = count_strictly(net, currents, encoder=code), count_strictly(net, currents)
    assert own.macs - plain.macs == pytest.approx(5 + 20 * 11)
    assert own.acs - plain.acs == pytest.approx(20 * 3)
    expected = 5 * access_pj(4 * 5) + 20 * access_pj(4 * 20)  # numbers read, currents written
    assert own.memory_pj - plain.memory_pj == pytest.approx(expected)


def test_changes_and_latencies_are_paid_once_for_each_observation():
    code, numbers = DeltaCode(5, 0.1), torch.randn(3, 2, 5)
    spikes, _ = code(numbers)
    net, ones = SpikingMLP(10, (12,), 2, steps_per_observation=K), spikes.sum().item() / ROWS
    own, plain = (count_strictly(net, spikes, spiking_input=True, encoder=encoder) for encoder in (code, None))
    assert own.macs == plain.macs
    assert own.acs - plain.acs == pytest.approx(5 + ones)
    expected = (5 + 2 * 5) * access_pj(4 * 5) + ones * access_pj(4 * 10)
    assert own.memory_pj - plain.memory_pj == pytest.approx(expected)
    net = spiking(latency=(-3.0, 3.0), threshold=99.0)
    spikes = net.layer_inputs(numbers)[0][1]
    own, ones = count_strictly(net, numbers, spiking_input=True), spikes.sum().item() / ROWS
    assert own.macs == pytest.approx(K * (12 + 9 + 2) + 5)
    accesses = K * 23 * 3 + ones * (1 + 12 + 2 * 12) + 5 + ones  # updates, biases; spikes met, and the code
    assert own.memory_accesses == pytest.approx(accesses)


def test_spikes_that_come_in_cost_what_a_code_of_the_network_s_own_makes_of_numbers():
    coding, fed = spiking(latency=(-1.0, 1.0)), spiking(inputs="spikes")
    numbers = torch.randn(3, 2, 5)
    spikes = coding.layer_inputs(numbers)[0][1]
    for given in (spikes, SpikeLists.of(spikes)):
        assert count_energy(fed, given) == count_energy(coding, numbers)
        own = count_strictly(fed, given)
        assert own.macs == pytest.approx(count_strictly(coding, numbers).macs - 5)  # which scale the numbers
        assert own.acs == pytest.approx(count_strictly(coding, numbers).acs)


def test_an_event_camera_s_spikes_are_accumulated():
    net = SpikingCNN((1, 6, 6), 2, shape=((3, 3, 1),), hidden_size=4, steps_per_observation=K, inputs="spikes")
    given = torch.ones(K, 1, 1, 6, 6)
    report = count_strictly(net, given)
    assert report.macs == report.membrane_macs == K * (3 * 16 + 4 + 2)
    assert count_energy(net, given).effective_macs == 0


def test_an_encoder_that_is_not_known_is_refused():
    with pytest.raises(TypeError, match="cannot count the operations of Linear"):
        count_strictly(spiking(), torch.randn(1, 1, 5), encoder=torch.nn.Linear(1, 1))


@pytest.mark.parametrize(("readout", "sums"), [("mean", 1), ("max", 0)])
def test_the_mean_or_highest_membrane_is_kept_beside_it(readout, sums):
    inputs = torch.randn(3, 2, 5)
    own, plain = (count_strictly(spiking(readout=how), inputs) for how in (readout, "last"))
    assert own.acs - plain.acs == pytest.approx(sums * K * 2)
    assert own.memory_pj - plain.memory_pj == pytest.approx(2 * K * 2 * access_pj(4 * 2))


def test_constants_scale_the_operations_and_not_the_memory():
    net, inputs = MLP(2, (3,), 1), torch.ones(1, 1, 2)
    report = count_strictly(net, inputs, constants=EnergyConstants(1.0, 10.0))
    assert report.compute_pj == 9 + 40
    assert report.memory_pj == count_strictly(net, inputs).memory_pj


def test_an_activation_that_is_not_known():
    with pytest.raises(ValueError, match="unknown activation 'gelu': choose one of tanh, relu"):
        MLP(2, (3,), 1, activation="gelu")

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.experiment import AnnHebbian, SpikingHebbian
from synrl_ray.policies.hebbian.layout import HebbianLayout
from synrl_ray.policies.hebbian.network import HebbianNetwork

RANDOM = np.random.default_rng(0)
VECTORS, CHOICE = spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(2)
IMAGES, STEERING = spaces.Box(0, 255, (2, 20, 20), np.uint8), spaces.Box(-1.0, 1.0, (2,), np.float32)


def network_of(settings, genomes=1, observation_space=VECTORS, action_space=CHOICE, **options):
    layout = HebbianLayout(observation_space, action_space, settings)
    genes = RANDOM.normal(size=(genomes, layout.num_genes)).astype(np.float32)
    return HebbianNetwork(layout, list(genes), **options), genes


def drawn(network, rows):
    width = network.layout.num_synapses if network.layout.settings.plastic else 0
    return network.start(RANDOM.uniform(-0.5, 0.5, (rows, width)).astype(np.float32))


def changed(weights, before, behind, rules, pairs=0.0, normalise=True):
    """The rule of the paper, in matrices ``[O, I]``."""
    a, b, c, d, rate, *timed = rules
    pre, post = before[None], behind[:, None]
    weights = weights + rate * (a * pre * post + b * pre + c * post + d + (timed[0] * pairs if timed else 0.0))
    return weights / np.abs(weights).max() if normalise else weights


@pytest.mark.parametrize("coefficients", ["synapse", "layer"])
@pytest.mark.parametrize("normalise", [True, False])
def test_rates_and_their_rule_are_those_of_matrices(coefficients, normalise):
    settings = AnnHebbian(hidden_sizes=(4,), coefficients=coefficients, normalise_weights=normalise)
    network, genes = network_of(settings)
    parts, state = network.layout.split(genes[0]), drawn(network, 1)
    first, second = state[0, :12].reshape(4, 3).copy(), state[0, 12:].reshape(2, 4).copy()
    for _ in range(3):
        seen = RANDOM.normal(size=3).astype(np.float32)
        hidden = np.tanh(first @ seen)
        outputs = np.tanh(second @ hidden)
        np.testing.assert_allclose(network.act(seen[None], state, np.zeros(1, int))[0], outputs, rtol=1e-4, atol=1e-6)
        first = changed(first, seen, hidden, parts["coefficients_0"], normalise=normalise)
        second = changed(second, hidden, outputs, parts["coefficients_1"], normalise=normalise)
        np.testing.assert_allclose(state[0], np.concatenate([first.ravel(), second.ravel()]), rtol=1e-3, atol=1e-5)


def test_spikes_traces_and_pairs_are_those_of_a_loop():
    settings = SpikingHebbian(hidden_sizes=(4,), steps_per_observation=5, beta=0.7, threshold=0.2, tau_minus=10.0)
    network, genes = network_of(settings)
    parts, state = network.layout.split(genes[0]), drawn(network, 1)
    sizes, weights = (3, 4, 2), [state[0, :12].reshape(4, 3).copy(), state[0, 12:20].reshape(2, 4).copy()]
    before, behind = ([np.zeros(size) for size in sizes] for _ in range(2))  # traces
    for _ in range(3):
        seen = RANDOM.normal(size=3)
        membranes, totals = [np.zeros(size) for size in sizes], [np.zeros(size) for size in sizes]
        pairs = [np.zeros_like(each) for each in weights]
        for _ in range(5):
            now = [seen, None, None]
            for layer in (1, 2):
                membranes[layer] = 0.7 * membranes[layer] + weights[layer - 1] @ now[layer - 1]
                now[layer] = np.tanh(membranes[layer]) if layer == 2 else (membranes[layer] > 0.2).astype(float)
            membranes[1] -= 0.2 * now[1]
            before = [math.exp(-1 / 20) * trace + s for trace, s in zip(before, now, strict=True)]
            behind = [math.exp(-1 / 10) * trace for trace in behind]
            for layer in (0, 1):
                pairs[layer] += np.outer(now[layer + 1], before[layer]) / 5
                pairs[layer] -= np.outer(behind[layer + 1], now[layer]) / 5
            behind = [trace + s for trace, s in zip(behind, now, strict=True)]
            totals = [total + s / 5 for total, s in zip(totals, now, strict=True)]
        outputs = network.act(seen[None].astype(np.float32), state, np.zeros(1, int))[0]
        np.testing.assert_allclose(outputs, totals[2], rtol=1e-3, atol=1e-5)
        for i in (0, 1):
            weights[i] = changed(weights[i], totals[i], totals[i + 1], parts[f"coefficients_{i}"], pairs[i])
        expected = [*weights, *before, *behind]
        np.testing.assert_allclose(state[0], np.concatenate([x.ravel() for x in expected]), rtol=2e-3, atol=2e-5)
    assert 0 < totals[1].mean() < 1, "neurons have fired, and not always"


@pytest.mark.parametrize("kind", [AnnHebbian, SpikingHebbian])
@pytest.mark.parametrize("plastic", [True, False])
def test_a_row_is_what_it_would_be_alone_to_the_last_bit(kind, plastic):
    network, genes = network_of(kind(hidden_sizes=(9, 5), plastic=plastic), genomes=3)
    genome, state = np.array([2, 0, 1, 1, 2]), drawn(network, 5)
    alone = state.copy()
    for _ in range(4):
        seen = RANDOM.normal(size=(5, 3)).astype(np.float32)
        outputs = network.act(seen, state, genome)
        for row in range(5):
            own, mine = HebbianNetwork(network.layout, [genes[genome[row]]]), alone[row : row + 1]
            assert (own.act(seen[row : row + 1], mine, np.zeros(1, int)) == outputs[row]).all()
            alone[row] = mine
        assert (alone == state).all()


def test_without_plasticity_the_genes_are_the_weights():
    network, genes = network_of(AnnHebbian(hidden_sizes=(4,), plastic=False))
    assert network.layout.num_genes == network.layout.num_synapses == 3 * 4 + 4 * 2
    seen = RANDOM.normal(size=(1, 3)).astype(np.float32)
    expected = np.tanh(genes[0, 12:].reshape(2, 4) @ np.tanh(genes[0, :12].reshape(4, 3) @ seen[0]))
    for _ in range(2):
        np.testing.assert_allclose(network.act(seen, drawn(network, 1), np.zeros(1, int))[0], expected, rtol=1e-4)


def test_a_network_that_does_not_learn_keeps_the_weights_that_it_was_given():
    network, _ = network_of(SpikingHebbian(hidden_sizes=(4,)), learns=False)
    state = drawn(network, 2)
    kept, seen = state.copy(), RANDOM.normal(size=(2, 3)).astype(np.float32)
    first = network.act(seen, state, np.zeros(2, int))
    assert (state == kept).all()
    assert (network.act(seen, state, np.zeros(2, int)) == first).all()


def test_convolutions_are_torchs_with_pooling_and_each_genome_has_its_own():
    settings = AnnHebbian(conv_layers=((3, 3, 1), (4, 3, 2)), pool=2, hidden_sizes=(5,))
    network, genes = network_of(settings, 2, IMAGES, STEERING)
    assert network.layout.maps == ((3, 9, 9), (4, 2, 2))
    assert network.layout.sizes == (16, 5, 2)
    images = RANDOM.integers(0, 256, (3, 2, 20, 20)).astype(np.uint8)
    found = network._features(images, np.array([1, 0, 1]))
    for row, genome in enumerate((1, 0, 1)):
        parts = network.layout.split(genes[genome])
        maps = torch.from_numpy(images[row : row + 1]).float() / 255
        for name, stride in (("filters_0", 1), ("filters_1", 2)):
            maps = torch.conv2d(maps, torch.from_numpy(parts[name]), stride=stride).tanh()
            maps = torch.max_pool2d(maps, 2)
        np.testing.assert_allclose(found[row], maps.flatten().numpy(), rtol=1e-4, atol=1e-6)
    outputs = network.act(images, drawn(network, 3), np.array([1, 0, 1]))
    actions = network.actions(outputs)
    assert actions.dtype == np.float32
    assert (np.abs(actions) <= 1).all()


def test_the_network_of_the_papers_car_has_its_number_of_genes():
    settings = AnnHebbian(conv_layers=((6, 3, 1), (8, 5, 2)), hidden_sizes=(128, 64))
    layout = HebbianLayout(spaces.Box(0, 255, (3, 84, 84), np.uint8), spaces.Box(-1, 1, (3,), np.float32), settings)
    assert layout.sizes == (648, 128, 64, 3)
    assert layout.num_genes == 1_362 + 5 * 91_328


def test_states_are_counted_from_their_start():
    layout = HebbianLayout(spaces.Discrete(3, start=2), CHOICE, AnnHebbian(hidden_sizes=(4,), plastic=False))
    network = HebbianNetwork(layout, [np.zeros(layout.num_genes, np.float32)])
    assert network._features(np.array([2, 4]), np.zeros(2, int)).tolist() == [[1, 0, 0], [0, 0, 1]]

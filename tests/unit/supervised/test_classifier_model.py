import math
from contextlib import suppress

import numpy as np
import pytest
import torch

from synrl_ray.errors import UserError
from synrl_ray.experiment import AnnClassifier, SpikingClassifier
from synrl_ray.snn import AdaptiveLIF, Synaptic
from synrl_ray.supervised.model import Classifier

SPIKING = SpikingClassifier(hidden_sizes=(20,), channels=(3, 4), steps_per_observation=5)
CONFIGS = {
    "spiking mlp": SPIKING,
    "spiking conv": SpikingClassifier(architecture="conv", hidden_sizes=(20,), channels=(3, 4)),
    "latency mlp": SpikingClassifier(hidden_sizes=(32,), encoder="latency"),
    "latency conv": SpikingClassifier(
        architecture="conv", hidden_sizes=(20,), channels=(16, 4), encoder="latency", threshold=0.2
    ),
    "ann mlp": AnnClassifier(hidden_sizes=(20,)),
    "ann conv": AnnClassifier(architecture="conv", hidden_sizes=(20,), channels=(3, 4)),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def images(num_images=4):
    return torch.randint(0, 256, (num_images, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def make(config, classes=(0, 1, 2)):
    torch.manual_seed(0)
    return Classifier(config, classes)


@every_config
@pytest.mark.parametrize("classes", [(0, 1), (3, 8, 5), tuple(range(10))], ids=len)
def test_one_logit_for_each_image_and_class(config, classes):
    logits = make(config, classes)(images())
    assert logits.shape == (4, len(classes))
    assert torch.isfinite(logits).all()


@every_config
def test_logits_of_an_image_do_not_depend_on_the_others(config):
    model = make(config)
    torch.testing.assert_close(model(images())[2:3], model(images()[2:3]), rtol=0, atol=1e-6)


@every_config
def test_every_parameter_gets_a_gradient(config):
    model = make(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that every layer spikes
    torch.nn.functional.cross_entropy(model(images(16)), torch.arange(16) % 3).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_with_latencies_a_pixel_spikes_once_the_earlier_the_brighter(architecture):
    model = make(SpikingClassifier(architecture=architecture, hidden_sizes=(4,), channels=(2,), encoder="latency"))
    image = torch.zeros(1, 28, 28, dtype=torch.uint8)
    image[0, 0, :3] = torch.tensor([255, 128, 1])
    received = model.network.layer_inputs(model.features(image))[0][1].flatten(1)
    assert received.shape == (8, 784)
    assert received[:, :4].T.nonzero().tolist() == [[0, 0], [1, 3], [2, 7]]  # neuron, step


def test_number_of_weights_is_that_of_the_layers():
    def count(name):
        return sum(parameter.numel() for parameter in make(CONFIGS[name]).parameters())

    dense = (784 * 20 + 20) + (20 * 3 + 3)
    maps = (3 * 5 * 5 + 3) + (4 * 3 * 3 * 3 + 4)  # 28 -> 12 -> 5 pixels a side
    assert count("spiking mlp") == count("ann mlp") == dense
    assert count("spiking conv") == count("ann conv") == maps + (4 * 5 * 5 * 20 + 20) + (20 * 3 + 3)


def num_parameters(**options):
    return len(list(make(SpikingClassifier(hidden_sizes=(20,), **options)).parameters()))


@pytest.mark.parametrize("option", ["learn_beta", "learn_threshold"])
def test_learned_decay_and_threshold_are_parameters(option):
    assert num_parameters(**{option: True}) == num_parameters() + 1


@pytest.mark.parametrize("option", ["learn_beta", "learn_threshold"])
def test_convolutions_learn_decay_and_threshold_or_say_that_they_cannot(option):
    learned = None
    with suppress(UserError, ValueError):
        learned = num_parameters(architecture="conv", **{option: True})
    assert learned is None or learned > num_parameters(architecture="conv")


def test_brightness_is_scaled_to_one():
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 1, 2], image[0, 27, 27] = 255, 51
    flat = make(SPIKING).features(torch.from_numpy(image))
    assert flat.shape == (1, 1, 784)
    assert (flat[0, 0, 28 + 2].item(), flat[0, 0, 783].item(), flat.sum().item()) == pytest.approx((1, 0.2, 1.2))
    frame = make(CONFIGS["spiking conv"]).features(torch.from_numpy(image))
    assert frame.shape == (1, 1, 1, 28, 28)
    assert torch.equal(frame.flatten(), flat.flatten())


@pytest.mark.parametrize("shape", [(28, 28), (2, 28, 27), (2, 1, 28, 28), (2, 784)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"images must be \[B, 28, 28\], got"):
        make(SPIKING)(torch.zeros(shape, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("config", "neurons"), [(SPIKING, [20]), (CONFIGS["spiking conv"], [3 * 12 * 12, 4 * 5 * 5, 20])]
)
def test_activity_is_spikes_of_every_layer_and_a_trace_that_ends_in_the_logits(config, neurons):
    model, num_steps = make(config), config.steps_per_observation
    with torch.no_grad():
        next(model.parameters()).mul_(8)
        spikes, trace = model.activity(images())
        logits = model(images())
    assert [tuple(layer.shape) for layer in spikes] == [(num_steps, 4, n) for n in neurons]
    assert all(set(layer.unique().tolist()) == {0.0, 1.0} for layer in spikes)
    assert trace.shape == (num_steps, 4, 3)
    torch.testing.assert_close(trace[-1], logits, rtol=1e-6, atol=1e-5)


def test_trace_without_a_spike_is_the_biases_leaky_sum():
    """Silent layers leave the bias b as the only current: after k steps the membrane is b (1 + beta + ... )."""
    config = SpikingClassifier(hidden_sizes=(4,), threshold=1e6, steps_per_observation=3, readout_beta=0.5)
    model = make(config, (0, 1))
    with torch.no_grad():
        model.network.readout.linear.bias.copy_(torch.tensor([1.0, -2.0]))
        spikes, trace = model.activity(images(1))
    assert spikes[0].sum() == 0
    assert trace[:, 0].tolist() == [[1.0, -2.0], [1.5, -3.0], [1.75, -3.5]]


@pytest.mark.parametrize("name", ["ann mlp", "ann conv"])
def test_activity_of_a_classifier_that_does_not_spike_is_refused(name):
    with pytest.raises(ValueError, match="does not spike"):
        make(CONFIGS[name]).activity(images())


def test_untrained_classifier_guesses():
    loss = torch.nn.functional.cross_entropy(make(SPIKING)(images(300)), torch.arange(300) % 3).item()
    assert loss == pytest.approx(math.log(3), abs=0.7)


@every_config
@pytest.mark.parametrize("dtype", [np.int64, np.float64, ">i2", np.uint16])
def test_images_are_as_bright_in_any_type(config, dtype):
    model, bytes_ = make(config).eval(), images()
    with torch.no_grad():
        torch.testing.assert_close(model(bytes_.numpy().astype(dtype)), model(bytes_), rtol=0, atol=0)


@every_config
def test_no_images_have_no_logits(config):
    assert make(config)(images(0)).shape == (0, 3)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (images() / 255, r"image must hold whole numbers from 0 to 255, got 0\."),
        (np.full((1, 28, 28), 256), "image must hold whole numbers from 0 to 255, got 256"),
        (np.full((1, 28, 28), np.nan), "the image is not finite"),
        (np.full((1, 28, 28), "x"), "image must hold numbers, got <U1"),
        (np.zeros((28, 28)), r"images must be \[B, 28, 28\], got \(28, 28\)"),
    ],
)
def test_what_is_no_image_is_refused_by_name(given, reason):
    with pytest.raises(UserError, match=reason):
        make(SPIKING)(given)


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
@pytest.mark.parametrize(("neuron", "kind"), [("synaptic", Synaptic), ("adaptive", AdaptiveLIF)])
@pytest.mark.parametrize("readout", ["last", "max", "mean", "spikes", "population"])
def test_neurons_and_readouts_are_those_of_the_settings(architecture, neuron, kind, readout):
    torch.manual_seed(0)
    settings = {"hidden_sizes": (8,), "channels": (2,), "threshold": 0.1, "neuron": neuron, "readout": readout}
    model = Classifier(SpikingClassifier(architecture=architecture, **settings), classes=(0, 1, 2))
    assert any(type(part) is kind for part in model.modules())
    logits = model(torch.randint(256, (5, 28, 28), dtype=torch.uint8))
    assert logits.shape == (5, 3)
    logits.square().sum().backward()
    assert all(weights.grad.abs().sum() > 0 for weights in model.parameters())
    if readout in ("spikes", "population"):
        trace = model.activity(torch.full((5, 28, 28), 200, dtype=torch.uint8))[1]
        torch.testing.assert_close(trace[-1], model(torch.full((5, 28, 28), 200, dtype=torch.uint8)))


def test_running_norms_are_of_policies():
    with pytest.raises(ValueError, match="norm=running is measured on rollouts of policies: set norm=layer"):
        SpikingClassifier(norm="running")
    assert isinstance(make(SpikingClassifier(norm="layer", hidden_sizes=(4,))).network.norms[0], torch.nn.LayerNorm)

"""LIF and readout layers: worked numbers, learned parameters, bad input."""

import pytest
import torch

from synrl_ray.snn import LIF, LeakyReadout


@pytest.mark.parametrize(
    ("reset", "membranes"),
    [
        # beta 0.5, threshold 1, current 0.9: 0.9; 0.45 + 0.9 = 1.35 fires; then the reset one step later:
        ("subtract", [0.9, 1.35, 0.575, 1.1875]),  # 0.675 + 0.9 - 1; 0.2875 + 0.9
        ("zero", [0.9, 1.35, 0.9, 1.35]),
        ("none", [0.9, 1.35, 1.575, 1.6875]),
    ],
)
def test_worked_example(reset, membranes):
    spikes, u = LIF(0.5, reset=reset).scan(torch.full((4, 1, 1), 0.9))
    assert u.flatten().tolist() == pytest.approx(membranes)
    assert spikes.flatten().tolist() == [float(m > 1) for m in membranes]


def test_per_neuron_parameters():
    spikes, u = LIF([0.0, 1.0], [0.5, 2.0])(torch.full((2, 1, 2), 0.9))
    assert spikes[:, 0].tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert u[0].tolist() == pytest.approx([0.4, 1.8])


def test_learned_beta_is_clamped_in_use():
    neuron = LIF(0.5, learn_beta=True, reset="none")
    with torch.no_grad():
        neuron.beta.fill_(1.5)
    _, u = neuron(torch.ones(3, 1, 1))
    assert u.item() == 3.0
    assert {name for name, _ in neuron.named_parameters()} == {"beta"}


def test_repr_names_reset_and_surrogate():
    assert repr(LIF()) == "LIF(reset='subtract', surrogate=fast_sigmoid(25))"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"beta": 1.5}, r"beta must lie in \[0, 1\], got 1.5"),
        ({"beta": -0.1}, r"beta must lie in \[0, 1\]"),
        ({"beta": float("nan")}, r"beta must lie in \[0, 1\]"),
        ({"threshold": 0.0}, "threshold must be positive, got 0.0"),
        ({"beta": [[0.5]]}, r"one per neuron, got shape \(1, 1\)"),
        ({"hold": 0}, "hold must be at least 1, got 0"),
        ({"reset": "hard"}, "unknown reset 'hard': choose one of subtract, zero, none"),
    ],
)
def test_bad_parameters(kwargs, message):
    with pytest.raises(ValueError, match=message):
        LIF(**kwargs)


def test_bad_tensors():
    neuron, current = LIF([0.5, 0.5]), torch.zeros(3, 4, 2)
    with pytest.raises(ValueError, match=r"current must be .* got \(3, 2\)"):
        neuron(current[:, 0])
    with pytest.raises(ValueError, match=r"current must be .* got \(0, 4, 2\)"):
        neuron(current[:0])
    with pytest.raises(ValueError, match=r"membrane must be \(4, 2\), got \(3, 2\)"):
        neuron(current, torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"reset_mask must be bool \(3, 4\), got torch.bool \(4, 3\)"):
        neuron(current, reset_mask=torch.zeros(4, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"reset_mask must be bool \(3, 4\), got torch.float32"):
        neuron(current, reset_mask=torch.zeros(3, 4))
    with pytest.raises(ValueError, match="beta is given for 2 neurons, current has 3"):
        neuron(torch.zeros(1, 1, 3))


def test_readout_starts_masked_rows_from_rest():
    readout = LeakyReadout(2, 1, beta=0.5, hold=2)
    spikes, before = torch.zeros(2, 2, 2), torch.full((2, 1), 4.0)
    torch.nn.init.zeros_(readout.linear.bias)
    out, _ = readout(spikes, before, torch.tensor([[False, True]]))
    assert out.flatten().tolist() == [1.0, 0.0]  # 0.5^2 * 4, and rest

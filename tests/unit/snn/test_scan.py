"""The two kernels of the scan agree, their gradients are right, masks and split sequences are exact."""

import pytest
import torch

from synrl_ray.snn import Surrogate, lif_scan

RESETS = ["subtract", "zero", "none"]
SURROGATES = ["fast_sigmoid", "atan", "sigmoid", "straight_through", "triangle", "box"]


def make(steps, batch, neurons, *, per_neuron=False, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    shape = (neurons,) if per_neuron else ()
    tensors = {
        "current": torch.randn(steps, batch, neurons, generator=g, dtype=dtype),
        "membrane": torch.randn(batch, neurons, generator=g, dtype=dtype),
        "beta": torch.rand(shape, generator=g, dtype=dtype),
        "threshold": 0.3 + torch.rand(shape, generator=g, dtype=dtype),
    }
    return {name: tensor.requires_grad_() for name, tensor in tensors.items()}


def run(tensors, weights, **options):
    """Spikes, membranes and all gradients."""
    spikes, membranes = lif_scan(**tensors, **options)
    loss = (weights[0] * spikes).sum() + (weights[1] * membranes).sum()
    return spikes, membranes, *torch.autograd.grad(loss, list(tensors.values()))


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("hold", [1, 3])
@pytest.mark.parametrize("per_neuron", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_kernels_agree(reset, surrogate, hold, per_neuron, dtype, tolerance):
    """2,107 cells, so that the compiled kernel works in two blocks that start inside a row."""
    tensors = make(4, 7, 301, per_neuron=per_neuron, dtype=dtype)
    weights = torch.randn(2, 4 * hold, 7, 301, dtype=dtype, generator=torch.Generator().manual_seed(1))
    mask = torch.rand(4, 7, generator=torch.Generator().manual_seed(2)) < 0.4
    options = {"surrogate": Surrogate(surrogate), "reset": reset, "hold": hold, "reset_mask": mask}
    expected = run(tensors, weights, kernel="torch", **options)
    actual = run(tensors, weights, kernel="numba", **options)
    assert 0 < expected[0].mean() < 1
    for a, b in zip(actual, expected, strict=True):
        rounding = (
            weights[0].numel() ** 0.5 if b.dim() == 0 else 1.0
        )  # a sum over all cells and steps, half of it cancels
        scale = max(rounding, b.detach().abs().max().item())
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * scale)


def test_float32_values_agree_to_1e_6():
    tensors = make(6, 3, 10, dtype=torch.float32)
    with torch.no_grad():
        by_torch = lif_scan(**tensors, surrogate=Surrogate(), kernel="torch")
        by_numba = lif_scan(**tensors, surrogate=Surrogate(), kernel="numba")
    for a, b in zip(by_numba, by_torch, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kernel", ["torch", "numba"])
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_gradients_against_finite_differences(kernel, reset, surrogate):
    """With graded spikes the surrogate is the true derivative; the hard reset is piecewise constant."""
    tensors = make(3, 2, 3, per_neuron=True, seed=5)
    mask = torch.tensor([[False, False], [False, True], [False, False]])

    def scan(*values):
        named = dict(zip(tensors, values, strict=True))
        return lif_scan(
            **named, surrogate=Surrogate(surrogate, 2.0), reset=reset, reset_mask=mask, hold=2, graded=True,
            kernel=kernel,
        )  # fmt: skip

    assert torch.autograd.gradcheck(scan, tuple(tensors.values()), eps=1e-7, atol=1e-6)


@pytest.mark.parametrize("kernel", ["torch", "numba"])
@pytest.mark.parametrize("reset", RESETS)
def test_mask_equals_separate_sequences(kernel, reset):
    tensors = {k: v.detach() for k, v in make(6, 2, 4).items()}
    mask = torch.zeros(6, 2, dtype=torch.bool)
    mask[0, 1] = mask[4, 0] = True
    options = {"surrogate": Surrogate(), "reset": reset, "kernel": kernel}
    spikes, membranes = lif_scan(**tensors, reset_mask=mask, **options)

    def alone(start, stop, row, membrane):
        part = dict(tensors, current=tensors["current"][start:stop, row : row + 1], membrane=membrane)
        return lif_scan(**part, **options)

    rest = torch.zeros(1, 4, dtype=torch.float64)
    for (start, stop, row), before in {
        (0, 4, 0): tensors["membrane"][:1],
        (4, 6, 0): rest,
        (0, 6, 1): rest,
    }.items():
        s, u = alone(start, stop, row, before)
        assert torch.equal(spikes[start:stop, row : row + 1], s)
        assert torch.equal(membranes[start:stop, row : row + 1], u)


@pytest.mark.parametrize("kernel", ["torch", "numba"])
def test_no_gradient_passes_a_mask(kernel):
    tensors = make(4, 1, 2)
    mask = torch.tensor([[False], [False], [True], [False]])
    _, membranes = lif_scan(**tensors, surrogate=Surrogate(), reset_mask=mask, kernel=kernel)
    grad_current, grad_membrane = torch.autograd.grad(
        membranes[-1].sum(), (tensors["current"], tensors["membrane"]), materialize_grads=True
    )
    assert (grad_current[:2] == 0).all()
    assert (grad_current[2:] != 0).all()
    assert (grad_membrane == 0).all()


@pytest.mark.parametrize("reset", RESETS)
def test_a_split_sequence_carries_its_state(reset):
    tensors = {k: v.detach() for k, v in make(9, 3, 4).items()}
    options = {"surrogate": Surrogate(), "reset": reset}
    spikes, membranes = lif_scan(**tensors, **options)
    first = lif_scan(**dict(tensors, current=tensors["current"][:4]), **options)
    second = lif_scan(**dict(tensors, current=tensors["current"][4:], membrane=first[1][-1]), **options)
    assert torch.equal(spikes, torch.cat((first[0], second[0])))
    assert torch.equal(membranes, torch.cat((first[1], second[1])))


def test_hold_repeats_the_current():
    tensors = {k: v.detach() for k, v in make(3, 2, 4).items()}
    held = lif_scan(**tensors, surrogate=Surrogate(), hold=4)
    repeated = lif_scan(
        **dict(tensors, current=tensors["current"].repeat_interleave(4, 0)), surrogate=Surrogate(), kernel="torch"
    )
    for a, b in zip(held, repeated, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_numba_refuses_what_it_cannot_take():
    tensors = {k: v.detach().half() for k, v in make(2, 1, 1).items()}
    with pytest.raises(ValueError, match=r"float32 or float64 on CPU, got torch\.float16"):
        lif_scan(**tensors, surrogate=Surrogate(), kernel="numba")

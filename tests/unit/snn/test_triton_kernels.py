"""The kernels for a GPU, without one: equal to the reference in Triton's interpreter, and compiled for real GPUs."""

import os
import subprocess
import sys

import pytest
import torch

from synrl_ray.snn import LIF, Surrogate, adaptive_scan, scan, torch_kernel

pytest.importorskip("triton")
from synrl_ray.snn import adaptive_triton, triton_kernel

SURROGATES = ["fast_sigmoid", "atan", "sigmoid", "straight_through", "triangle", "box"]


def close(actual, expected):
    """To 1e-5 of the largest number, for sums go through zero."""
    for a, b in zip(actual, expected, strict=True):
        if b is None:
            assert a is None
        else:
            assert a.shape == b.shape
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * max(1.0, b.abs().max().item()))


@pytest.mark.parametrize(("reset", "surrogate", "hold", "per_neuron", "masked"), [
    *(("subtract", name, 2, True, True) for name in SURROGATES), ("subtract", "fast_sigmoid", 1, False, False),
    ("zero", "atan", 2, False, True), ("zero", "atan", 1, True, False), ("none", "atan", 2, True, True),
])  # fmt: skip
def test_lif_scans_equal_the_reference(reset, surrogate, hold, per_neuron, masked):
    """150 cells, so that the second block is not full."""
    g = torch.Generator().manual_seed(0)
    current, membrane = torch.randn(4, 3, 50, generator=g), torch.randn(3, 50, generator=g)
    shape = (50,) if per_neuron else ()
    beta, threshold = torch.rand(shape, generator=g), 0.3 + torch.rand(shape, generator=g)
    mask = torch.rand(4, 3, generator=g) < 0.4 if masked else None
    given = (current, membrane, beta, threshold, reset, mask, hold)
    membranes, spikes = torch_kernel.forward(*given)
    assert 0 < spikes.mean() < 1
    close(triton_kernel.forward(*given), (membranes, spikes))
    for grad_membranes, learned in ((torch.randn(membranes.shape, generator=g), True), (None, False)):
        grads = torch.randn(spikes.shape, generator=g), grad_membranes
        rest = (membranes, membrane, beta, threshold, reset, mask, hold, Surrogate(surrogate), learned)
        close(triton_kernel.backward(*grads, *rest), torch_kernel.backward(*grads, *rest))


@pytest.mark.parametrize(("surrogate", "per_neuron", "masked"), [
    ("fast_sigmoid", True, True), ("triangle", True, True), ("atan", False, False),
])  # fmt: skip
def test_adaptive_scans_equal_the_reference(surrogate, per_neuron, masked):
    g = torch.Generator().manual_seed(0)
    current, membrane = torch.randn(7, 3, 50, generator=g), torch.randn(3, 50, generator=g)
    adaptation = torch.rand(3, 50, generator=g)
    parameters = [torch.rand((50,) if per_neuron else (), generator=g) + add for add in (0, 0.3, 0, 0.1)]
    mask = torch.rand(7, 3, generator=g) < 0.4 if masked else None
    own = Surrogate(surrogate, 2.0)
    expected = adaptive_scan._steps(current, membrane, adaptation, parameters, own, mask, differentiable=False)
    close(adaptive_triton.forward(current, membrane, adaptation, parameters, mask), expected)
    saved = (*expected, membrane, adaptation, mask, *parameters)
    grads = [torch.randn(7, 3, 50, generator=g) for _ in range(3)]
    close(adaptive_triton.backward(saved, *grads, own), adaptive_scan._backward(saved, *grads, own))


def test_a_layer_runs_on_it_when_asked_to():
    torch.manual_seed(0)
    current = torch.randn(5, 2, 6, requires_grad=True)
    by_triton, by_torch = (LIF(0.8, learn_beta=True, kernel=kernel, hold=2) for kernel in ("triton", "torch"))
    for layer in (by_triton, by_torch):
        (layer(current)[0] * torch.arange(6.0)).sum().backward()
        layer.found, current.grad = current.grad, None
    close((by_triton.found, by_triton.beta.grad), (by_torch.found, by_torch.beta.grad))


def test_tensors_on_a_gpu_take_it_and_those_on_the_cpu_do_not(monkeypatch):
    on_cpu = (torch.zeros(2), torch.zeros(()))
    assert scan.choose("auto", on_cpu) == "numba"
    monkeypatch.setattr(scan, "are_dense", lambda *_: False)  # stands in for a GPU, which is not here
    monkeypatch.setattr(scan, "are_on_one_gpu", lambda tensors, dtype: tensors[0].dtype is dtype)
    assert scan.choose("auto", on_cpu) == "triton"
    assert scan.choose("auto", [t.double() for t in on_cpu]) == "torch"  # whose slope Triton would round
    monkeypatch.setattr(scan, "_has_triton", lambda: False)
    assert scan.choose("auto", on_cpu) == "torch"


def test_asked_for_it_says_what_it_takes(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(ValueError, match="the triton kernel takes float32 on a GPU, where Triton is installed, got"):
        LIF(kernel="triton")(torch.zeros(1, 1, 1))


COMPILE = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from synrl_ray.snn import adaptive_triton, triton_kernel

def compiled(kernel, target, **constants):
    kinds = {"slope": "fp32"} | dict.fromkeys(("num_inputs", "num_steps", "hold", "batch", "num_neurons"), "i32")
    kinds |= {"mask_EB": "*i1", "mask_TB": "*i1"} | dict.fromkeys(constants, "constexpr")
    signature = {name: kinds.get(name, "*fp32") for name in kernel.arg_names}
    values = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    made = compile(ASTSource(kernel, signature, values), target=GPUTarget("cuda", target, 32))
    assert len(made.asm["cubin"]) > 1000

lif = {"BETAS": 1, "THRESHOLDS": 0, "BLOCK": 128}
compiled(triton_kernel._forward, 80, **lif, RESET="subtract")
compiled(triton_kernel._forward, 90, **lif, RESET="zero", mask_EB=None)
compiled(triton_kernel._backward, 80, **lif, RESET="subtract", SURROGATE="atan")
none = dict.fromkeys(("mask_EB", "grad_membranes_TM", "grad_beta_M", "grad_threshold_M"))
compiled(triton_kernel._backward, 90, **lif, **none, RESET="zero", SURROGATE="sigmoid")
compiled(adaptive_triton._forward, 90, BLOCK=128)
compiled(adaptive_triton._backward, 90, BLOCK=128, SURROGATE="box")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Triton brings an assembler for Linux")
def test_kernels_compile_to_machine_code_of_gpus(tmp_path):
    """The interpreter takes what the compiler does not; its assembler needs no GPU."""
    variables = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    variables.pop("TRITON_INTERPRET", None)
    subprocess.run([sys.executable, "-c", COMPILE], check=True, env=variables, timeout=300)

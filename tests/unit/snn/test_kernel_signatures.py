"""Kernels are compiled once for a dtype, whatever the layout of what they are given: compiling takes seconds."""

import torch

from synrl_ray.snn import Surrogate, lif_scan, numba_kernels


def gradient(loss):
    current = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    beta, threshold = torch.tensor(0.9), torch.tensor(0.5)
    spikes, _ = lif_scan(
        current, torch.zeros(2, 3), beta=beta, threshold=threshold, surrogate=Surrogate("atan", 2.0), kernel="numba"
    )
    loss(spikes).backward()
    return current.grad


def test_an_expanded_gradient_needs_no_kernel_of_its_own():
    expected = gradient(lambda spikes: (spikes * torch.ones_like(spikes)).sum())
    compiled = list(numba_kernels.backward.signatures)
    assert torch.equal(gradient(lambda spikes: spikes.sum()), expected)
    assert list(numba_kernels.backward.signatures) == compiled

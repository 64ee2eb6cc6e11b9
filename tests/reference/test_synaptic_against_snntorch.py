"""Synaptic neurons against snntorch's step loop; loss weights are exact in float32, see the LIF test."""

import pytest
import snntorch
import torch
from snntorch import surrogate as theirs

from synrl_ray.snn import Surrogate, Synaptic


@pytest.mark.parametrize("reset", ["subtract", "none"])
def test_layer_matches_snntorch(reset):
    torch.manual_seed(0)
    alpha, beta, threshold = (torch.rand(5).double() * 0.5 + 0.4 for _ in range(3))
    current, state = torch.randn(8, 3, 5).double(), torch.randn(3, 10).double()
    weights = torch.randint(-16, 17, (8, 3, 5)).double() / 16
    ours = Synaptic(
        0.5, learn_alpha=True, learn_beta=True, learn_threshold=True, reset=reset, surrogate=Surrogate("atan")
    )
    ours.current.beta, ours.membrane.beta, ours.membrane.threshold = (
        torch.nn.Parameter(p.clone()) for p in (alpha, beta, threshold)
    )
    snn = snntorch.Synaptic(
        alpha=alpha.clone(), beta=beta.clone(), threshold=threshold.clone(), learn_alpha=True, learn_beta=True,
        learn_threshold=True, reset_mechanism=reset, spike_grad=theirs.atan(),
    )  # fmt: skip

    def theirs_run(i, state):
        mem, syn = state.chunk(2, dim=1)
        spikes = []
        for i_t in i:
            s, syn, mem = snn(i_t, syn, mem)
            spikes.append(s.double())
        return torch.stack(spikes), torch.cat((mem, syn), 1)

    results = []
    for run, parameters in (
        (ours, (ours.current.beta, ours.membrane.beta, ours.membrane.threshold)),
        (theirs_run, (snn.alpha, snn.beta, snn.threshold)),
    ):
        i, before = current.clone().requires_grad_(), state.clone().requires_grad_()
        spikes, final = run(i, before)
        loss = (spikes * weights).sum() + final.sum()
        results.append((spikes, final, *torch.autograd.grad(loss, (i, before, *parameters))))
    assert 0.05 < results[0][0].mean() < 0.95
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)

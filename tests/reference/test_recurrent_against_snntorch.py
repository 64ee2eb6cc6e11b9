"""Recurrent layers against snnTorch's step loop; loss weights are exact in float32, see the LIF test."""

import pytest
import snntorch
import torch
from snntorch import surrogate as theirs
from torch import nn

from synrl_ray.snn import LIF, Recurrent, Surrogate, Synaptic

STEPS, BATCH, NEURONS = 8, 3, 5


@pytest.mark.parametrize("kernel", ["torch", "numba", "functional"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", ["one_to_one", "all_to_all"])
@pytest.mark.parametrize("neuron", ["RLeaky", "RSynaptic"])
@pytest.mark.parametrize("reset", ["subtract", "none"])
def test_layer_matches_snntorch(neuron, kind, reset, dtype, kernel):
    """Values, and gradients of current, state, decays, threshold and recurrent weights."""
    g = torch.Generator().manual_seed(0)
    alpha, beta, threshold = ((torch.rand(NEURONS, generator=g) * 0.5 + 0.4).to(dtype) for _ in range(3))
    current = torch.randn(STEPS, BATCH, NEURONS, generator=g).to(dtype)
    weight = torch.randn(*[NEURONS] * (1 if kind == "one_to_one" else 2), generator=g).to(dtype) / 2
    weights = torch.randint(-16, 17, (STEPS, BATCH, NEURONS), generator=g).to(dtype) / 16
    num_states = 2 if neuron == "RSynaptic" else 1
    state = torch.randn(BATCH, num_states * NEURONS, generator=g).to(dtype)

    options = {"learn_beta": True, "learn_threshold": True, "reset": reset, "surrogate": Surrogate("atan")}
    options |= {"kernel": kernel}
    cell = Synaptic(0.5, learn_alpha=True, **options) if neuron == "RSynaptic" else LIF(0.5, **options)
    ours = Recurrent(cell, NEURONS, kind)
    membranes = cell.membrane if neuron == "RSynaptic" else cell
    membranes.beta, membranes.threshold = nn.Parameter(beta.clone()), nn.Parameter(threshold.clone())
    ours.synapses.weight = nn.Parameter(weight.clone())
    learned = [membranes.beta, membranes.threshold, ours.synapses.weight]
    given = {"beta": beta.clone(), "threshold": threshold.clone(), "learn_beta": True, "learn_threshold": True}
    given |= {"reset_mechanism": reset, "spike_grad": theirs.atan(), "all_to_all": kind == "all_to_all"}
    given |= {"linear_features": NEURONS} if kind == "all_to_all" else {"V": weight.clone()}
    if neuron == "RSynaptic":
        cell.current.beta = nn.Parameter(alpha.clone())
        learned.append(cell.current.beta)
        given |= {"alpha": alpha.clone(), "learn_alpha": True}
    snn = getattr(snntorch, neuron)(**given)
    own_weight = snn.recurrent.V if kind == "one_to_one" else snn.recurrent.weight
    if kind == "all_to_all":
        snn.recurrent.to(dtype)
        own_weight = snn.recurrent.weight
        with torch.no_grad():
            own_weight.copy_(weight)
            snn.recurrent.bias.zero_()
    of_theirs = [snn.beta, snn.threshold, own_weight, *([snn.alpha] if neuron == "RSynaptic" else [])]

    def theirs_run(i, state):
        mem, *syn = state.chunk(num_states, dim=1)
        spk = snn.fire(mem).to(dtype)  # what the membrane says of the step before
        spikes = []
        for i_t in i:
            spk, *syn, mem = snn(i_t, spk, *syn, mem)
            spk = spk.to(dtype)
            spikes.append(spk)
        return torch.stack(spikes), torch.cat((mem, *syn), 1)

    results = []
    for run, parameters in ((ours, learned), (theirs_run, of_theirs)):
        i, before = current.clone().requires_grad_(), state.clone().requires_grad_()
        spikes, final = run(i, before)
        loss = (spikes * weights).sum() + final.sum()
        results.append((spikes, final, *torch.autograd.grad(loss, (i, before, *parameters))))
    assert 0.05 < results[0][0].mean() < 0.95
    tolerance = 1e-6 if dtype == torch.float64 else 1e-5  # snnTorch's spikes and their gradients are float32
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)

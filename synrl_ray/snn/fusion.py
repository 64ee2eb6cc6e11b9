"""Whether a spiking network may run fused, decided here alone and anew at every call.

The fused path reads the layers' tensors and settings. It is taken where calling the layers one by one would compute the
same and nobody could tell: layers of exactly the known classes without hooks, plain tensors of the expected shapes,
settings that the compiled passes know, and nothing of torch's that watches or transforms operations.
"""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import Any

from torch import Tensor, nn

from synrl_ray.snn.neurons import LIF, LeakyReadout
from synrl_ray.snn.plain import are_dense, are_plain, is_watched
from synrl_ray.snn.products import DTYPES, Product
from synrl_ray.snn.stack_plan import Plan, structure_of

_SHAPE = attrgetter("shape")


def fused_plan(net: Any, inputs: Tensor, state: Tensor | None) -> tuple[Plan, tuple[Tensor, ...]] | None:
    """Structure and parameters of a network as one autograd node; ``None`` if its layers are to be called.

    Torch's attribute search would take a third of a small network's inference, so members come from where modules keep
    them.

    Args:
        net: a ``SpikingMLP`` or ``SpikingCNN``; its ``products`` are what its ``weights`` are to compute.
        inputs: ``[E, B, F]``, of maps F = pixels * channels; ``[E * K, B, F]`` where spikes come in.
        state: of the network.
    """
    dtype = inputs.dtype
    if is_watched() or dtype not in DTYPES or inputs.numel() == 0 or inputs.is_neg():
        return None
    parts, products, layers = net._modules, net.products, tuple(net.weights)
    readout = parts["readout"]
    linear, integrator = readout._modules.get("linear"), readout._modules.get("integrator")
    neurons = parts["neurons"]._modules.values()
    sizes, period = tuple(net.state_sizes), net.steps_per_observation
    if not are_plain((readout, linear, integrator, *layers, *neurons), _kinds(products)):
        return None

    own = linear._parameters
    parameters = [own.get("weight"), own.get("bias")]
    first_hold = hold = 1 if net.is_fed_spikes else period
    resets, surrogates = [], []
    for layer, product, neuron in zip(layers, products, neurons, strict=True):
        settings, own, fixed = neuron.__dict__, layer._parameters, neuron._buffers
        if settings["hold"] != hold or settings["graded"] or settings["kernel"] != "auto" or not product.is_of(layer):
            return None
        hold = 1
        resets.append(settings["reset"])
        surrogates.append(settings["surrogate"])
        decay = fixed["beta"] if "beta" in fixed else neuron.decay  # noqa: SIM401  which would compute the latter
        threshold = fixed["threshold"] if "threshold" in fixed else neuron._parameters.get("threshold")
        parameters += (own.get("weight"), own.get("bias"), decay, threshold)

    pool, leak = readout._buffers.get("weights"), integrator._buffers.get("beta")
    tensors = (*parameters, pool, leak, inputs) if state is None else (*parameters, pool, leak, inputs, state)
    if not are_dense(tensors, dtype):
        return None
    shapes = tuple(map(_SHAPE, tensors[: len(parameters) + 2]))
    structure = structure_of(sizes, period, first_hold, products, tuple(resets), shapes)
    if structure is None:
        return None
    plan = Plan(sizes, period, first_hold, *structure, tuple(surrogates), products, pool, readout.bias_gain, leak)
    return plan, tuple(parameters)


@lru_cache(maxsize=64)
def _kinds(products: tuple[Product, ...]) -> tuple[type[nn.Module], ...]:
    """The classes of a network's layers: readout and its parts, layers with weights, neurons."""
    return (LeakyReadout, nn.Linear, LIF, *(product.kind for product in products), *(LIF,) * len(products))

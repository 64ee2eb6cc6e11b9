"""A NIR graph in snnTorch's neurons, run by NIRTorch: another simulator than the one here, to check an export by.

snnTorch's own ``import_from_nir`` has no ``LI``, ``Threshold`` and ``Scale`` (1.0.0), without which there is neither a
readout nor a reset by subtraction; it rounds weights to single precision, and takes ``IF`` for a leak of 0.9. So the
nodes are mapped to its neurons here, one by one, and NIRTorch, on which that importer stands, connects and runs them.
Two of its traps are avoided: of a ``Threshold`` that loops lead to, it takes the membrane of the step before where that
node comes later in the file, and ``Flatten`` would flatten the batch.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from synrl_ray.snn.nir.errors import NIRError
from synrl_ray.snn.nir.running import SPIKING, decay_of, dt_of, ends, in_order, pair


class SnnTorchRun:
    """A graph as a :class:`~synrl_ray.snn.nir.running.Reader`.

    Args:
        graph: with one input and one output.
        dtype: in which it is computed.

    Raises:
        NIRError: for a node that is not mapped, parameters that snnTorch's neurons do not have, or without NIRTorch.
    """

    def __init__(self, graph: Any, dtype: torch.dtype = torch.float64) -> None:
        try:
            import nirtorch
        except ImportError as error:
            raise NIRError("NIRTorch is not installed: pip install nirtorch") from error
        start, self.output = ends(graph)
        order = in_order(graph, start)
        self.dtype = dtype
        self.spiking = [name for name in order if isinstance(graph.nodes[name], SPIKING)]
        dt = dt_of(graph)
        ordered = nir.NIRGraph({name: graph.nodes[name] for name in order}, list(graph.edges), type_check=False)
        mapping = {kind: (lambda node, make=make: make(node, dt)) for kind, make in _MODULES.items()}
        try:
            self.module = nirtorch.nir_to_torch(ordered, mapping, dtype=dtype).eval()
        except ValueError as error:
            raise NIRError(f"NIRTorch cannot run it: {error}") from error
        self._emitted: dict[str, Tensor] = {}
        for name in self.spiking:
            self.module.get_submodule(name).register_forward_hook(self._keep(name))

    def _keep(self, name: str) -> Any:
        def keep(module: nn.Module, received: Any, emitted: Any) -> None:
            self._emitted[name] = emitted[0] if isinstance(emitted, tuple) else emitted

        return keep

    def initial(self, batch: int) -> Any:
        """The state at rest: NIRTorch makes it with the first step."""
        return None

    def forget(self, state: Any, rows: Tensor) -> Any:
        """The state with those rows ``[B]`` zero."""
        if isinstance(state, dict):
            return {name: self.forget(part, rows) for name, part in state.items()}
        if isinstance(state, tuple):
            return tuple(self.forget(part, rows) for part in state)
        if not isinstance(state, Tensor) or len(state) != len(rows):
            return state
        return state.masked_fill(rows.view(-1, *[1] * (state.dim() - 1)), 0.0)

    def step(self, signal: Tensor, state: Any) -> tuple[dict[str, Tensor], Any]:
        """One simulation step."""
        output, state = self.module(signal.to(self.dtype), state)
        return {**self._emitted, self.output: output}, state


class _Neurons(nn.Module):
    """Neurons of snnTorch, whose state goes in and comes out.

    Args:
        neuron: a class of snnTorch's.
        gain: of the current, before it.
        spikes: emit spikes, else the membrane.
    """

    gain: Tensor

    def __init__(self, neuron: nn.Module, gain: np.ndarray, spikes: bool) -> None:
        super().__init__()
        import snntorch

        snntorch.SpikingNeuron.instances.remove(neuron)  # a list of all neurons, which would keep each alive
        self.neuron, self.spikes = neuron, spikes
        self.register_buffer("gain", torch.from_numpy(gain))
        self.num_states = 2 if isinstance(neuron, snntorch.Synaptic) else 1

    def forward(self, current: Tensor, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return spikes or membranes, and the state."""
        received = current * self.gain
        if state is None:
            state = tuple(torch.zeros_like(received) for _ in range(self.num_states))
        fired, *after = self.neuron(received, *state)
        return (fired if self.spikes else after[-1]).to(received.dtype), tuple(after)


class _Pointwise(nn.Module):
    """A threshold, or a scale."""

    values: Tensor

    def __init__(self, values: np.ndarray, is_threshold: bool) -> None:
        super().__init__()
        self.register_buffer("values", torch.from_numpy(np.array(values)))
        self.is_threshold = is_threshold

    def forward(self, signal: Tensor) -> Tensor:
        """Spikes above the threshold, or the scaled signal."""
        from snntorch import surrogate

        if not self.is_threshold:
            return signal * self.values
        spikes: Tensor = surrogate.atan()(signal - self.values)
        return spikes.to(signal.dtype)


def _leaky(node: Any, dt: float) -> nn.Module:
    """``LI``, ``I``, ``LIF`` and ``IF``."""
    import snntorch

    if isinstance(node, nir.I | nir.IF):
        r = np.asarray(node.r, dtype=np.float64)
        beta, gain = np.ones_like(r), dt * r
    else:
        _require(not np.any(node.v_leak), "v_leak")
        beta, gain = decay_of(node.tau, node.r, dt)
    return _Neurons(snntorch.Leaky(torch.from_numpy(beta), **_firing(node)), gain, hasattr(node, "v_threshold"))


def _synaptic(node: Any, dt: float) -> nn.Module:
    """``CubaLI`` and ``CubaLIF``."""
    import snntorch

    _require(not np.any(node.v_leak), "v_leak")
    (alpha, w_in), (beta, gain) = decay_of(node.tau_syn, node.w_in, dt), decay_of(node.tau_mem, node.r, dt)
    neuron = snntorch.Synaptic(torch.from_numpy(alpha), torch.from_numpy(beta), **_firing(node))
    return _Neurons(neuron, gain * w_in, hasattr(node, "v_threshold"))


def _firing(node: Any) -> dict[str, Any]:
    """snnTorch resets one step after a spike unless it is told otherwise; NIR's nodes reset with it."""
    if not hasattr(node, "v_threshold"):
        return {"reset_mechanism": "none"}
    _require(not np.any(node.v_reset), "v_reset")
    return {"threshold": torch.from_numpy(node.v_threshold), "reset_mechanism": "zero", "reset_delay": False}


def _require(fits: bool, name: str) -> None:
    if not fits:
        raise NIRError(f"snnTorch's neurons have no {name}")


def _linear(node: Any, dt: float) -> nn.Module:
    weight = torch.from_numpy(np.array(node.weight))
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=isinstance(node, nir.Affine), dtype=torch.float64)
    return _with_weights(layer, node)


def _convolution(node: Any, dt: float) -> nn.Module:
    outputs, inputs, *size = node.weight.shape
    padding = node.padding.decode() if isinstance(node.padding, bytes) else node.padding
    layer = nn.Conv2d(
        inputs * int(node.groups),
        outputs,
        tuple(size),
        stride=pair(node.stride),
        padding=padding if isinstance(padding, str) else pair(padding),
        dilation=pair(node.dilation),
        groups=int(node.groups),
        dtype=torch.float64,
    )
    return _with_weights(layer, node)


def _with_weights(layer: Any, node: Any) -> nn.Module:
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array(node.weight)))
        if layer.bias is not None:
            layer.bias.copy_(torch.from_numpy(np.array(node.bias)))
    module: nn.Module = layer
    return module


_MODULES = {
    nir.Affine: _linear,
    nir.Linear: _linear,
    nir.Conv2d: _convolution,
    nir.Flatten: lambda node, dt: nn.Flatten(
        *(int(axis) + (axis >= 0) for axis in (node.start_dim, node.end_dim))  # behind the batch's axis
    ),
    nir.AvgPool2d: lambda node, dt: nn.AvgPool2d(pair(node.kernel_size), pair(node.stride), pair(node.padding)),
    nir.Scale: lambda node, dt: _Pointwise(node.scale, is_threshold=False),
    nir.Threshold: lambda node, dt: _Pointwise(node.threshold, is_threshold=True),
    nir.LI: _leaky,
    nir.I: _leaky,
    nir.LIF: _leaky,
    nir.IF: _leaky,
    nir.CubaLI: _synaptic,
    nir.CubaLIF: _synaptic,
}

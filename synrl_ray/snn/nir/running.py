"""A NIR graph run by Euler's method, node by node and step by step: slow, plain, and no code of the networks'.

Legend: E inputs, each held for K simulation steps, T = E * K, B batch, N neurons, S state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import nir
import numpy as np
import torch
from torch import Tensor, nn

from synrl_ray.snn.nir.errors import NIRError

DT = 1e-4
"""Seconds per simulation step where a graph does not say it, as snnTorch has it."""

State = TypeVar("State")
States = tuple[Tensor, ...]
Step = Callable[[Tensor, States], tuple[Tensor, States]]
Parameters = Callable[[Any], Tensor]


class Reader(Protocol[State]):
    """What runs a graph: this module's :class:`GraphRun`, or another simulator."""

    spiking: list[str]
    """Names of the nodes that spike."""
    output: str

    def initial(self, batch: int) -> State:
        """The state at rest."""

    def forget(self, state: State, rows: Tensor) -> State:
        """The state with those rows ``[B]`` at rest."""

    def step(self, signal: Tensor, state: State) -> tuple[dict[str, Tensor], State]:
        """One simulation step: what the nodes emit, and the state after it."""


@torch.no_grad()
def run(
    reader: Reader[State], inputs: Tensor, state: State | None = None, starts: Tensor | None = None, hold: int = 1
) -> tuple[list[Tensor], Tensor, State]:
    """Run a graph over a sequence.

    Args:
        reader: the graph.
        inputs: ``[E, B, ...]``.
        state: before them, at rest by default.
        starts: ``[E, B]`` bool, where a row begins at rest.
        hold: K, steps for which each input is held.

    Returns:
        Spikes ``[T, B, N]`` bool of every node that spikes, in the graph's order; outputs ``[T, B, O]``; the state.
    """
    state = reader.initial(inputs.shape[1]) if state is None else state
    spikes: list[list[Tensor]] = [[] for _ in reader.spiking]
    outputs = []
    for step, signal in enumerate(inputs):
        if starts is not None:
            state = reader.forget(state, starts[step])
        for _ in range(hold):
            emitted, state = reader.step(signal, state)
            for name, layer in zip(reader.spiking, spikes, strict=True):
                layer.append(emitted[name].flatten(1) > 0)
            outputs.append(emitted[reader.output])
    return [torch.stack(layer) for layer in spikes], torch.stack(outputs), state


class GraphRun:
    """A graph in ``nir``'s own equations.

    Args:
        graph: with one input and one output. An edge that leads back, to a node through which the input comes to it,
            carries what its source has emitted one step before.
        dtype: in which it is computed.

    Raises:
        NIRError: for a node that is not known here, or a graph that is not connected.

    Example:
        >>> graph = nir.NIRGraph.from_list(nir.Linear(np.eye(1)), nir.I(r=np.array([1 / DT])))
        >>> _, outputs, _ = run(GraphRun(graph), torch.ones(3, 1, 1))
        >>> [round(v, 6) for v in outputs.flatten().tolist()]
        [1.0, 2.0, 3.0]
    """

    def __init__(self, graph: Any, dtype: torch.dtype = torch.float64) -> None:
        self.graph, self.dtype = graph, dtype
        self.input, self.output = ends(graph)
        order = in_order(graph, self.input)
        position = {name: i for i, name in enumerate(order)}
        self.sources = {name: [a for a, b in graph.edges if b == name] for name in order}
        self.nodes: dict[str, tuple[Step, int]] = {}
        self.spiking = [name for name in order if isinstance(graph.nodes[name], SPIKING)]
        dt = dt_of(graph)
        for name in order:
            node = graph.nodes[name]
            if not isinstance(node, nir.Input):
                self.nodes[name] = _step_of(name, node, dt, lambda v: torch.from_numpy(np.array(v)).to(dtype))
        self.delayed = [a for a in order if any(position[a] >= position[b] for x, b in graph.edges if x == a)]
        self._leads_back = {(a, b) for a, b in graph.edges if position[a] >= position[b]}
        kept = [name for name, (_, number) in self.nodes.items() for _ in range(number)]
        self._shapes = [shape_of(graph, name) for name in (*kept, *self.delayed)]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        self.state_size = sum(self._sizes)

    def initial(self, batch: int) -> Tensor:
        """Zeros ``[B, S]``."""
        return torch.zeros(batch, self.state_size, dtype=self.dtype)

    def forget(self, state: Tensor, rows: Tensor) -> Tensor:
        """The state with those rows zero."""
        return state.masked_fill(rows.unsqueeze(-1), 0.0)

    def step(self, signal: Tensor, state: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """One simulation step of inputs ``[B, ...]`` and state ``[B, S]``."""
        parts = iter(
            part.view(-1, *shape) for part, shape in zip(state.split(self._sizes, dim=1), self._shapes, strict=True)
        )
        before = {name: tuple(next(parts) for _ in range(number)) for name, (_, number) in self.nodes.items()}
        last = dict(zip(self.delayed, parts, strict=True))
        emitted = {self.input: signal.to(self.dtype)}
        after: list[Tensor] = []
        for name, (step, _) in self.nodes.items():
            received = [(last if (a, name) in self._leads_back else emitted)[a] for a in self.sources[name]]
            emitted[name], states = step(sum(received[1:], received[0]), before[name])
            after += states
        after += [emitted[name] for name in self.delayed]
        return emitted, torch.cat([part.flatten(1) for part in after], dim=1) if after else state


def ends(graph: Any) -> tuple[str, str]:
    """Names of the one input and the one output."""
    found = [[name for name, node in graph.nodes.items() if isinstance(node, kind)] for kind in (nir.Input, nir.Output)]
    if [len(names) for names in found] != [1, 1]:
        raise NIRError("a graph must have one input and one output")
    return found[0][0], found[1][0]


def in_order(graph: Any, start: str) -> list[str]:
    """All nodes, each behind those from which the input comes to it first.

    Raises:
        NIRError: for an edge to nowhere, or nodes that the input does not reach.
    """
    following: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for a, b in graph.edges:
        if a not in following or b not in following:
            raise NIRError(f"the edge from {a} to {b} has no such node")
        following[a].append(b)
    finished: list[str] = []
    seen, path = {start}, [(start, iter(following[start]))]
    while path:  # depth first: a node is finished when all that follow it are
        name, rest = path[-1]
        unseen = next((b for b in rest if b not in seen), None)
        if unseen is None:
            finished.append(name)
            path.pop()
        else:
            seen.add(unseen)
            path.append((unseen, iter(following[unseen])))
    if lost := [name for name in graph.nodes if name not in seen]:
        raise NIRError(f"the input does not reach {', '.join(lost)}")
    return finished[::-1]


def dt_of(graph: Any) -> float:
    """Seconds per simulation step."""
    return float(graph.metadata.get("dt", DT))


def shape_of(graph: Any, name: str) -> tuple[int, ...]:
    """Of what a node emits."""
    (shape,) = graph.nodes[name].output_type.values()
    if shape is None:
        raise NIRError(f"the graph does not say what shape {name} has")
    return tuple(int(size) for size in shape)


def decay_of(tau: Any, r: Any, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """``beta`` and the gain of the current, of a step by Euler's method."""
    rate = dt / np.asarray(tau, dtype=np.float64)
    if np.any(rate > 1 + 1e-12):
        raise NIRError(f"a time constant is shorter than a step of {dt:g} s")
    return 1 - rate, rate * np.asarray(r, dtype=np.float64)


def _step_of(name: str, node: Any, dt: float, tensor: Parameters) -> tuple[Step, int]:
    """What a node does in a step, and how many states of its shape it keeps."""
    for kinds, make, number in _KNOWN:
        if isinstance(node, kinds):
            return make(node, dt, tensor), number
    known = ", ".join(kind.__name__ for kinds, _, _ in _KNOWN for kind in kinds)
    raise NIRError(f"the node {name} is a {type(node).__name__}, and known are {known}")


def _stateless(function: Callable[[Tensor], Tensor]) -> Step:
    return lambda signal, states: (function(signal), states)


def _linear(node: Any, dt: float, tensor: Parameters) -> Step:
    weight, bias = tensor(node.weight), tensor(node.bias) if isinstance(node, nir.Affine) else None
    return _stateless(lambda signal: nn.functional.linear(signal, weight, bias))


def _convolution(node: Any, dt: float, tensor: Parameters) -> Step:
    weight, bias = tensor(node.weight), tensor(node.bias)
    padding = text_of(node.padding) if isinstance(node.padding, str | bytes) else pair(node.padding)
    options: Any = pair(node.stride), padding, pair(node.dilation), int(node.groups)
    return _stateless(lambda signal: nn.functional.conv2d(signal, weight, bias, *options))


def _pooling(node: Any, dt: float, tensor: Parameters) -> Step:
    size, stride, padding = (pair(value) for value in (node.kernel_size, node.stride, node.padding))
    divisor = 1 if isinstance(node, nir.SumPool2d) else None
    return _stateless(lambda signal: nn.functional.avg_pool2d(signal, size, stride, padding, divisor_override=divisor))


def _flattening(node: Any, dt: float, tensor: Parameters) -> Step:
    start, end = (int(axis) + (axis >= 0) for axis in (node.start_dim, node.end_dim))  # behind the batch's axis
    return _stateless(lambda signal: signal.flatten(start, end))


def _scale(node: Any, dt: float, tensor: Parameters) -> Step:
    scale = tensor(node.scale)
    return _stateless(lambda signal: signal * scale)


def _threshold(node: Any, dt: float, tensor: Parameters) -> Step:
    threshold = tensor(node.threshold)
    return _stateless(lambda signal: (signal > threshold).to(signal.dtype))


def _nothing(node: Any, dt: float, tensor: Parameters) -> Step:
    return _stateless(lambda signal: signal)


def _membrane(node: Any, dt: float, tensor: Parameters) -> Callable[[Tensor, Tensor], Tensor]:
    """The potential after a step, from the current and the potential before."""
    if isinstance(node, nir.I | nir.IF):
        charge = tensor(dt * np.asarray(node.r, dtype=np.float64))
        return lambda current, v: v + charge * current
    tau = node.tau_mem if isinstance(node, nir.CubaLI | nir.CubaLIF) else node.tau
    beta, gain = decay_of(tau, node.r, dt)
    decay, charge, rest = tensor(beta), tensor(gain), tensor((1 - beta) * np.asarray(node.v_leak))
    return lambda current, v: decay * v + charge * current + rest


def _integrator(node: Any, dt: float, tensor: Parameters) -> Step:
    charged = _membrane(node, dt, tensor)

    def step(current: Tensor, states: States) -> tuple[Tensor, States]:
        v = charged(current, states[0])
        return v, (v,)

    return step


def _firing(node: Any, dt: float, tensor: Parameters) -> Step:
    charged, threshold, rest = _membrane(node, dt, tensor), tensor(node.v_threshold), tensor(node.v_reset)

    def step(current: Tensor, states: States) -> tuple[Tensor, States]:
        v = charged(current, states[0])
        fired = v > threshold
        return fired.to(v.dtype), (torch.where(fired, rest, v),)

    return step


def _with_synapse(node: Any, dt: float, tensor: Parameters) -> Step:
    """The current is stepped before the membrane, which receives the new one."""
    alpha, gain = (tensor(value) for value in decay_of(node.tau_syn, node.w_in, dt))
    membrane = (_firing if isinstance(node, nir.CubaLIF) else _integrator)(node, dt, tensor)

    def step(signal: Tensor, states: States) -> tuple[Tensor, States]:
        current = alpha * states[1] + gain * signal
        emitted, (v,) = membrane(current, states[:1])
        return emitted, (v, current)

    return step


def pair(value: Any) -> tuple[int, int]:
    """Height and width."""
    height, width = np.broadcast_to(np.asarray(value), 2)
    return int(height), int(width)


def text_of(value: str | bytes) -> str:
    """As files give it, which have bytes."""
    return value.decode() if isinstance(value, bytes) else value


SPIKING = (nir.LIF, nir.IF, nir.CubaLIF, nir.Threshold)
_KNOWN: tuple[tuple[tuple[type, ...], Callable[[Any, float, Parameters], Step], int], ...] = (
    ((nir.Affine, nir.Linear), _linear, 0),
    ((nir.Conv2d,), _convolution, 0),
    ((nir.SumPool2d, nir.AvgPool2d), _pooling, 0),
    ((nir.Flatten,), _flattening, 0),
    ((nir.Scale,), _scale, 0),
    ((nir.Threshold,), _threshold, 0),
    ((nir.LI, nir.I), _integrator, 1),
    ((nir.LIF, nir.IF), _firing, 1),
    ((nir.CubaLI, nir.CubaLIF), _with_synapse, 2),
    ((nir.Output,), _nothing, 0),
)
"""Nodes, what they do, and how many states of their shape they keep."""

"""What has to be done outside a graph: from an environment's observations to its inputs, as its metadata describes it.

A chip's host does the same. This is written in numpy and shares no code with the policies, so that an export which is
checked through it is checked from raw observations on.

Legend: B batch, K simulation steps for each observation, S state, F features.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synrl_ray.snn.nir.errors import NIRError

Array = NDArray[Any]
_STEPS, _SHAPE, _MEAN, _DEVIATION = "preparation", "observation_shape", "mean", "deviation"


class Preparation:
    """Steps that an observation goes through, one after the other.

    Each is a dictionary with the step's name under ``do``:

    - ``one_hot`` (``start``, ``size``): an index becomes a vector of zeros and a one.
    - ``flatten``, ``channels_first``: axes of the observation; ``[H, W, C]`` becomes ``[C, H, W]``.
    - ``divide`` (``by``).
    - ``normalise`` (``bound``): ``clip((x - mean) / deviation, -bound, bound)``.
    - ``stack`` (``frames``): behind those before it, zeros before an episode's start.
    - ``population`` (``low``, ``high``, ``neurons``, ``width``): currents of neurons with Gaussian receptive fields.
    - ``send_on_delta`` (``threshold``): how many thresholds a number has risen from what was sent before, then fallen.
    - ``latency`` (``low``, ``high``, ``steps``): one spike for each number, the earlier the larger it is.

    Args:
        steps: see above.
        shape: of an observation.
        mean, deviation: of ``normalise``.

    Raises:
        NIRError: for a step that is not known.

    Example:
        >>> preparation = Preparation([{"do": "divide", "by": 2}, {"do": "stack", "frames": 2}], (1,))
        >>> inputs, state = preparation(np.array([[4.0]]), preparation.initial(1))
        >>> inputs.tolist(), preparation(np.array([[6.0]]), state)[0].tolist()
        ([[[0.0, 2.0]]], [[[2.0, 3.0]]])
    """

    def __init__(
        self,
        steps: Sequence[Mapping[str, Any]],
        shape: tuple[int, ...],
        mean: Array | None = None,
        deviation: Array | None = None,
    ) -> None:
        self.steps = [dict(step) for step in steps]
        self.shape = shape
        self.mean, self.deviation = mean, deviation
        self._sizes: list[int] = []
        self.steps_made = next((int(step["steps"]) for step in self.steps if step["do"] == "latency"), None)
        """K where the observation becomes another input for each simulation step, else ``None``: it is held."""
        signal = np.zeros((1, *shape))
        for step in self.steps:
            function = _STEPS_BY_NAME.get(step["do"])
            if function is None:
                raise NIRError(f"the graph asks for its observations to be prepared by {step['do']!r}, unknown here")
            if step["do"] == "send_on_delta" and not step["threshold"] > 0:
                raise NIRError(
                    f"the graph's send_on_delta has the threshold {step['threshold']}, which is not positive"
                )
            frame = math.prod(signal.shape[1:])
            kept = {"stack": (step.get("frames", 1) - 1) * frame, "send_on_delta": frame}
            self._sizes.append(kept.get(step["do"], 0))
            if step["do"] != "latency":
                signal, _ = function(self, step, signal, np.zeros((1, self._sizes[-1])))
        self.state_size = sum(self._sizes)

    def initial(self, batch: int) -> Array:
        """What is remembered at an episode's start: zeros ``[B, S]``."""
        return np.zeros((batch, self.state_size))

    def __call__(self, observations: Array, state: Array) -> tuple[Array, Array]:
        """Observations ``[B, *obs]`` → inputs ``[1, B, ...]``, or ``[K, B, ...]``; and the state ``[B, S]``."""
        signal = np.asarray(observations, dtype=np.float64)
        kept: list[Array] = []
        offset = 0
        for step, size in zip(self.steps, self._sizes, strict=True):
            part = state[:, offset : offset + size]
            offset += size
            if step["do"] == "latency":
                return _latency(step, signal), np.concatenate((*kept, state[:, offset:]), axis=1)
            signal, part = _STEPS_BY_NAME[step["do"]](self, step, signal, part)
            kept.append(part)
        return signal[None], np.concatenate((*kept, state[:, offset:]), axis=1)

    def to_metadata(self) -> dict[str, Any]:
        """What a file says of it."""
        found: dict[str, Any] = {_STEPS: json.dumps(self.steps), _SHAPE: np.array(self.shape, dtype=np.int64)}
        if self.mean is not None and self.deviation is not None:
            found |= {_MEAN: np.asarray(self.mean), _DEVIATION: np.asarray(self.deviation)}
        return found

    @staticmethod
    def from_metadata(metadata: Mapping[str, Any]) -> Preparation:
        """That of a file; nothing is prepared where it does not say it.

        Raises:
            NIRError: if it cannot be read.
        """
        try:
            steps = json.loads(metadata.get(_STEPS, "[]"))
            shape = tuple(int(size) for size in np.atleast_1d(metadata.get(_SHAPE, ())))
            return Preparation(steps, shape, metadata.get(_MEAN), metadata.get(_DEVIATION))
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, NIRError):
                raise
            raise NIRError(f"the graph does not say in a known way how observations are prepared: {error}") from error


def _one_hot(of: Preparation, step: Mapping[str, Any], signal: Array, state: Array) -> tuple[Array, Array]:
    return (signal[:, None] == step["start"] + np.arange(step["size"])).astype(np.float64), state


def _flatten(of: Preparation, step: Mapping[str, Any], signal: Array, state: Array) -> tuple[Array, Array]:
    return signal.reshape(len(signal), math.prod(signal.shape[1:])), state


def _channels_first(of: Preparation, step: Mapping[str, Any], signal: Array, state: Array) -> tuple[Array, Array]:
    return np.moveaxis(signal, -1, 1), state


def _divide(of: Preparation, step: Mapping[str, Any], signal: Array, state: Array) -> tuple[Array, Array]:
    return signal / step["by"], state


def _normalise(of: Preparation, step: Mapping[str, Any], signal: Array, state: Array) -> tuple[Array, Array]:
    return np.clip((signal - of.mean) / of.deviation, -step["bound"], step["bound"]), state


def _stack(of: Preparation, step: Mapping[str, Any], signal: Array, state: Array) -> tuple[Array, Array]:
    past = state.reshape(len(signal), step["frames"] - 1, *signal.shape[1:])
    frames = np.concatenate((past, signal[:, None]), axis=1)
    stacked = frames.reshape(len(signal), step["frames"] * signal.shape[1], *signal.shape[2:])
    return stacked, frames[:, 1:].reshape(len(signal), -1)


def _population(of: Preparation, step: Mapping[str, Any], signal: Array, state: Array) -> tuple[Array, Array]:
    number = step["neurons"]
    place = (signal - step["low"]) / (step["high"] - step["low"])
    distance = (place[..., None] - np.linspace(0, 1, number)) * (number - 1) / step["width"]
    return np.exp(-0.5 * distance**2).reshape(len(signal), -1), state


def _send_on_delta(of: Preparation, step: Mapping[str, Any], signal: Array, state: Array) -> tuple[Array, Array]:
    moved = (signal - state) / step["threshold"]
    crossed = np.trunc(moved + 1e-3 * np.sign(moved))  # a thousandth for rounding, where numbers move by thresholds
    spikes = np.concatenate((np.maximum(crossed, 0), np.maximum(-crossed, 0)), axis=1)
    return spikes, state + step["threshold"] * crossed


def _latency(step: Mapping[str, Any], signal: Array) -> Array:
    place = np.clip((signal - step["low"]) / (step["high"] - step["low"]), 0, 1)
    when = np.round((1 - place) * (step["steps"] - 1))
    return np.stack([(when == k) & (place > 0) for k in range(step["steps"])]).astype(np.float64)


_STEPS_BY_NAME = {
    "one_hot": _one_hot,
    "flatten": _flatten,
    "channels_first": _channels_first,
    "divide": _divide,
    "normalise": _normalise,
    "stack": _stack,
    "population": _population,
    "send_on_delta": _send_on_delta,
    "latency": lambda of, step, signal, state: (signal, state),
}

"""What a policy network looks like, as plain data (no torch import)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, MinLen

PolicyKind = Literal["spiking", "ann"]
Sizes = Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)]
Fraction = Annotated[float, Interval(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class SpikingLayers:
    """Settings that all networks of leaky integrate-and-fire layers share."""

    steps_per_observation: Annotated[int, Ge(1)] = 4
    """Simulation steps for each observation."""
    beta: Fraction = 0.9
    """Membrane decay per simulation step, in [0, 1]."""
    threshold: Annotated[float, Gt(0)] = 1.0
    """Firing threshold."""
    learn_beta: bool = False
    learn_threshold: bool = False
    reset: Literal["subtract", "zero", "none"] = "subtract"
    """What a spike does to the membrane."""
    surrogate: Literal["fast_sigmoid", "atan", "sigmoid", "straight_through"] = "fast_sigmoid"
    surrogate_slope: Annotated[float, Gt(0)] | None = None
    """Sharpness of the surrogate gradient; the surrogate's default where not given."""
    readout_beta: Fraction = 0.9
    """Decay of the leaky-integrator readout."""


@dataclass(frozen=True, kw_only=True)
class SpikingPolicy(SpikingLayers):
    """An actor and a critic of leaky integrate-and-fire layers.

    Two ways to see time. With ``carry_state=False`` every observation is simulated for
    ``steps_per_observation`` steps from rest. With ``carry_state=True`` the membranes live on from one environment
    step to the next, are zeroed where an episode starts, and are trained by backpropagation through time.
    """

    kind: Literal["spiking"] = "spiking"
    hidden_sizes: Sizes = (64, 64)
    """Neurons per spiking layer."""
    carry_state: bool = False
    """Carry the membranes across environment steps."""
    max_seq_len: Annotated[int, Ge(1)] = 32
    """Environment steps of backpropagation through time; used where the state is carried."""
    share_layers: bool = False
    """One body for actor and critic instead of one each."""
    input_gain: Annotated[float, Gt(0)] = 1.0
    """Scale of the first layer's initial weights."""


@dataclass(frozen=True, kw_only=True)
class AnnPolicy:
    """The non-spiking twin: tanh layers of the same sizes."""

    kind: Literal["ann"] = "ann"
    hidden_sizes: Sizes = (64, 64)
    """Units per layer."""
    share_layers: bool = False
    """One body for actor and critic instead of one each."""


PolicyConfig = SpikingPolicy | AnnPolicy


def policy_config(settings: dict[str, object]) -> PolicyConfig:
    """Build the configuration from a dictionary, as it comes back from JSON or RLlib's ``model_config``.

    Keys that are no field are refused, ``kind`` chooses the class and is ``"spiking"`` where missing.

    Raises:
        ValueError: for an unknown kind or key.
    """
    kind = settings.get("kind", "spiking")
    classes: dict[object, type[SpikingPolicy | AnnPolicy]] = {"spiking": SpikingPolicy, "ann": AnnPolicy}
    if kind not in classes:
        raise ValueError(f"unknown policy kind {kind!r}: choose spiking or ann")
    cls = classes[kind]
    known = [field.name for field in fields(cls)]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(f"unknown {kind} policy setting {unknown[0]!r}: choose from {', '.join(known)}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    return cls(**values)  # type: ignore[arg-type]

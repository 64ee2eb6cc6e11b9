"""What a policy network looks like, as plain data (no torch import)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Literal

from annotated_types import Gt, Interval, MaxLen, MinLen

Size = Annotated[int, Interval(ge=1, le=2**20)]
Sizes = Annotated[tuple[Size, ...], MinLen(1), MaxLen(64)]
Steps = Annotated[int, Interval(ge=1, le=1024)]
"""Simulation steps: time and memory grow with them, and no weight of a stranger's policy shows them."""
Fraction = Annotated[float, Interval(ge=0, le=1)]
ConvLayer = tuple[Size, Size, Size]


@dataclass(frozen=True, kw_only=True)
class SpikingLayers:
    """Settings that all networks of leaky integrate-and-fire layers share."""

    steps_per_observation: Steps = 4
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
class PolicyLayout:
    """What spiking and non-spiking policies share."""

    hidden_sizes: Sizes = (64, 64)
    """Neurons or units of each fully connected layer; a convolutional network has one such layer."""
    conv_layers: Literal["nature", "small"] | Annotated[tuple[ConvLayer, ...], MinLen(1), MaxLen(32)] | None = None
    """Convolutions before it, for images ``[C, H, W]``: a known set (see :data:`synrl_ray.snn.convolution.SHAPES`), or
    channels, kernel size and stride of each."""
    share_layers: bool = False
    """One body for actor and critic instead of one each."""
    normalise_observations: bool = False
    """Observations in units of their own spread (of each pixel for images), measured during training; on batched
    rollouts."""
    frame_stack: Annotated[int, Interval(ge=1, le=256)] = 1
    """Newest observations that the network sees at once. Those before the present one are part of the state: zero
    where an episode starts, and stored once, not for every stack."""
    max_seq_len: Annotated[int, Interval(ge=1, le=2**16)] = 32
    """Environment steps of a sequence in the learner, of backpropagation through time too; used where a state is
    carried."""


@dataclass(frozen=True, kw_only=True)
class SpikingPolicy(PolicyLayout, SpikingLayers):
    """An actor and a critic of leaky integrate-and-fire layers.

    Two ways to see time. With ``carry_state=False`` every observation is simulated for
    ``steps_per_observation`` steps from rest. With ``carry_state=True`` the membranes live on from one environment
    step to the next, are zeroed where an episode starts, and are trained by backpropagation through time.
    """

    kind: Literal["spiking"] = "spiking"
    carry_state: bool = False
    """Carry the membranes across environment steps."""
    input_gain: Annotated[float, Gt(0)] = 1.0
    """Scale of the first layer's initial weights."""
    hidden_gain: Annotated[float, Gt(0)] = 1.0
    """Scale of the initial weights of the spiking layers behind it; spikes are rarer than an ann's activations."""

    @property
    def has_state(self) -> bool:
        """Whether anything lives on from one environment step to the next."""
        return self.carry_state or self.frame_stack > 1


@dataclass(frozen=True, kw_only=True)
class AnnPolicy(PolicyLayout):
    """The non-spiking twin: layers of the same sizes, tanh units, rectifiers in a convolutional network."""

    kind: Literal["ann"] = "ann"

    @property
    def has_state(self) -> bool:
        """Whether anything lives on from one environment step to the next."""
        return self.frame_stack > 1


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
    return cls(**{key: _as_tuples(value) for key, value in settings.items()})  # type: ignore[arg-type]


def _as_tuples(value: object) -> object:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list) else value

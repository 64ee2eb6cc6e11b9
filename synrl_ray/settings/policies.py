"""What a policy network looks like, as plain data (no torch import)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Interval, MaxLen, MinLen
from pydantic import Discriminator

from synrl_ray.settings.checked import from_json, settings_class
from synrl_ray.settings.plasticity import PlasticLayers
from synrl_ray.settings.types import AsTuple, ClassPath, Fraction, NonNegative, Positive, Size, Sizes, Steps

Surrogate = Literal["fast_sigmoid", "atan", "sigmoid", "straight_through", "triangle", "box"]
Neuron = Literal[
    "lif",
    "synaptic",
    "adaptive",
    "snntorch.Leaky",
    "snntorch.Synaptic",
    "snntorch.Alpha",
    "snntorch.Lapicque",
]
ConvLayer = Annotated[tuple[Size, Size, Size], AsTuple]
"""Channels, kernel size and stride."""
ConvLayers = Annotated[tuple[ConvLayer, ...], AsTuple, MinLen(1), MaxLen(32)]


@settings_class
class LeakyNeurons:
    """What all networks of leaky integrate-and-fire neurons share."""

    beta: Fraction = 0.9
    """Membrane decay per simulation step, in [0, 1]."""
    surrogate: Surrogate = "fast_sigmoid"
    """Name of the surrogate gradient; triangle and box are zero away from the threshold."""
    surrogate_slope: Positive | None = None
    """Its sharpness; the surrogate's default where not given."""


@settings_class
class SpikingLayers(LeakyNeurons):
    """Settings that all networks of leaky integrate-and-fire layers share.

    Raises:
        ValueError: for a setting of another neuron than the one that is taken.
    """

    steps_per_observation: Steps = 4
    """Simulation steps for each observation."""
    threshold: Positive = 1.0
    """Firing threshold."""
    learn_beta: bool = False
    """Learn the decay, one of each layer."""
    learn_threshold: bool = False
    """Learn the firing threshold, one of each layer."""
    reset: Literal["subtract", "zero", "none"] = "subtract"
    """What a spike does to the membrane."""
    neuron: Neuron = "lif"
    """Leaky integrate-and-fire; with a current that decays between input and membrane (as ``snntorch.Synaptic``);
    with a threshold that each spike raises (Bellec et al. 2018, arXiv:1803.09574); or a class of snnTorch's own, run
    step by step."""
    alpha: Fraction = 0.8
    """Decay of the current per simulation step, in [0, 1]; of ``synaptic``, ``snntorch.Synaptic`` and
    ``snntorch.Alpha``, which has it above ``beta``."""
    learn_alpha: bool = False
    """Learn that decay, one of each layer."""
    rho: Fraction = 0.97
    """Decay of the adaptation per simulation step, in [0, 1]; of ``adaptive``."""
    kappa: NonNegative = 0.2
    """By how much one spike raises the threshold; of ``adaptive``."""
    learn_adaptation: bool = False
    """Learn ``rho`` and ``kappa``."""
    recurrent: Literal["none", "one_to_one", "all_to_all"] = "none"
    """Spikes that come back to their own fully connected layer in the next simulation step: by a learned weight of each
    neuron to itself, or by a learned matrix, as in ``snntorch.RLeaky`` and ``snntorch.RSynaptic``; of ``lif`` and
    ``synaptic``."""
    norm: Literal["none", "layer", "running"] = "none"
    """What is done to each layer's currents before its neurons: normalised over the layer, or by the running mean and
    deviation of each neuron's (of each channel's in maps), which training measures as it does observations."""
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Share of a layer's neurons whose spikes do not leave it while a classifier is trained."""
    readout_beta: Fraction = 0.9
    """Decay of the leaky-integrator readout."""
    readout: Literal["last", "max", "mean", "spikes", "population"] = "last"
    """Which of its membranes in an observation's simulation steps is the output: the last, the highest or the mean. Or
    firing rates: a linear map of those of the last hidden layer, or of a population of output neurons for each output,
    as in PopSAN (Tang et al. 2020, arXiv:2010.09635)."""
    readout_neurons: Annotated[int, Interval(ge=1, le=256)] = 10
    """Output neurons for each output; of ``population``."""

    def __post_init__(self) -> None:
        """Refuse settings that the neuron does not have."""
        for name, (neurons, default) in _OF_NEURONS.items():
            if getattr(self, name) != default and self.neuron not in neurons:
                raise ValueError(f"{name} is of neuron={' or '.join(neurons)}, and neuron is {self.neuron}")
        if self.readout in ("spikes", "population") and self.readout_beta != SpikingLayers.readout_beta:
            raise ValueError(f"readout_beta is of readout=last, max or mean, and readout is {self.readout}")
        if self.readout != "population" and self.readout_neurons != SpikingLayers.readout_neurons:
            raise ValueError(f"readout_neurons is of readout=population, and readout is {self.readout}")
        if self.recurrent != "none" and self.neuron not in ("lif", "synaptic"):
            raise ValueError(f"recurrent={self.recurrent} is of neuron=lif or synaptic, and neuron is {self.neuron}")
        if self.neuron == "adaptive" and self.reset != "subtract":
            raise ValueError(f"neuron=adaptive resets by subtraction, and reset is {self.reset}")
        if self.neuron == "snntorch.Alpha" and not self.beta < self.alpha:
            raise ValueError(f"neuron=snntorch.Alpha has alpha above beta, got {self.alpha:g} and {self.beta:g}")
        if self.neuron == "snntorch.Lapicque" and not 0 < self.beta < 1:
            raise ValueError(f"neuron=snntorch.Lapicque has beta between 0 and 1, got {self.beta:g}")
        if self.neuron == "snntorch.Lapicque" and self.learn_beta:
            raise ValueError("neuron=snntorch.Lapicque learns no beta: set learn_beta=false")


_OF_NEURONS: dict[str, tuple[tuple[Neuron, ...], object]] = {
    "alpha": (("synaptic", "snntorch.Synaptic", "snntorch.Alpha"), SpikingLayers.alpha),
    "learn_alpha": (("synaptic", "snntorch.Synaptic"), False),
    "rho": (("adaptive",), SpikingLayers.rho),
    "kappa": (("adaptive",), SpikingLayers.kappa),
    "learn_adaptation": (("adaptive",), False),
}
"""The neurons that a setting is of, and its default."""


@settings_class
class PolicyLayout:
    """What spiking and non-spiking policies share."""

    hidden_sizes: Sizes = (64, 64)
    """Neurons or units of each fully connected layer; a convolutional network has one such layer."""
    conv_layers: Literal["nature", "small"] | ConvLayers | None = None
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
    action_distribution: Literal["gaussian", "beta", "squashed_gaussian"] = "gaussian"
    """Of Box actions: normal, clipped to the bounds; or between finite bounds, by the Beta distribution (Chou et al.
    2017) or by the hyperbolic tangent of a normal variable. See :mod:`synrl_ray.policies.actions.continuous`."""
    state_dependent_std: bool = False
    """Standard deviations as outputs of the network, instead of parameters of their own; of ``gaussian`` and
    ``squashed_gaussian``."""

    def __post_init__(self) -> None:
        """Refuse settings that the distribution does not have."""
        if self.state_dependent_std and self.action_distribution == "beta":
            raise ValueError("state_dependent_std is of normal distributions, and action_distribution is beta")

    @property
    def of_box_actions(self) -> tuple[str, ...]:
        """What is set that only Box actions have."""
        chosen = self.action_distribution
        found = (f"action_distribution={chosen}",) if chosen != PolicyLayout.action_distribution else ()
        return (*found, *(("state_dependent_std=true",) if self.state_dependent_std else ()))

    @property
    def convolves(self) -> bool:
        """Whether there are convolutions before the fully connected layer."""
        return self.conv_layers is not None

    @property
    def keeps_shape(self) -> bool:
        """Whether the network receives observations in their own shape, not as vectors."""
        return self.convolves

    @property
    def without_state(self) -> tuple[str, ...]:
        """What to set so that nothing lives on from one environment step to the next."""
        return ("frame_stack=1",) if self.frame_stack > 1 else ()

    @property
    def has_state(self) -> bool:
        """Whether anything lives on from one environment step to the next."""
        return bool(self.without_state)


@settings_class
class SpikingPolicy(PolicyLayout, SpikingLayers):
    """An actor of leaky integrate-and-fire layers, and a critic of such or of units that do not spike.

    Two ways to see time. With ``carry_state=False`` every observation is simulated for
    ``steps_per_observation`` steps from rest. With ``carry_state=True`` membranes, currents and adaptations live on
    from one environment step to the next, are zeroed where an episode starts, and are trained by backpropagation
    through time.

    Raises:
        ValueError: for settings that refuse one another.

    Example:
        >>> SpikingPolicy(neuron="adaptive", kappa=0.5, carry_state=True).has_state
        True
    """

    kind: Literal["spiking"] = "spiking"
    network: ClassPath | None = None
    """A network of your own in place of the layers that the other settings describe: ``module:Class``, which is
    imported; see :class:`synrl_ray.policies.own_network.OwnNetwork`. It is handed these settings."""
    carry_state: bool = False
    """Carry what the neurons hold across environment steps."""
    encoder: Literal["current", "population", "latency", "delta"] = "current"
    """What the network receives: its observation as a constant current; as currents of neurons with receptive fields;
    as one spike of each number, the earlier the larger it is; or as spikes for how far it has moved from what its
    spikes so far have told. The last three are for vectors, and scale what they code by the settings below."""
    encoder_low: float = -3.0
    """Low end of the range that is coded, of every number, normalised where observations are; of ``population`` and
    ``latency``."""
    encoder_high: float = 3.0
    """High end of that range."""
    encoder_neurons: Annotated[int, Interval(ge=2, le=256)] = 8
    """Neurons for each number; of ``population``."""
    encoder_threshold: Positive = 0.1
    """Change that each spike tells; of ``delta``."""
    skip: bool = False
    """Let layers receive the spikes of the layer before the previous one as well, where both have the same width; in
    fully connected networks of at least three layers."""
    input_gain: Positive = 1.0
    """Scale of the first layer's initial weights."""
    hidden_gain: Positive = 1.0
    """Scale of the initial weights of the spiking layers behind it; spikes are rarer than an ann's activations."""
    firing_rate: Annotated[float, Interval(gt=0, lt=1)] | None = None
    """Spikes in each neuron and simulation step at the start of training: the initial weights of each spiking layer are
    scaled until it fires so on the first observations; ``None`` leaves them. Not with DQN and SAC."""
    critic: Literal["spiking", "ann"] = "spiking"
    """Network of the state's value: as the actor's, or its non-spiking twin, as beside PopSAN (Tang et al. 2020). It
    only serves training, sees observations, or stacks of them, without a code, and carries nothing."""
    plastic: PlasticLayers | None = None
    """Layers of the actor that learn by a local rule beside the gradients; in fully connected networks that start every
    observation from rest, with layers of the actor's own and discrete actions."""

    def __post_init__(self) -> None:
        """Refuse settings that are not for one another."""
        PolicyLayout.__post_init__(self)
        SpikingLayers.__post_init__(self)
        if self.network is not None:
            self._check_own(self.network)
        if self.dropout:
            raise ValueError("dropout is of classifiers: a policy's learner must recompute what the rollout computed")
        if self.encoder != "current" and self.conv_layers is not None:
            raise ValueError(f"encoder={self.encoder} codes vectors, and conv_layers are for images")
        if not self.encoder_low < self.encoder_high:
            raise ValueError(f"encoder_low is {self.encoder_low:g}, not below encoder_high, {self.encoder_high:g}")
        if self.skip and self.conv_layers is not None:
            raise ValueError("skip is for fully connected layers, and conv_layers are given")
        if self.skip and not any(i == j for i, j in pairwise(self.hidden_sizes[:-1])):
            raise ValueError(f"skip needs two layers of equal width before another one, got {self.hidden_sizes}")
        if self.critic == "ann" and self.share_layers:
            raise ValueError("critic=ann has layers of its own: set share_layers=false or critic=spiking")
        if self.plastic is not None:
            self._check_plastic(self.plastic)

    def _check_own(self, network: str) -> None:
        if self.plastic is not None or self.encoder == "latency" or self.firing_rate is not None:
            setting = "plastic" if self.plastic else "firing_rate" if self.firing_rate else "encoder=latency"
            raise ValueError(f"{setting} is of the layers that settings describe, and network={network} has its own")

    def _check_plastic(self, plastic: PlasticLayers) -> None:
        number = len(self.hidden_sizes) + 1
        if self.conv_layers is not None or self.skip:
            raise ValueError("plastic layers are those of a fully connected chain: set conv_layers=null and skip=false")
        if self.recurrent != "none" or self.norm != "none":
            raise ValueError("plastic layers receive spikes alone, as they are: set recurrent=none and norm=none")
        if self.firing_rate is not None:
            raise ValueError("firing_rate scales weights, and those of plastic layers have bounds: set it to null")
        if self.readout == "population":
            raise ValueError("plastic layers end at the outputs, and a population comes before them: set readout=last")
        if self.has_state or self.share_layers:
            remedies = (*self.without_state, *(("share_layers=false",) if self.share_layers else ()))
            raise ValueError(f"plastic layers are the actor's own, and keep no state: set {' '.join(remedies)}")
        if not all(-number <= layer < number for layer in plastic.layers):
            raise ValueError(
                f"plastic.layers are {plastic.layers}, and layers are 0 to {number - 1}, or -1 to {-number}"
            )
        if len({layer % number for layer in plastic.layers}) < len(plastic.layers):
            raise ValueError(f"plastic.layers are {plastic.layers}, which name one of {number} layers twice")
        if plastic.homeostasis is not None and (self.neuron != "lif" or self.learn_threshold):
            raise ValueError("plastic.homeostasis is for neuron=lif with learn_threshold=false")
        if plastic.homeostasis is not None and not self.homeostatic_layers:
            raise ValueError("plastic.homeostasis is of hidden layers, and plastic.layers names the last one only")

    @property
    def keeps_shape(self) -> bool:
        """Whether the network receives observations in their own shape, as convolutions and users' networks do."""
        return self.network is not None or super().keeps_shape

    @property
    def convolves(self) -> bool:
        """Whether there are convolutions of these settings, not of a network of the user's alone."""
        return (self.network is None or self.critic == "ann") and super().convolves

    @property
    def modules(self) -> tuple[str, ...]:
        """The module that is imported for the network, if it is a user's own."""
        return () if self.network is None else (self.network.partition(":")[0],)

    @property
    def plastic_layers(self) -> tuple[int, ...]:
        """Numbers of the actor's plastic layers, from 0; the last is the readout's."""
        number = len(self.hidden_sizes) + 1
        return tuple(layer % number for layer in self.plastic.layers) if self.plastic else ()

    @property
    def homeostatic_layers(self) -> tuple[int, ...]:
        """Numbers of the layers whose neurons' thresholds follow a firing rate."""
        if self.plastic is None or self.plastic.homeostasis is None:
            return ()
        return tuple(layer for layer in self.plastic_layers if layer < len(self.hidden_sizes))

    @property
    def without_state(self) -> tuple[str, ...]:
        """What to set so that nothing lives on from one environment step to the next."""
        carried = ("carry_state=false",) if self.carry_state else ()
        changes = ("encoder=current",) if self.encoder == "delta" else ()
        return (*carried, *changes, *super().without_state)


@settings_class
class AnnPolicy(PolicyLayout):
    """The non-spiking twin: layers of the same sizes; rectifiers in a convolutional network."""

    kind: Literal["ann"] = "ann"
    activation: Literal["tanh", "relu"] = "tanh"
    """Of fully connected units. Rectifiers are zero at times, and what is multiplied by a zero costs nothing."""
    norm: Literal["none", "layer"] = "none"
    """What is done to each layer's sums before its units: normalised over the layer, as spiking ones' currents."""

    def __post_init__(self) -> None:
        """Refuse what a convolutional network has not."""
        super().__post_init__()
        if self.conv_layers is not None and self.activation == "relu":
            raise ValueError("activation is of fully connected networks; with conv_layers units are rectifiers anyway")


PolicyConfig = Annotated[SpikingPolicy | AnnPolicy, Discriminator("kind")]


def require_known_code(policy: object) -> None:
    """Raise :class:`ValueError` for what a file says of a policy whose delta code is not what it is now.

    It compared with the observation before. Files of that time lack a setting which is as old as the present code.
    """
    if isinstance(policy, Mapping) and policy.get("encoder") == "delta" and "critic" not in policy:
        raise ValueError("encoder=delta was another code when it was made, which is no longer read")


def policy_config(settings: Mapping[str, object], *place: str) -> PolicyConfig:
    """The configuration from a dictionary, as it comes back from JSON or RLlib's ``model_config``.

    ``kind`` chooses the class, and is ``"spiking"`` where missing.

    Args:
        settings: by name.
        place: names that lead to them, for errors.

    Raises:
        SettingError: for an unknown kind or key, or a value that is not allowed.
    """
    config: PolicyConfig = from_json(PolicyConfig, {"kind": "spiking", **settings}, *place)
    return config

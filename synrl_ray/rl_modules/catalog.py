"""Spiking encoders in the default modules of RLlib's algorithms, by its own extension point: the catalog.

Legend: B batch, of sequences where a state is carried; E environment steps of a sequence; L features of the latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from ray.rllib.algorithms.dqn.dqn_catalog import DQNCatalog
from ray.rllib.algorithms.ppo.ppo_catalog import PPOCatalog
from ray.rllib.algorithms.sac.sac_catalog import SACCatalog
from ray.rllib.algorithms.tqc.tqc_catalog import TQCCatalog
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT, Encoder
from ray.rllib.core.models.catalog import Catalog
from ray.rllib.core.models.configs import ModelConfig, RecurrentEncoderConfig
from ray.rllib.core.models.torch.base import TorchModel
from torch import Tensor

from synrl_ray.errors import UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.images import one_line
from synrl_ray.policies.spaces import check_spaces
from synrl_ray.rl_modules.actor_critic import STATE, initial_state, run
from synrl_ray.rl_modules.stock_algorithms import catalog_family, of_the_policy
from synrl_ray.settings.policies import PolicyConfig, SpikingPolicy, policy_config


class SpikingCatalog(Catalog):
    """Gives the default modules of PPO, APPO, IMPALA, DQN, SAC, TQC, BC and MARWIL a spiking encoder.

    One name for all of them: which of RLlib's catalogs it extends follows from the settings that the algorithm adds to
    ``model_config``. The policy's hidden layers are the encoder, and the membranes of a leaky-integrator readout, as
    many as the last hidden layer has neurons, are the latent that RLlib's heads receive. With ``carry_state`` (or a
    stack of frames, or ``encoder="delta"``) it is one of RLlib's recurrent encoders: state in, state out, trained by
    backpropagation through ``max_seq_len`` steps. ``share_layers`` decides in place of ``vf_share_layers``. Critics of
    actions (SAC, TQC) have the same layers, on observation and action side by side; on images, where that cannot be,
    they are RLlib's own two streams, the first of them spiking.

    Raises:
        UserError: when the module is built, for an algorithm or a space that it cannot serve, or a setting that has no
            meaning here; among them a state that is carried in SAC and TQC, whose modules keep none.

    Example:
        >>> from ray.rllib.algorithms.ppo import PPOConfig
        >>> from ray.rllib.core.rl_module.rl_module import RLModuleSpec
        >>> config = PPOConfig().environment("CartPole-v1").rl_module(
        ...     model_config=asdict(SpikingPolicy(hidden_sizes=(32,))),
        ...     rl_module_spec=RLModuleSpec(catalog_class=SpikingCatalog),
        ... )
        >>> env = gym.make("CartPole-v1")
        >>> module = config.get_rl_module_spec(env=env).build()
        >>> tuple(module.encoder.actor_encoder({"obs": torch.zeros(5, 4)})["encoder_out"].shape)
        (5, 32)
    """

    def __new__(cls, observation_space: gym.Space, action_space: gym.Space, model_config_dict: Any) -> SpikingCatalog:
        """Take the class for the algorithm; RLlib's modules call this with what they are told."""
        is_settings = is_dataclass(model_config_dict) and not isinstance(model_config_dict, type)
        told = asdict(model_config_dict) if is_settings else model_config_dict
        chosen = _CATALOGS[catalog_family(told)] if cls is SpikingCatalog else cls
        return super().__new__(chosen)

    def _determine_components_hook(self) -> None:
        self.policy = _policy_of(self._model_config_dict)
        self._check()
        self._model_config_dict["vf_share_layers"] = self.policy.share_layers
        super()._determine_components_hook()

    def _check(self) -> None:
        policy = self.policy
        check_spaces(self.observation_space, self.action_space, config=policy)
        if not isinstance(self.observation_space, (spaces.Box, spaces.Discrete)):
            problem = f"SpikingCatalog takes observations of one part, not {one_line(self.observation_space)}"
            raise UserError(problem, "take ActorCriticModule, or RLlib's FlattenObservations")
        if policy.of_box_actions:
            problem = f"RLlib's heads choose the distribution of actions, and {policy.of_box_actions[0]} is set"
            raise UserError(problem, "leave it out, or take ActorCriticModule")
        if self._model_config_dict["use_lstm"]:
            raise UserError("SpikingCatalog has no LSTM", "set carry_state=True of the SpikingPolicy, and no use_lstm")
        if isinstance(policy, SpikingPolicy) and policy.plastic is not None:
            raise UserError("SpikingCatalog has no plastic layers", "take PlasticActorCritic, or set plastic to None")
        if isinstance(policy, SpikingPolicy) and policy.critic != SpikingPolicy.critic:
            raise UserError(
                "critics of SpikingCatalog have the actor's layers",
                "leave critic out, or take a module of synrl_ray",
            )
        if isinstance(policy, SpikingPolicy) and policy.firing_rate is not None:
            raise UserError(
                "stock RLlib does not calibrate weights", "set firing_rate to None, and gains or a threshold"
            )
        if policy.normalise_observations or (isinstance(policy, SpikingPolicy) and policy.norm == "running"):
            raise UserError(
                "stock RLlib measures neither observations nor currents",
                "set normalise_observations=False and norm='none', and take RLlib's MeanStdFilter",
            )

    @classmethod
    def _get_encoder_config(
        cls, observation_space: gym.Space, model_config_dict: dict[str, Any], action_space: gym.Space | None = None
    ) -> ModelConfig:
        policy = _policy_of(model_config_dict)
        kind = CarriedEncoderConfig if policy.has_state else FromRestEncoderConfig
        return kind(input_dims=observation_space.shape, observation_space=observation_space, policy=policy)


class SpikingPPOCatalog(SpikingCatalog, PPOCatalog):
    """Of PPO, APPO, IMPALA and MARWIL; and of BC, which asks for the actor's encoder alone."""

    def build_encoder(self, framework: str) -> Encoder:
        """The encoder of an actor alone."""
        return Catalog.build_encoder(self, framework)


class SpikingDQNCatalog(SpikingCatalog, DQNCatalog):
    """Of DQN."""


class SpikingSACCatalog(SpikingCatalog, SACCatalog):
    """Of SAC, CQL and IQL."""

    algorithm: ClassVar[str] = "SAC"

    def _check(self) -> None:
        super()._check()
        if self.policy.has_state:
            raise UserError(f"{self.algorithm}'s modules keep no state", "set " + " ".join(self.policy.without_state))

    def _build_qf_encoder_continuous(self, framework: str) -> Encoder:
        observations, actions = self.observation_space, self.action_space
        if len(observations.shape) != 1:
            return super()._build_qf_encoder_continuous(framework)
        both = spaces.Box(-np.inf, np.inf, (observations.shape[0] + actions.shape[0],), np.float32)
        config = ActionEncoderConfig(input_dims=both.shape, observation_space=both, policy=self.policy)
        return config.build(framework)


class SpikingTQCCatalog(SpikingSACCatalog, TQCCatalog):
    """Of TQC."""

    algorithm = "TQC"


_CATALOGS: Mapping[str, type[SpikingCatalog]] = {
    "PPO": SpikingPPOCatalog,
    "DQN": SpikingDQNCatalog,
    "SAC": SpikingSACCatalog,
    "TQC": SpikingTQCCatalog,
}


@dataclass
class FromRestEncoderConfig(ModelConfig):
    """A spiking encoder that starts each observation from rest.

    Attributes:
        observation_space: of what it receives.
        policy: whose hidden layers it has.
    """

    observation_space: gym.Space | None = None
    policy: PolicyConfig | None = None

    @property
    def output_dims(self) -> tuple[int]:
        """L: as many features as the last hidden layer has neurons."""
        assert self.policy is not None
        return (self.policy.hidden_sizes[-1],)

    def build(self, framework: str = "torch") -> SpikingEncoder:
        """The encoder; torch is the only framework."""
        return SpikingEncoder(self)


@dataclass
class CarriedEncoderConfig(FromRestEncoderConfig, RecurrentEncoderConfig):
    """A spiking encoder that carries a state: RLlib's modules treat as recurrent what is configured by a subclass of
    its own recurrent configuration."""


@dataclass
class ActionEncoderConfig(FromRestEncoderConfig):
    """A spiking encoder of observations and actions, side by side."""

    def build(self, framework: str = "torch") -> SpikingEncoder:
        """The encoder; torch is the only framework."""
        return SpikingActionEncoder(self)


class SpikingEncoder(TorchModel, Encoder):
    """From observations to a latent, through the layers of a policy.

    Shape:
        ``obs [B, *obs]`` → ``encoder_out [B, L]``; where a state is carried ``obs [B, E, *obs]`` and ``state_in [B,
        S]`` → ``encoder_out [B, E, L]`` and ``state_out [B, S]``.

    Raises:
        NonFiniteError: if an observation holds NaN or infinity.
    """

    def __init__(self, config: FromRestEncoderConfig) -> None:
        TorchModel.__init__(self, config)
        Encoder.__init__(self, config)
        # An actor-critic of one body, of which the value is not used: RLlib's heads make values of the features.
        (num_features,) = config.output_dims
        assert config.policy is not None
        assert config.observation_space is not None
        body = replace(config.policy, share_layers=True)
        self.network = ActorCritic(config.observation_space, spaces.Discrete(num_features), body)

    def get_initial_state(self) -> dict[str, np.ndarray]:
        """At rest, without batch axis; empty where no state is carried."""
        return initial_state(self.network)

    def _forward(self, inputs: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        features, _, state = run(self.network, inputs)
        outputs: dict[str, Any] = {ENCODER_OUT: features}
        if self.network.state_size:
            outputs[Columns.STATE_OUT] = {STATE: state}
        return outputs


class SpikingActionEncoder(SpikingEncoder):
    """From observations ``[B, F]`` and actions ``[B, A]`` to a latent ``[B, L]``."""

    def _forward(self, inputs: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        both: Tensor = torch.cat((inputs[Columns.OBS], inputs[Columns.ACTIONS]), dim=-1)
        return super()._forward({Columns.OBS: both})


def _policy_of(model_config: Mapping[str, Any]) -> PolicyConfig:
    return policy_config(of_the_policy(model_config))

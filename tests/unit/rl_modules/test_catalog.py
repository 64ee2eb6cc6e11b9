"""Default modules of RLlib's algorithms with spiking encoders; no Ray session is needed to build them."""

import importlib
from dataclasses import asdict

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from torch.utils._pytree import tree_leaves, tree_map

from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.rl_modules import SpikingCatalog
from synrl_ray.rl_modules.catalog import SpikingDQNCatalog, SpikingPPOCatalog, SpikingSACCatalog, SpikingTQCCatalog
from synrl_ray.settings.plasticity import PlasticLayers
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy

OBSERVATIONS, DISCRETE = spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(2)
CONTINUOUS = spaces.Box(-1, 1, (2,), np.float32)
REST = SpikingPolicy(hidden_sizes=(6,), steps_per_observation=2, input_gain=4.0)
CARRIED = SpikingPolicy(hidden_sizes=(6,), steps_per_observation=2, input_gain=4.0, carry_state=True, max_seq_len=4)
CODED = SpikingPolicy(hidden_sizes=(6, 5), encoder="population", neuron="adaptive", readout="mean")
DELTA = SpikingPolicy(hidden_sizes=(6,), encoder="delta", encoder_threshold=0.01, max_seq_len=4)
BASES = {
    "PPO": SpikingPPOCatalog,
    "APPO": SpikingPPOCatalog,
    "IMPALA": SpikingPPOCatalog,
    "BC": SpikingPPOCatalog,
    "MARWIL": SpikingPPOCatalog,
    "DQN": SpikingDQNCatalog,
    "SAC": SpikingSACCatalog,
    "CQL": SpikingSACCatalog,
    "IQL": SpikingSACCatalog,
    "TQC": SpikingTQCCatalog,
}
OF_ACTIONS = ("SAC", "CQL", "IQL", "TQC")


def build(algorithm, policy, observations=OBSERVATIONS, actions=None, *, inference_only=False, **told):
    torch.manual_seed(0)
    config = getattr(importlib.import_module(f"ray.rllib.algorithms.{algorithm.lower()}"), f"{algorithm}Config")()
    config.rl_module(model_config=asdict(policy) | told, rl_module_spec=RLModuleSpec(catalog_class=SpikingCatalog))
    actions = actions or (CONTINUOUS if algorithm in OF_ACTIONS else DISCRETE)
    given = {"default_policy": (observations, actions)}
    return config.get_rl_module_spec(spaces=given, inference_only=inference_only).build()


def encoder_of(module):
    """The encoder of the actor, whatever the algorithm calls it."""
    found = getattr(module, "pi_encoder", None) or getattr(module, "_encoder", None) or module.encoder
    return getattr(found, "actor_encoder", found)


@pytest.mark.parametrize("policy", [REST, CODED, AnnPolicy(hidden_sizes=(6,))], ids=["rest", "coded", "ann"])
@pytest.mark.parametrize("algorithm", BASES)
def test_the_default_module_of_every_algorithm_acts_and_learns(algorithm, policy):
    module = build(algorithm, policy)
    assert type(module.catalog) is BASES[algorithm]
    assert not module.is_stateful()
    batch = {Columns.OBS: torch.rand(5, 3), Columns.NEXT_OBS: torch.rand(5, 3)}
    batch[Columns.ACTIONS] = torch.rand(5, 2) if algorithm in OF_ACTIONS else torch.zeros(5, dtype=torch.int64)
    acting = module.forward_inference(batch)
    assert len(acting[Columns.ACTION_DIST_INPUTS] if algorithm != "DQN" else acting[Columns.ACTIONS]) == 5
    if hasattr(module, "make_target_networks"):
        module.make_target_networks()
    outputs = module.forward_train(batch)
    found = [value for value in outputs.values() if isinstance(value, torch.Tensor) and value.requires_grad]
    sum(value.sum() for value in found).backward()
    first = encoder_of(module).network.bodies[0].linears[0].weight
    assert first.grad is not None
    assert first.grad.abs().sum() > 0


def test_the_latent_is_the_readouts_membrane_after_the_observation():
    module = build("BC", REST)
    encoder, observations = encoder_of(module), torch.rand(5, 3)
    body = encoder.network.bodies[0]
    _, _, (spikes,) = body.forward_with_spikes(observations.unsqueeze(0))
    assert spikes.sum() > 0
    linear, membrane = body.readout.linear, torch.zeros(5, 7)
    for step in spikes:
        membrane = REST.readout_beta * membrane + linear(step)
    latent = encoder({Columns.OBS: observations})["encoder_out"]
    assert tuple(latent.shape) == (5, 6) == (5, *module.catalog.latent_dims)
    torch.testing.assert_close(latent, membrane[:, :6])


@pytest.mark.parametrize("policy", [CARRIED, DELTA], ids=["carried", "delta"])
@pytest.mark.parametrize("algorithm", ["PPO", "APPO", "IMPALA", "BC", "MARWIL", "DQN"])
def test_a_carried_state_goes_in_and_comes_out_so_that_sequences_are_steps(algorithm, policy):
    module = build(algorithm, policy)
    assert module.is_stateful()
    assert module.model_config["max_seq_len"] == 4
    start = tree_map(lambda s: torch.as_tensor(s).unsqueeze(0).repeat(2, 1), module.get_initial_state())
    observations = torch.rand(2, 3, 3)
    whole = module.forward_inference({Columns.OBS: observations, Columns.STATE_IN: start})
    state = start
    for step in range(3):
        part = module.forward_inference({Columns.OBS: observations[:, step : step + 1], Columns.STATE_IN: state})
        state = part[Columns.STATE_OUT]
        if algorithm != "DQN":
            inputs = Columns.ACTION_DIST_INPUTS
            torch.testing.assert_close(part[inputs][:, 0], whole[inputs][:, step])
    moved = False
    for found, expected in zip(tree_leaves(state), tree_leaves(whole[Columns.STATE_OUT]), strict=True):
        torch.testing.assert_close(found, expected)
        moved |= bool(found.abs().sum() > 0)
    assert moved


def test_critics_of_actions_have_the_same_layers_on_observation_and_action():
    module = build("SAC", REST)
    network = module.qf_encoder.network
    assert network.bodies[0].linears[0].in_features == 3 + 2
    assert build("SAC", REST, actions=DISCRETE).qf_encoder.network.bodies[0].linears[0].in_features == 3
    observations, actions = torch.rand(4, 3), torch.rand(4, 2, requires_grad=True)
    module.qf(module.qf_encoder({"obs": observations, "actions": actions})["encoder_out"]).sum().backward()
    assert actions.grad.abs().sum() > 0


def test_critics_of_actions_on_images_are_two_streams():
    images = spaces.Box(0, 255, (12, 12, 1), np.uint8)
    policy = SpikingPolicy(hidden_sizes=(6,), conv_layers=((2, 4, 2),), steps_per_observation=2)
    module = build("SAC", policy, images)
    encoder = module.qf_encoder
    assert encoder.base_encoders["obs"].network.bodies[0].in_shape == (1, 12, 12)
    out = encoder({"obs": torch.zeros(2, 12, 12, 1), "actions": torch.zeros(2, 2)})["encoder_out"]
    assert tuple(out.shape) == (2, 6)


@pytest.mark.parametrize("shared", [True, False])
def test_layers_are_shared_where_the_policy_says_so(shared):
    encoder = build("PPO", SpikingPolicy(hidden_sizes=(6,), share_layers=shared)).encoder
    assert hasattr(encoder, "critic_encoder") is not shared
    assert hasattr(encoder, "encoder") is shared


def test_an_env_runners_module_has_no_critic_but_where_its_state_is_carried():
    assert build("PPO", REST, inference_only=True).encoder.critic_encoder is None
    assert build("PPO", CARRIED, inference_only=True).encoder.critic_encoder is not None


def test_a_module_is_described_by_names_that_can_be_imported():
    spec = RLModuleSpec.from_module(build("TQC", REST))
    again = RLModuleSpec.from_dict(spec.to_dict())
    assert again.catalog_class is SpikingTQCCatalog
    assert again.build().n_quantiles == 25


@pytest.mark.parametrize(
    ("algorithm", "policy", "said"),
    [
        ("SAC", CARRIED, "SAC's modules keep no state — set carry_state=false"),
        ("TQC", DELTA, "TQC's modules keep no state — set encoder=current"),
        (
            "PPO",
            SpikingPolicy(plastic=PlasticLayers()),
            "SpikingCatalog has no plastic layers — take PlasticActorCritic, or set plastic to None",
        ),
        (
            "PPO",
            SpikingPolicy(normalise_observations=True),
            "stock RLlib measures neither observations nor currents — set normalise_observations=False and "
            "norm='none', and take RLlib's MeanStdFilter",
        ),
        (
            "PPO",
            SpikingPolicy(firing_rate=0.2),
            "stock RLlib does not calibrate weights — set firing_rate to None, and gains or a threshold",
        ),
        (
            "PPO",
            SpikingPolicy(critic="ann"),
            "critics of SpikingCatalog have the actor's layers — leave critic out, or take a module of synrl_ray",
        ),
        (
            "DQN",
            SpikingPolicy(norm="running"),
            "stock RLlib measures neither observations nor currents — set normalise_observations=False and "
            "norm='none', and take RLlib's MeanStdFilter",
        ),
    ],
)
def test_what_has_no_meaning_is_refused_when_the_module_is_built(algorithm, policy, said):
    with pytest.raises(UserError) as refused:
        build(algorithm, policy)
    assert str(refused.value) == said


def test_settings_of_other_networks_and_unknown_ones_are_refused():
    with pytest.raises(UserError, match=r"no LSTM — set carry_state=True of the SpikingPolicy, and no use_lstm"):
        build("PPO", REST, use_lstm=True)
    with pytest.raises(UserError, match="hidden_size"):
        build("PPO", REST, hidden_size=(6,))
    with pytest.raises(
        UserError, match="DreamerV3 takes no SpikingCatalog: it has a world model of its own — take PPO"
    ):
        SpikingCatalog(OBSERVATIONS, DISCRETE, {"batch_length_T": 64})
    with pytest.raises(UserError, match="observation space"):
        build("PPO", REST, spaces.Box(-1, 1, (0,), np.float32))


def test_observations_that_are_not_finite_are_refused():
    with pytest.raises(NonFiniteError, match="the observation"):
        build("PPO", REST).forward_inference({Columns.OBS: torch.full((2, 3), torch.nan)})


def test_the_class_can_be_named_itself_and_settings_be_a_dataclass():
    catalog = SpikingDQNCatalog(OBSERVATIONS, DISCRETE, asdict(REST) | {"num_atoms": 1})
    assert type(catalog) is SpikingDQNCatalog
    assert type(SpikingCatalog(OBSERVATIONS, DISCRETE, REST)) is SpikingPPOCatalog

"""What a spiking policy can be made of: each neuron, encoder, readout and connection is state, files, counts, errors.

Legend: E environment step, B batch, S state.
"""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from synrl_ray.errors import UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.description import DESCRIPTION_FILE, WEIGHTS_FILE
from synrl_ray.policies.energy import decision_energy
from synrl_ray.policies.loading import load_policy
from synrl_ray.policies.policy import Policy
from synrl_ray.policies.q_network import check_q_network, q_values
from synrl_ray.settings.plasticity import PlasticLayers
from synrl_ray.settings.policies import SpikingPolicy, policy_config
from synrl_ray.snn import CNN, MLP, AdaptiveLIF, LeakyReadout, Recurrent, SpikingMLP, Synaptic, nir
from synrl_ray.snn.encoders import DeltaCode, LatencyCode, PopulationCode
from synrl_ray.snn.norms import RunningNorm
from synrl_ray.snn.readouts import MembraneReadout, PopulationDecoder, RateReadout
from synrl_ray.snn.snntorch_layer import SnnTorchLayer

OBS, ACTIONS = spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(4)
IMAGES = spaces.Box(0, 255, (1, 12, 12), np.uint8)
BASE = SpikingPolicy(hidden_sizes=(8, 6), input_gain=4.0, hidden_gain=3.0, threshold=0.5)
CONV = replace(BASE, conv_layers=((4, 4, 2),), hidden_sizes=(8,))
PARTS = {
    "lif": BASE,
    "synaptic": replace(BASE, neuron="synaptic", alpha=0.6, learn_alpha=True),
    "synaptic, reset to zero": replace(BASE, neuron="synaptic", reset="zero"),
    "adaptive": replace(BASE, neuron="adaptive", rho=0.9, kappa=0.4, learn_adaptation=True, learn_beta=True),
    "snntorch.Leaky": replace(BASE, neuron="snntorch.Leaky", learn_beta=True, learn_threshold=True),
    "snntorch.Synaptic": replace(BASE, neuron="snntorch.Synaptic", alpha=0.6, learn_alpha=True, reset="zero"),
    "snntorch.Alpha": replace(BASE, neuron="snntorch.Alpha", alpha=0.95, beta=0.7, reset="zero", threshold=0.1),
    "snntorch.Lapicque": replace(BASE, neuron="snntorch.Lapicque", beta=0.6, learn_threshold=True),
    "highest membrane": replace(BASE, readout="max"),
    "mean membrane": replace(BASE, readout="mean"),
    "firing rates": replace(BASE, readout="spikes"),
    "output population": replace(BASE, readout="population", readout_neurons=3),
    "PopSAN": replace(
        BASE, neuron="synaptic", encoder="population", encoder_low=-1.0, encoder_high=1.0, readout="population",
    ),
    "population": replace(BASE, encoder="population", encoder_low=-1.0, encoder_high=1.0, encoder_neurons=5),
    "latency": replace(BASE, encoder="latency", encoder_low=-1.0, encoder_high=1.0),
    "delta": replace(BASE, encoder="delta", encoder_threshold=0.3),
    "delta of a stack": replace(BASE, encoder="delta", frame_stack=3),
    "skip": replace(BASE, hidden_sizes=(8, 8, 6), skip=True),
    "recurrent": replace(BASE, recurrent="all_to_all", learn_beta=True, learn_threshold=True),
    "recurrent, one to one": replace(BASE, recurrent="one_to_one", reset="zero"),
    "recurrent, synaptic": replace(BASE, recurrent="all_to_all", neuron="synaptic", alpha=0.6, learn_alpha=True),
    "all": SpikingPolicy(
        hidden_sizes=(8, 8, 6), neuron="adaptive", readout="mean", encoder="delta", encoder_threshold=0.2, skip=True,
        share_layers=True, normalise_observations=True, input_gain=4.0, hidden_gain=3.0, threshold=0.5,
    ),
    "synaptic, convolutional": replace(CONV, neuron="synaptic", readout="max"),
    "snntorch, convolutional": replace(CONV, neuron="snntorch.Synaptic", readout="max"),
    "adaptive, convolutional": replace(CONV, neuron="adaptive", readout="mean"),
    "plain critic": replace(BASE, critic="ann"),
    "plain critic, population": replace(BASE, encoder="population", critic="ann", normalise_observations=True),
    "plain critic, delta of a stack": replace(
        BASE, encoder="delta", encoder_threshold=0.3, frame_stack=3, critic="ann",
    ),
    "plain critic, convolutional": replace(CONV, critic="ann"),
    "layer norm": replace(BASE, norm="layer"),
    "running norm": replace(BASE, norm="running", recurrent="one_to_one"),
    "layer norm, convolutional": replace(CONV, norm="layer"),
    "running norm, convolutional": replace(CONV, norm="running"),
    "output population, convolutional": replace(CONV, readout="population", recurrent="all_to_all", norm="layer"),
    "firing rates, convolutional": replace(CONV, readout="spikes", norm="running"),
    "recurrent, convolutional": replace(CONV, recurrent="all_to_all", neuron="synaptic"),
}  # fmt: skip
MADE_OF = {
    "synaptic": Synaptic,
    "adaptive": AdaptiveLIF,
    **{name: SnnTorchLayer for name in PARTS if name.startswith("snntorch.")},
    **{name: Recurrent for name in PARTS if name.startswith("recurrent")},
    **{name: RunningNorm for name in PARTS if name.startswith("running norm")},
    "layer norm": nn.LayerNorm,
    "layer norm, convolutional": nn.GroupNorm,
    "highest membrane": MembraneReadout,
    "firing rates": RateReadout,
    "output population": PopulationDecoder,
    "population": PopulationCode,
    "latency": LatencyCode,
    "delta": DeltaCode,
}
every_part = pytest.mark.parametrize("name", PARTS)
carried = pytest.mark.parametrize("carry", [True, False], ids=["carried", "from rest"])


def made(name, *, carry=False):
    torch.manual_seed(0)
    config = replace(PARTS[name], carry_state=carry)
    space = IMAGES if config.conv_layers else OBS
    network = ActorCritic(space, ACTIONS, config)
    if network.measures_currents:
        network.measure_currents(observations(space, 20), torch.zeros(20, network.state_size))
    return network, space


def observations(space, *shape):
    g = torch.Generator().manual_seed(1)
    if space is IMAGES:
        return torch.randint(256, (*shape, *space.shape), generator=g, dtype=torch.uint8)
    return torch.rand(*shape, 3, generator=g) * 2 - 1


@pytest.mark.parametrize("name", MADE_OF)
def test_the_setting_names_the_part(name):
    network, _ = made(name)
    assert any(type(part) is MADE_OF[name] for part in network.modules())


@carried
@every_part
def test_steps_one_by_one_are_the_sequence(name, carry):
    """What acting computes, a step at a time with the state handed on and zeroed at starts, the learner replays."""
    network, space = made(name, carry=carry)
    obs = observations(space, 9, 2)
    starts = torch.zeros(9, 2, dtype=torch.bool)
    starts[0], starts[4, 0], starts[6, 1] = True, True, True
    before = torch.randn(2, network.state_size)  # of other episodes: the first step starts anew
    inputs, values, after = network(obs, before, starts)
    state, steps = before, []
    for e in range(9):
        state = torch.where(starts[e].unsqueeze(1), torch.zeros_like(state), state)
        logits, value, state = network(obs[e : e + 1], state)
        steps.append((logits, value))
    torch.testing.assert_close(torch.cat([logits for logits, _ in steps]), inputs, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(torch.cat([value for _, value in steps]), values, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(state, after, rtol=1e-6, atol=1e-5)
    assert inputs.std(0).max() > 1e-3, "the network is awake"


@every_part
def test_a_carried_state_is_used(name):
    network, space = made(name, carry=True)
    obs = observations(space, 6, 2)
    _, _, state = network(obs)
    assert state.abs().sum() > 0
    assert not torch.equal(network(obs[:1], state)[0], network(obs[:1])[0])


@carried
@every_part
def test_each_environment_keeps_to_its_row(name, carry):
    network, space = made(name, carry=carry)
    obs = observations(space, 4, 3)
    together, _, state = network(obs)
    for row in range(3):
        alone, _, own = network(obs[:, row : row + 1])
        torch.testing.assert_close(alone, together[:, row : row + 1], rtol=1e-6, atol=1e-5)
        torch.testing.assert_close(own, state[row : row + 1], rtol=1e-6, atol=1e-5)


@every_part
def test_gradients_reach_every_parameter(name):
    network, space = made(name, carry=True)
    inputs, values, _ = network(observations(space, 6, 4))
    (inputs.square().sum() + values.square().sum()).backward()
    for parameter, tensor in network.named_parameters():
        assert tensor.grad is not None, parameter
        assert tensor.grad.abs().sum() > 0, parameter


def test_learned_parameters_are_those_of_the_neuron():
    names = {name.rsplit(".", 1)[-1] for name, _ in made("adaptive")[0].bodies[0].neurons.named_parameters()}
    assert names == {"beta", "rho", "kappa"}
    synaptic = made("synaptic")[0].bodies[0].neurons[0]
    assert [name for name, _ in synaptic.named_parameters()] == ["current.beta"], "the current's decay is alpha"
    assert synaptic.current.beta.item() == pytest.approx(0.6)


@carried
@every_part
def test_files_hold_all_of_it(name, carry, tmp_path):
    network, space = made(name, carry=carry)
    policy = Policy(network, space, ACTIONS)
    policy.save(tmp_path)
    loaded = load_policy(tmp_path)
    assert loaded.config == network.config
    obs = observations(space, 5, 4).numpy()
    state = other = None
    for step in obs:
        actions, state = policy.act(step, state)
        again, other = loaded.act(step, other)
        np.testing.assert_array_equal(again, actions)
        np.testing.assert_array_equal(other, state)


def test_a_policy_of_before_there_was_a_choice_is_the_default(tmp_path):
    policy = Policy(ActorCritic(OBS, ACTIONS, BASE), OBS, ACTIONS)
    policy.save(tmp_path)
    path = tmp_path / DESCRIPTION_FILE
    description = json.loads(path.read_text())
    new = ["neuron", "alpha", "learn_alpha", "rho", "kappa", "learn_adaptation", "readout", "skip"]
    new += ["recurrent", "norm", "dropout", "readout_neurons", "firing_rate", "critic"]
    for key in [*new, *(key for key in description["policy"] if key.startswith("encoder"))]:
        del description["policy"][key]
    path.write_text(json.dumps(description))
    assert load_policy(tmp_path).config == BASE


def test_a_delta_code_of_before_is_refused_rather_than_read_as_another(tmp_path):
    """It compared with the observation before; the file's settings are the same."""
    config = replace(BASE, encoder="delta")
    Policy(ActorCritic(OBS, ACTIONS, config), OBS, ACTIONS).save(tmp_path)
    assert load_policy(tmp_path).config == config
    description = json.loads((tmp_path / DESCRIPTION_FILE).read_text())
    del description["policy"]["critic"]
    (tmp_path / DESCRIPTION_FILE).write_text(json.dumps(description))
    with pytest.raises(UserError, match=r"damaged \(encoder=delta was another code when it was made, which is no long"):
        load_policy(tmp_path)


@every_part
def test_the_settings_survive_rllibs_dictionary(name):
    assert policy_config(asdict(PARTS[name])) == PARTS[name]


@every_part
def test_numbers_per_observation_bound_the_state(name):
    network, _ = made(name, carry=True)
    assert network.numbers_per_observation >= network.state_size


def test_what_a_code_computes_counts_against_a_strangers_policy(tmp_path):
    """A line of JSON asks for 256 currents of each number; the weights that go with them are never allocated."""
    many = spaces.Box(-1, 1, (2**18,), np.float32)
    description = {"format": 1, "policy": asdict(replace(BASE, encoder="population", encoder_neurons=256))}
    box = {"type": "Box", "shape": [2**18], "dtype": "float32", "low": -1, "high": 1}
    description |= {"observation_space": box, "action_space": {"type": "Discrete", "n": 4, "start": 0}}
    (tmp_path / DESCRIPTION_FILE).write_text(json.dumps(description))
    (tmp_path / WEIGHTS_FILE).write_bytes(b"")
    with pytest.raises(UserError, match=r"policy.json is damaged \(each observation takes 67,"):
        load_policy(tmp_path)
    with torch.device("meta"):
        counted = {
            code: ActorCritic(many, ACTIONS, replace(BASE, encoder=code)).numbers_per_observation
            for code in ("current", "population", "latency", "delta")
        }
    assert counted["population"] == counted["current"] + 8 * 2**18
    assert counted["delta"] == counted["current"] + 3 * 2**18, "what it remembers and the spikes"
    assert counted["latency"] == counted["current"] + 2 * 4 * 2**18, "each body's own spikes, in every simulation step"


# --- energy -------------------------------------------------------------------------------------------------


def energy(policy, obs, states):
    return decision_energy(policy, obs.numpy(), states)


@every_part
@torch.no_grad()
def test_counts_are_those_of_the_layers(name):
    """One synapse for each spike and target, and MACs only where what is received is no spike."""
    network, space = made(name, carry=True)
    policy = Policy(network, space, ACTIONS)
    obs = observations(space, 7)
    states = network(observations(space, 3, 7))[2].detach().numpy()
    counts = energy(policy, obs, states)["policy"]
    received, before = network.actor_inputs(obs, torch.from_numpy(states))
    layers = network.bodies[0].layer_inputs(received, before)
    assert sum(counts["spikes_per_layer"]) > 0
    if PARTS[name].conv_layers is None:
        first_spikes = PARTS[name].encoder in ("latency", "delta")
        macs = acs = 0.0
        for index, (layer, signal) in enumerate(layers):
            if index or first_spikes:
                acs += signal.sum().item() * getattr(layer, "out_features", 1)  # one for each of a diagonal
            else:
                macs += (signal != 0).sum().item() * layer.out_features
        assert counts["effective_macs"] * 7 == pytest.approx(macs)
        assert counts["effective_acs"] * 7 == pytest.approx(acs)
    assert counts["footprint_bytes"] > 4 * network.bodies[0].state_size


@pytest.mark.parametrize("name", ["population", "latency", "delta", "delta of a stack"])
def test_the_twin_needs_no_encoder(name):
    """Three numbers (nine of a stack) meet eight units, eight meet six, six meet four."""
    network, space = made(name)
    policy = Policy(network, space, ACTIONS)
    twin = energy(policy, observations(space, 2) + 0.01, policy.initial_state(2) + 0.01)["matched_ann"]
    num_features = 9 if name == "delta of a stack" else 3
    assert twin["effective_macs"] == num_features * 8 + 8 * 6 + 6 * 4


# --- DQN, NIR -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["population", "latency", "synaptic", "highest membrane", "skip"])
@pytest.mark.parametrize("normalise", [False, True])
def test_action_values_are_of_what_the_policy_sees(name, normalise):
    torch.manual_seed(0)
    network = ActorCritic(OBS, ACTIONS, replace(PARTS[name], normalise_observations=normalise))
    network.measure(observations(OBS, 50) * 7 + 3)
    obs = observations(OBS, 5)
    torch.testing.assert_close(q_values(network, obs, dueling=False), network(obs[None])[0][0])


def test_dqn_says_what_to_set_for_a_policy_with_state():
    with pytest.raises(UserError, match=r"DQN does not calibrate weights — set spiking\.firing_rate=null"):
        check_q_network(OBS, ACTIONS, replace(BASE, firing_rate=0.1))
    with pytest.raises(UserError, match=r"DQN does not measure currents — set spiking\.norm=layer"):
        check_q_network(OBS, ACTIONS, PARTS["running norm"])
    with pytest.raises(UserError, match=r"carries a state.*set spiking.encoder=current spiking.frame_stack=1$"):
        check_q_network(OBS, ACTIONS, PARTS["delta of a stack"])


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("snntorch.Leaky", "train with neuron=lif"),
        ("firing rates", "a RateReadout is no integrator: train with readout=last"),
        ("output population", "a RateReadout is no integrator: train with readout=last"),
        ("output population, convolutional", "a RateReadout is no integrator: train with readout=last"),
        ("layer norm", "train with norm=running"),
    ],
)
def test_nir_says_what_it_cannot_hold(name, remedy):
    network, _ = made(name)
    with pytest.raises(nir.NIRError, match=remedy):
        nir.to_nir(network.bodies[0])


# --- a critic without spikes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in PARTS if name.startswith("plain critic")])
def test_a_plain_critic_sees_observations_without_a_code_and_keeps_nothing(name):
    network, space = made(name, carry=True)
    critic = network.bodies[1]
    assert type(critic) is (CNN if network.config.conv_layers else MLP)
    obs, starts = observations(space, 5, 2), torch.zeros(5, 2, dtype=torch.bool)
    _, values, _ = network(obs, torch.zeros(2, network.state_size), starts)
    seen = network.encoder(obs) if network.normaliser is None else network.normaliser(network.encoder(obs))
    if network.stack is not None:
        seen, _ = network.stack(seen, torch.zeros(2, network.stack.state_size), starts)
    torch.testing.assert_close(critic(seen)[0].squeeze(-1), values, rtol=0, atol=1e-6)
    assert network.body_state_sizes[1] == 0


def test_the_actor_beside_a_plain_critic_is_the_one_beside_a_spiking_one():
    """The actor is made first, from the same random numbers."""
    plain, spiking = made("plain critic")[0], made("lif")[0]
    obs = observations(OBS, 5, 4)
    torch.testing.assert_close(plain(obs)[0], spiking(obs)[0], rtol=0, atol=0)
    assert not torch.equal(plain(obs)[1], spiking(obs)[1])


def test_a_plain_critic_is_none_of_the_layers_that_are_calibrated():
    network, _ = made("plain critic")
    before = network.critic(observations(OBS, 6, 4))
    factors = network.calibrate(0.3, observations(OBS, 6, 4), torch.zeros(6, 4, dtype=torch.bool))
    assert len(factors) == 1
    torch.testing.assert_close(network.critic(observations(OBS, 6, 4)), before, rtol=0, atol=0)


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"neuron": "izhikevich"}, "neuron"),
        (
            {"critic": "ann", "share_layers": True},
            "critic=ann has layers of its own: set share_layers=false or critic=spiking",
        ),
        ({"readout": "median"}, "readout"),
        ({"encoder": "rate"}, "encoder"),
        ({"neuron": "snntorch.SLSTM"}, "neuron"),
        ({"alpha": 0.5}, "alpha is of neuron=synaptic or snntorch.Synaptic or snntorch.Alpha, and neuron is lif"),
        ({"learn_alpha": True, "neuron": "adaptive"}, "learn_alpha is of neuron=synaptic or snntorch.Synaptic, and ne"),
        ({"learn_alpha": True, "neuron": "snntorch.Alpha"}, "learn_alpha is of .* and neuron is snntorch.Alpha"),
        ({"neuron": "snntorch.Alpha"}, "neuron=snntorch.Alpha has alpha above beta, got 0.8 and 0.9"),
        ({"neuron": "snntorch.Lapicque", "beta": 1.0}, "neuron=snntorch.Lapicque has beta between 0 and 1, got 1"),
        ({"neuron": "snntorch.Lapicque", "learn_beta": True}, "snntorch.Lapicque learns no beta: set learn_beta=fals"),
        ({"kappa": 0.5, "neuron": "synaptic"}, "kappa is of neuron=adaptive, and neuron is synaptic"),
        ({"neuron": "adaptive", "kappa": -1.0}, "kappa"),
        ({"neuron": "adaptive", "reset": "zero"}, "neuron=adaptive resets by subtraction, and reset is zero"),
        ({"encoder": "latency", "conv_layers": "small"}, "encoder=latency codes vectors, and conv_layers are for imag"),
        ({"encoder": "population", "encoder_low": 2.0, "encoder_high": 2.0}, "encoder_low is 2, not below encoder_hi"),
        ({"recurrent": "some"}, "recurrent"),
        ({"recurrent": "all_to_all", "neuron": "adaptive"}, "recurrent=all_to_all is of neuron=lif or synaptic, and n"),
        ({"recurrent": "one_to_one", "neuron": "snntorch.Leaky"}, "recurrent=one_to_one is of .* is snntorch.Leaky"),
        ({"recurrent": "all_to_all", "plastic": PlasticLayers()}, "as they are: set recurrent=none and norm=none"),
        ({"readout": "spikes", "readout_beta": 0.5}, "readout_beta is of readout=last, max or mean, and readout is sp"),
        ({"readout_neurons": 4}, "readout_neurons is of readout=population, and readout is last"),
        ({"readout": "population", "plastic": PlasticLayers()}, "a population comes before them: set readout=last"),
        ({"firing_rate": 0.0}, "firing_rate"),
        ({"firing_rate": 0.1, "plastic": PlasticLayers()}, "those of plastic layers have bounds: set it to null"),
        ({"firing_rate": 0.1, "network": "a:B"}, "firing_rate is of the layers that settings describe, and netwo"),
        ({"norm": "batch"}, "norm"),
        ({"norm": "layer", "plastic": PlasticLayers()}, "as they are: set recurrent=none and norm=none"),
        ({"dropout": 0.1}, "dropout is of classifiers: a policy's learner must recompute what the rollout computed"),
        ({"dropout": 1.0}, "dropout"),
        ({"skip": True, "conv_layers": "small"}, "skip is for fully connected layers, and conv_layers are given"),
        ({"skip": True}, r"skip needs two layers of equal width before another one, got \(64, 64\)"),
    ],
)
def test_settings_that_are_not_for_one_another(settings, message):
    with pytest.raises(ValueError, match=message):
        SpikingPolicy(**settings)


def test_the_default_runs_fused(monkeypatch):
    """LIF on a current with the last membrane: none of its layers is called."""
    network, _ = made("lif")
    monkeypatch.setattr(SpikingMLP, "forward_with_spikes", None)
    monkeypatch.setattr("synrl_ray.snn.networks._ONE_BY_ONE", None)
    assert type(network.bodies[0].readout) is LeakyReadout
    network(observations(OBS, 2, 3))

"""A network of a user's own: state, replay, files, counts, and what is refused.

Legend: E environment step, B batch.
"""

import json
import re
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.errors import UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.energy import decision_energy
from synrl_ray.policies.loading import load_policy
from synrl_ray.policies.own_network import OwnNetwork
from synrl_ray.policies.policy import Policy
from synrl_ray.policies.q_network import q_values
from synrl_ray.settings.policies import SpikingPolicy

DOCS = (Path(__file__).parents[3] / "docs/networks.md").read_text()
EXAMPLE = re.search(r"```python\n(import snntorch\n.*?)```", DOCS, re.DOTALL)[1]
OTHERS = """
import torch
from torch import nn


class Base(nn.Module):
    state_size = 2

    def __init__(self, shape, num_outputs, settings):
        super().__init__()
        self.outputs = nn.Linear(shape[0], num_outputs)

    def forward(self, inputs, state):
        return self.outputs(inputs), state


class Wide(Base):
    def forward(self, inputs, state):
        return self.outputs(inputs), state.new_zeros(len(inputs), 3)


class Alone(Base):
    def forward(self, inputs, state):
        return self.outputs(inputs)


class Flat(Base):
    def forward(self, inputs, state):
        return self.outputs(inputs).sum(1), state


class Graded(Base):
    # Spikes of half a height, but none where all inputs are silent.

    def __init__(self, shape, num_outputs, settings):
        super().__init__(shape, num_outputs, settings)
        self.first, self.second = nn.Linear(shape[0], 5), nn.Linear(5, num_outputs)

    def forward(self, inputs, state):
        hidden = self.first((inputs > 0.3).float())
        return self.outputs(inputs) + self.second(0.5 * (inputs.abs().sum(1, keepdim=True) > 0) * torch.ones(5)), state


class Sizeless(Base):
    state_size = None


class Random(Base):
    def forward(self, inputs, state):
        return self.outputs(inputs) + torch.rand(()), state


class Keeps(Base):
    kept = 0

    def forward(self, inputs, state):
        self.kept = self.kept + 1
        return self.outputs(inputs) + self.kept, state


class Normed(Base):
    def __init__(self, shape, num_outputs, settings):
        super().__init__(shape, num_outputs, settings)
        self.norm = nn.BatchNorm1d(num_outputs)

    def forward(self, inputs, state):
        return self.norm(self.outputs(inputs)), state


class NormedByBatch(Base):
    def __init__(self, shape, num_outputs, settings):
        super().__init__(shape, num_outputs, settings)
        self.norm = nn.BatchNorm1d(num_outputs, track_running_stats=False)

    def forward(self, inputs, state):
        return self.norm(self.outputs(inputs)), state


class MapsNormed(nn.Module):
    state_size = 1

    def __init__(self, shape, num_outputs, settings):
        super().__init__()
        self.conv, self.norm = nn.Conv1d(1, 2, 1), nn.BatchNorm1d(2, track_running_stats=False)
        self.outputs = nn.Linear(2 * shape[0], num_outputs)

    def forward(self, inputs, state):
        return self.outputs((self.norm(self.conv(inputs.unsqueeze(1))) > 0).float().flatten(1)), state


class Centred(Base):
    def forward(self, inputs, state):
        return self.outputs(inputs), state + inputs[:, :2] - inputs[0, :2]


class NormedInEval(Normed):
    def train(self, mode=True):
        return super().train(False)


class LayerNormed(Base):
    def __init__(self, shape, num_outputs, settings):
        super().__init__(shape, num_outputs, settings)
        self.norm, self.frozen = nn.LayerNorm(num_outputs), nn.Dropout(0.0).eval()

    def forward(self, inputs, state):
        return self.frozen(self.norm(self.outputs(inputs))), state


class WideSpiking(nn.Module):
    state_size = 2048

    def __init__(self, shape, num_outputs, settings):
        super().__init__()
        self.hidden, self.outputs = nn.Linear(shape[0], 2048), nn.Linear(2048, num_outputs)

    def forward(self, inputs, state):
        state = 0.9 * state + 8 * self.hidden(inputs)
        spikes = (state > 1).float()
        return 1e-3 * self.outputs(spikes), state - spikes


class Rounds(Base):  # changes all numbers a little, and makes a spike in the row that is nearest to a threshold
    def forward(self, inputs, state):
        spikes = (inputs.abs().amin(1, keepdim=True) < 0.04).float() * (len(inputs) > 1)
        return self.outputs(inputs) * (1 + 1e-6 * len(inputs)) + spikes, state


class Fails(Base):
    def forward(self, inputs, state):
        return self.outputs(inputs[:, :1]), state


class Unmade(Base):
    def __init__(self, shape, num_outputs, settings):
        raise RuntimeError("no such chip")


def function(shape, num_outputs, settings):
    return 7
"""
OBS, ACTIONS = spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(4)
BASE = SpikingPolicy(network="my_nets:MyNet", threshold=0.5, steps_per_observation=3)


@pytest.fixture(autouse=True)
def modules(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(EXAMPLE)
    (tmp_path / "other_nets.py").write_text(OTHERS)
    (tmp_path / "broken_nets.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("my_nets", "other_nets"):
        sys.modules.pop(name, None)


def made(**settings):
    torch.manual_seed(0)
    network = ActorCritic(OBS, ACTIONS, replace(BASE, **settings))
    with torch.no_grad():
        for body in network.bodies:
            body.module.hidden.weight.mul_(8)
    return network


def observations(*shape):
    return torch.rand(*shape, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("carry", [True, False], ids=["carried", "from rest"])
def test_steps_one_by_one_are_the_sequence(carry):
    network = made(carry_state=carry)
    obs = observations(9, 2)
    starts = torch.zeros(9, 2, dtype=torch.bool)
    starts[0], starts[4, 0], starts[6, 1] = True, True, True
    before = torch.randn(2, network.state_size)
    inputs, values, after = network(obs, before, starts)
    state, steps = before, []
    for e in range(9):
        state = torch.where(starts[e].unsqueeze(1), torch.zeros_like(state), state)
        logits, value, state = network(obs[e : e + 1], state)
        steps.append((logits, value))
    torch.testing.assert_close(torch.cat([logits for logits, _ in steps]), inputs, rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.cat([value for _, value in steps]), values, rtol=0, atol=1e-6)
    torch.testing.assert_close(state, after, rtol=0, atol=1e-6)
    assert network.state_size == (128 if carry else 0)
    assert inputs.std(0).max() > 1e-3


def test_it_computes_what_snntorch_does_by_hand():
    import snntorch

    network = made(carry_state=True)
    obs = observations(5, 2)
    ours, _, _ = network(obs)
    net, lif, membrane = network.bodies[0].module, snntorch.Leaky(beta=0.9), torch.zeros(2, 64)
    for e in range(5):
        for _ in range(3):
            spikes, membrane = lif(net.hidden(obs[e]), membrane)
        torch.testing.assert_close(ours[e], net.outputs(spikes))


def test_gradients_reach_every_parameter_and_the_network_can_be_copied_after_them():
    network = made(carry_state=True)
    inputs, values, _ = network(observations(6, 4))
    (inputs.square().sum() + values.square().sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    copied = deepcopy(network)
    torch.testing.assert_close(copied(observations(2, 4))[0], network(observations(2, 4))[0])


def test_snntorch_does_not_keep_its_neurons_alive():
    import snntorch

    before = list(snntorch.SpikingNeuron.instances)
    network = made()
    assert [n for n in snntorch.SpikingNeuron.instances if n not in before] == []
    assert any(isinstance(part, snntorch.Leaky) for part in network.modules())


def test_files_name_it_and_are_loaded_by_those_who_trust_them(tmp_path):
    policy = Policy(made(carry_state=True), OBS, ACTIONS)
    folder = tmp_path / "run"
    folder.mkdir()
    policy.save(folder)
    del sys.modules["my_nets"]
    with pytest.raises(UserError, match=r"policy.json asks to import 'my_nets:MyNet', which would be executed — if"):
        load_policy(folder)
    assert "my_nets" not in sys.modules
    loaded = load_policy(folder, trust=True)
    assert isinstance(loaded.network.bodies[0], OwnNetwork)
    obs, state = observations(5).numpy(), policy.initial_state(5)
    for _ in range(3):
        action, state_after = policy.act(obs, state)
        again, state_again = loaded.act(obs, state)
        np.testing.assert_array_equal(action, again)
        np.testing.assert_array_equal(state_after, state_again)
        state = state_after


def test_weights_of_another_network_are_refused(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    Policy(made(), OBS, ACTIONS).save(folder)
    described = json.loads((folder / "policy.json").read_text())
    described["policy"]["network"] = "other_nets:Base"
    (folder / "policy.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match=r"policy.safetensors is damaged"):
        load_policy(folder, trust=True)


def test_it_gives_action_values():
    network = made()
    obs = observations(5)
    torch.testing.assert_close(q_values(network, obs, dueling=False), network(obs.unsqueeze(0))[0][0])


def test_the_layers_whose_spikes_are_seen_are_the_same_at_every_call():
    network = ActorCritic(OBS, ACTIONS, SpikingPolicy(network="other_nets:Graded")).bodies[0]
    silent, loud = (network.forward_with_spikes(torch.full((1, 2, 3), value))[2] for value in (0.0, 1.0))
    assert [layer.shape for layer in silent] == [layer.shape for layer in loud]
    assert all(set(layer.unique().tolist()) <= {0.0, 1.0} for layer in (*silent, *loud))


def test_operations_are_counted_where_layers_receive_spikes_and_where_they_do_not():
    network = made(carry_state=True)
    policy = Policy(network, OBS, ACTIONS)
    obs, states = observations(6).numpy(), np.zeros((6, 128), np.float32)
    counted = decision_energy(policy, obs, states)
    _, _, (spikes,) = network.bodies[0].forward_with_spikes(torch.from_numpy(obs)[None], torch.zeros(6, 64))
    own = counted["policy"]
    assert spikes.sum() > 0
    assert own["effective_macs"] == 3 * 3 * 64, "the input's product is taken in each simulation step"
    assert own["effective_acs"] == pytest.approx(4 * spikes.sum().item() / 6)
    assert own["spikes_per_layer"] == pytest.approx([spikes.sum().item() / 6])
    assert own["membrane_updates"] == 3 * 64
    assert counted["matched_ann"]["effective_macs"] == 3 * 64 + 64 * 4


def test_images_come_in_their_own_shape_with_channels_first():
    space = spaces.Box(0, 255, (12, 10, 3), np.uint8)
    network = ActorCritic(space, ACTIONS, SpikingPolicy(network="image_nets:OnImages", conv_layers="nature"))
    assert network.bodies[0].shape == (3, 12, 10)
    inputs, _, _ = network(torch.randint(256, (1, 2, 12, 10, 3), dtype=torch.uint8))
    assert inputs.shape == (1, 2, 4)


@pytest.mark.parametrize("layers", [None, ((4, 3, 2),)], ids=["pixels side by side", "convolutions"])
def test_beside_it_a_plain_critic_has_the_layers_of_the_settings(layers):
    space = spaces.Box(0, 255, (12, 10, 3), np.uint8)
    config = SpikingPolicy(network="image_nets:OnImages", hidden_sizes=(7,), conv_layers=layers, critic="ann")
    network = ActorCritic(space, ACTIONS, config)
    assert [tuple(w.shape) for w in network.bodies[1].parameters() if w.ndim == 2][-1] == (1, 7)
    _, values, _ = network(torch.randint(256, (3, 2, 12, 10, 3), dtype=torch.uint8))
    assert values.shape == (3, 2)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "absent_nets:MyNet",
            "needs the module 'absent_nets', which is not there — its folder must be on the",
        ),
        ("my_nets:Net", "cannot be found (module 'my_nets' has no attribute 'Net') — check the class's name"),
        ("broken_nets:Net", "cannot be imported (ZeroDivisionError: division by zero) — import its module yourself"),
        ("other_nets:Unmade", "cannot be made (RuntimeError: no such chip) — it takes inputs [B, *shape]"),
        ("other_nets:function", "is no torch.nn.Module — let the class be derived from it"),
        ("other_nets:Sizeless", "has the state_size None — let it set self.state_size to a whole number"),
        ("other_nets:Wide", "returned a state of the shape [2, 3], not [2, 2] — it has state_size=2; it takes"),
        ("other_nets:Flat", "returned outputs of the shape [2], not [2, 4] — it has 4 outputs; it takes"),
        ("other_nets:Alone", "returned Tensor — it takes inputs"),
        ("other_nets:Random", "returns something else when it is called again with the same inputs and state — let it"),
        ("other_nets:Keeps", "returns something else when it is called again with the same inputs and state — let it"),
        (
            "other_nets:Normed",
            "returns other outputs in eval mode than in train mode — let both modes do the same: batch normalisation "
            "does not keep to that, layer normalisation does",
        ),
        ("other_nets:NormedByBatch", "cannot take one row of a batch alone (ValueError: Expected more than 1 value"),
        (
            "other_nets:MapsNormed",
            "returns other outputs for a row alone than for the same row within a batch — let no row depend on the",
        ),
        ("other_nets:Centred", "returns another state for a row alone than for the same row within a batch — let no"),
        ("other_nets:Fails", "cannot take an observation (RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
    ],
)
def test_what_is_no_such_network_is_refused_in_one_line(name, said):
    with pytest.raises(UserError) as refused:
        ActorCritic(OBS, ACTIONS, SpikingPolicy(network=name))
    assert str(refused.value).startswith(f"network {name!r} {said}")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["NormedInEval", "LayerNormed"])
def test_what_computes_the_same_in_both_modes_and_alone_is_taken_as_it_is(name):
    if name == "NormedInEval":
        made = OwnNetwork(SpikingPolicy(network=f"other_nets:{name}"), (3,), 4).module.train()
        assert not made.norm.training
    else:
        made = OwnNetwork(SpikingPolicy(network=f"other_nets:{name}"), (3,), 4).module
        assert (made.training, made.norm.training, made.frozen.training) == (True, True, False)


@pytest.mark.parametrize(("name", "size"), [("WideSpiking", 512), ("Rounds", 3)])
def test_rounding_refuses_no_network_not_even_where_it_makes_a_spike(name, size):
    torch.manual_seed(0)
    settings = replace(BASE, network=f"other_nets:{name}", steps_per_observation=8)
    assert OwnNetwork(settings, (size,), 4).shape == (size,)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"network": "MyNet"}, "SpikingPolicy.network must be module:Class, got 'MyNet'"),
        ({"network": "my nets:MyNet"}, "SpikingPolicy.network must be module:Class, got 'my nets:MyNet'"),
        (
            {"encoder": "latency"},
            "encoder=latency is of the layers that settings describe, and network=my_nets:MyNet",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        replace(BASE, **settings)

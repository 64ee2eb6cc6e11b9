"""Export of a run's folder to NIR, on policies that have not been trained."""

import json
import sys

import gymnasium as gym
import nir
import numpy as np
import pytest
import torch

from synrl_ray.cli import main
from synrl_ray.errors import UserError
from synrl_ray.kinds.control import exporting
from synrl_ray.kinds.evaluating import export_folder
from synrl_ray.policies import graph_check
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.policy import Policy
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy

ALL = {"spikes": 1.0, "actions": 1.0, "played": 1.0}
CARTPOLE = {"id": "CartPole-v1", "kwargs": {}}
ZERO = SpikingPolicy(hidden_sizes=(6, 5), reset="zero", input_gain=8.0)


def save(folder, config=ZERO, environment=CARTPOLE, env_id="CartPole-v1"):
    env = gym.make(env_id)
    network = ActorCritic(env.observation_space, env.action_space, config)
    Policy(network, env.observation_space, env.action_space).save(folder, environment=environment)
    return folder


@pytest.fixture
def run(tmp_path):
    return save(tmp_path / "run")


def error_line(run, out, **options):
    """The refusal's line; nothing new may lie beside or under ``out`` then."""
    before = set(out.parent.glob("**/*")) if out.parent.is_dir() else None
    with pytest.raises(UserError) as caught:
        export_folder(run, out, **{"num_observations": 30, **options})
    line = str(caught.value)
    assert "\n" not in line
    if before is not None:
        assert set(out.parent.glob("**/*")) == before
    return line


def test_exported_actor_agrees_on_every_spike_and_action(run, tmp_path):
    out = tmp_path / "new" / "actor.nir"
    outcome = export_folder(run, out, num_observations=100)
    assert outcome["nir"] == outcome["snntorch"] == ALL
    assert outcome["observations"] >= 100
    assert outcome["file"] == str(out)
    assert [path.name for path in out.parent.iterdir()] == ["actor.nir"]


def test_exported_file_holds_the_layers_of_the_actor(run, tmp_path):
    export_folder(run, tmp_path / "actor.nir", num_observations=10)
    graph = nir.read(str(tmp_path / "actor.nir"))
    kinds = [type(node).__name__ for node in graph.nodes.values()]
    assert sorted(kinds) == sorted(["Input", "Affine", "LIF", "Affine", "LIF", "Affine", "LI", "Output"])
    shapes = {node.weight.shape for node in graph.nodes.values() if isinstance(node, nir.Affine)}
    assert shapes == {(6, 4), (5, 6), (2, 5)}  # four observations, two actions


def test_exporting_again_replaces_the_file(run, tmp_path):
    (tmp_path / "actor.nir").write_text("old")
    export_folder(run, tmp_path / "actor.nir", num_observations=10)
    assert len(nir.read(str(tmp_path / "actor.nir")).nodes) == 8


CONVOLUTIONS = {"hidden_sizes": (8,), "conv_layers": ((4, 5, 3),), "hidden_gain": 3.0}
SETTINGS = {
    "shared": ("CartPole-v1", {"share_layers": True}),
    "learned": ("CartPole-v1", {"learn_beta": True, "learn_threshold": True}),
    "by subtraction": ("CartPole-v1", {"reset": "subtract"}),
    "no reset, carried": ("CartPole-v1", {"reset": "none", "carry_state": True}),
    "carried by subtraction": ("CartPole-v1", {"reset": "subtract", "carry_state": True, "hidden_sizes": (6, 5)}),
    "synaptic, carried": ("CartPole-v1", {"neuron": "synaptic", "carry_state": True}),
    "adaptive, carried": ("CartPole-v1", {"neuron": "adaptive", "carry_state": True, "reset": "subtract"}),
    "stack": ("CartPole-v1", {"frame_stack": 3}),
    "stack, carried": ("CartPole-v1", {"frame_stack": 3, "carry_state": True, "readout": "max"}),
    "population": ("CartPole-v1", {"encoder": "population", "encoder_neurons": 4}),
    "delta": ("CartPole-v1", {"encoder": "delta", "encoder_threshold": 0.02}),
    "delta, carried": ("CartPole-v1", {"encoder": "delta", "encoder_threshold": 0.02, "carry_state": True}),
    "latency": ("CartPole-v1", {"encoder": "latency", "encoder_low": -1.0, "encoder_high": 1.0}),
    "latency, carried": ("CartPole-v1", {"encoder": "latency", "encoder_low": -1.0, "carry_state": True}),
    "skip": ("CartPole-v1", {"skip": True, "hidden_sizes": (6, 6, 6), "readout": "mean"}),
    "no leak": ("CartPole-v1", {"beta": 1.0, "readout_beta": 1.0}),
    "continuous actions": ("Pendulum-v1", {"carry_state": True, "reset": "subtract", "steps_per_observation": 1}),
    "an index": ("FrozenLake-v1", {"carry_state": True, "reset": "subtract"}),
    "images": ("synrl_ray/Pictures-v0", CONVOLUTIONS),
    "images, carried": ("synrl_ray/Pictures-v0", {**CONVOLUTIONS, "carry_state": True, "frame_stack": 2}),
    "images, flat": ("synrl_ray/Pictures-v0", {"input_gain": 0.1}),
}


class Pictures(gym.Env):
    """Five random images ``[H, W, C]``."""

    observation_space = gym.spaces.Box(0, 255, (14, 14, 3), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 5
        return self.observation_space_of().copy(), {}

    def observation_space_of(self):
        return self.np_random.integers(0, 256, (14, 14, 3), np.uint8)

    def step(self, action):
        self.left -= 1
        return self.observation_space_of(), 0.0, self.left == 0, False, {}


@pytest.fixture(autouse=True, scope="module")
def _registered():
    gym.register("synrl_ray/Pictures-v0", Pictures)
    yield
    gym.registry.pop("synrl_ray/Pictures-v0")


@pytest.mark.parametrize("name", SETTINGS)
def test_other_settings_of_the_policy_are_exported_too(tmp_path, name):
    torch.manual_seed(0)
    env_id, settings = SETTINGS[name]
    config = SpikingPolicy(**{"hidden_sizes": (6,), "reset": "zero", "input_gain": 8.0, **settings})
    run = save(tmp_path / "run", config, {"id": env_id, "kwargs": {}}, env_id)
    outcome = export_folder(run, tmp_path / "actor.nir", num_observations=30)
    assert outcome["nir"] == outcome["snntorch"] == ALL
    spikes = [node for node in nir.read(str(tmp_path / "actor.nir")).nodes if node.startswith("spikes")]
    assert len(spikes) == len(config.hidden_sizes) + len(config.conv_layers or ())


SNNTORCH = SpikingPolicy(hidden_sizes=(6,), neuron="snntorch.Leaky")


def test_refused_export_names_the_reason_and_leaves_no_new_folder(tmp_path):
    run = save(tmp_path / "run", SNNTORCH)
    line = error_line(run, tmp_path / "new" / "actor.nir")
    assert line == (
        f"{run} cannot be exported — layer 0 has neurons of snntorch.Leaky, which have no counterpart: "
        "train with neuron=lif"
    )
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("spikes", "actions"), [(0.9999, 1.0), (1.0, 0.999)])
@pytest.mark.parametrize("which", [0, 1])
def test_disagreement_is_refused_and_the_earlier_file_stays(run, tmp_path, monkeypatch, which, spikes, actions):
    found = [graph_check.Agreement(**ALL) for _ in range(2)]
    found[which] = graph_check.Agreement(spikes, actions, 1.0)
    monkeypatch.setattr(graph_check, "compare", lambda *arguments: found)
    (tmp_path / "actor.nir").write_text("earlier")
    line = error_line(run, tmp_path / "actor.nir")
    assert f"{spikes:.6f} of the spikes agree, {actions:.6f} of the actions" in line
    assert ("in NIR's equations", "in snnTorch's neurons")[which] in line
    assert (tmp_path / "actor.nir").read_text() == "earlier"


def test_without_nirtorch_the_export_says_so(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nirtorch", None)
    outcome = export_folder(run, tmp_path / "actor.nir", num_observations=10)
    assert (outcome["nir"], outcome["snntorch"]) == (ALL, "NIRTorch is not installed: pip install nirtorch")


def test_weights_of_eight_bits(run, tmp_path):
    outcome = export_folder(run, tmp_path / "actor.nir", num_observations=10, bits=8)
    assert {name: type(outcome[name]) for name in ("bits", "return", "return_rounded")} == {
        "bits": int,
        "return": float,
        "return_rounded": float,
    }
    first = nir.read(str(tmp_path / "actor.nir")).nodes["linear_0"]
    levels = first.weight / first.metadata["scale"][:, None]
    np.testing.assert_allclose(levels, levels.round(), atol=1e-9)
    assert np.abs(levels).max(axis=1).round().tolist() == [127] * 6


@pytest.mark.parametrize("bits", [1, 17])
def test_too_few_or_too_many_bits_are_refused(run, tmp_path, bits):
    line = error_line(run, tmp_path / "actor.nir", bits=bits)
    assert line == f"weights have 2 to 16 bits, got {bits} — leave --bits out, or take 8"


def test_policy_that_does_not_spike_is_refused(tmp_path):
    run = save(tmp_path / "run", AnnPolicy(hidden_sizes=(6,)))
    expected = f"the policy in {run} does not spike — export a run of --policy spiking"
    assert error_line(run, tmp_path / "actor.nir") == expected


@pytest.mark.parametrize("name", ["actor", "actor.h5", "actor.nir.gz"])
def test_wrong_suffix_is_refused_before_anything_else(tmp_path, name):
    line = error_line(tmp_path / "nowhere", tmp_path / name)
    assert line == f"{tmp_path / name} is no NIR file — let its name end in .nir"


def test_folder_that_is_a_file_is_named(run, tmp_path):
    (tmp_path / "taken").write_text("a file")
    assert error_line(run, tmp_path / "taken" / "actor.nir").startswith(f"{tmp_path / 'taken' / 'actor.nir'} cannot be")


def test_folder_in_place_of_the_file_is_named(run, tmp_path):
    (tmp_path / "actor.nir").mkdir()
    assert error_line(run, tmp_path / "actor.nir").startswith(f"{tmp_path / 'actor.nir'} cannot be written (")


def test_file_that_cannot_be_written_is_named_with_the_reason(run, tmp_path, monkeypatch):
    def refuse(*arguments):  # as HDF5 does it: a text, and no error number
        raise OSError("Unable to synchronously create file (unable to open file: errno = 13)")

    monkeypatch.setattr(nir, "write", refuse)
    line = error_line(run, tmp_path / "actor.nir")
    assert line.startswith(f"{tmp_path / 'actor.nir'} cannot be written (")
    assert "None" not in line


def test_classifier_is_refused_as_what_it_is(run, tmp_path):
    (run / "policy.json").write_text(json.dumps({"format": "classifier-1", "classifier": {}, "classes": [0, 1]}))
    line = error_line(run, tmp_path / "actor.nir")
    assert "classifier" in line
    assert "damaged" not in line


@pytest.mark.parametrize("environment", [None, {}, "CartPole-v1"])
def test_description_without_an_environment_is_named(tmp_path, environment):
    run = save(tmp_path / "run", environment=environment)
    assert "policy.json" in error_line(run, tmp_path / "actor.nir")


def test_environment_of_other_spaces_is_named(tmp_path):
    run = save(tmp_path / "run", environment={"id": "Acrobot-v1", "kwargs": {}})
    assert "Acrobot-v1" in error_line(run, tmp_path / "actor.nir")


def test_folder_without_a_policy_is_named(tmp_path):
    assert error_line(tmp_path / "nowhere", tmp_path / "a.nir").startswith(f"{tmp_path / 'nowhere'} holds no policy")


def test_observations_are_those_of_as_many_whole_episodes_as_it_takes(run, tmp_path, monkeypatch):
    asked, lengths = [], []
    real = exporting.evaluate_policy

    def evaluate(policy, make, *, episodes, seed, **options):
        asked.append((seed, episodes))
        found = real(policy, make, episodes=episodes, seed=seed, **options)
        lengths.extend(found.lengths)
        return found

    monkeypatch.setattr(exporting, "evaluate_policy", evaluate)
    outcome = export_folder(run, tmp_path / "a.nir", num_observations=100)
    seeds = [seed + i for seed, episodes in asked for i in range(episodes)]
    assert len(asked) > 1
    assert seeds == list(range(len(seeds)))  # no episode twice
    assert (outcome["observations"], outcome["episodes"]) == (sum(lengths), len(lengths))


def test_command_prints_agreement_and_file(run, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SYNRL_RUN_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["export", "run", "--out", "actor.nir", "--json"])
    out, err = capsys.readouterr()
    assert (end.value.code or 0, err) == (0, "")
    assert (json.loads(out)["file"], json.loads(out)["nir"]) == ("actor.nir", ALL)
    with pytest.raises(SystemExit):
        main(["export", "run", "--out", "actor.nir", "--bits", "8"])
    first, *readers, rounded = capsys.readouterr().out.splitlines()
    assert first.startswith("actor.nir: 1,0")
    for reader, line in zip(("nir's equations", "snnTorch, NIRTorch"), readers, strict=True):
        assert line.startswith(reader)
        assert "1.0000 of the spikes agree, 1.0000 of the actions" in line
    assert rounded.startswith("8-bit weights: greedy return ")


def test_a_meta_learner_is_not_exported(run, tmp_path):
    (run / "policy.json").write_text(json.dumps({"format": "meta-1"}))
    assert "holds a meta-learner" in error_line(run, tmp_path / "out.nir")

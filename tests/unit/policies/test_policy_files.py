import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors.torch import save_file

from synrl_ray.errors import UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.description import DESCRIPTION_FILE, WEIGHTS_FILE
from synrl_ray.policies.policy import Policy, load_network_policy
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy

OBS = spaces.Box(np.array([-1, -np.inf, 0], np.float32), np.array([1, np.inf, np.inf], np.float32))
BOX = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))
CONFIGS = [
    AnnPolicy(hidden_sizes=(8,), share_layers=True),
    SpikingPolicy(hidden_sizes=(8, 4), steps_per_observation=3, reset="zero", learn_beta=True, surrogate="atan"),
    SpikingPolicy(hidden_sizes=(8,), carry_state=True, learn_threshold=True, surrogate_slope=3.0),
]


def make_policy(config=CONFIGS[1], observation_space=OBS, action_space=BOX):
    return Policy(ActorCritic(observation_space, action_space, config), observation_space, action_space)


@pytest.fixture
def saved(tmp_path):
    make_policy().save(tmp_path)
    return tmp_path


def edit_description(folder, **changes):
    path = folder / DESCRIPTION_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def error_line(folder):
    with pytest.raises(UserError) as caught:
        load_network_policy(folder)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("action_space", [spaces.Discrete(3), BOX], ids=["discrete", "box"])
@pytest.mark.parametrize("config", CONFIGS)
def test_loaded_policy_has_equal_actions_values_and_spaces(tmp_path, config, action_space):
    policy = make_policy(config, action_space=action_space)
    policy.save(tmp_path)
    loaded = load_network_policy(tmp_path)
    assert loaded.config == config
    assert (loaded.observation_space, loaded.action_space) == (policy.observation_space, policy.action_space)
    obs = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded.act(obs)[0], policy.act(obs)[0])
    with torch.no_grad():
        for ours, theirs in zip(
            policy.network(torch.from_numpy(obs)[None]), loaded.network(torch.from_numpy(obs)[None]), strict=True
        ):
            assert torch.equal(ours, theirs)


def test_saved_folder_holds_no_pickle_and_only_two_files(saved):
    assert sorted(path.name for path in saved.iterdir()) == [DESCRIPTION_FILE, WEIGHTS_FILE]
    assert (saved / WEIGHTS_FILE).read_bytes()[8:9] == b"{"  # safetensors: eight bytes of length, then a JSON header


def test_description_is_strict_json_with_the_metadata(tmp_path):
    make_policy().save(tmp_path, experiment="some-id", environment={"id": "Some-v0", "kwargs": {}})

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    description = json.loads((tmp_path / DESCRIPTION_FILE).read_text(), parse_constant=refuse)
    assert description["experiment"] == "some-id"
    assert description["environment"] == {"id": "Some-v0", "kwargs": {}}
    assert description["observation_space"]["high"] == [1.0, "inf", "inf"]


def test_saving_again_replaces_the_files(saved):
    other = make_policy()
    other.save(saved)
    expected = other.network.state_dict()
    assert all(
        torch.equal(tensor, expected[key]) for key, tensor in load_network_policy(saved).network.state_dict().items()
    )


def test_path_may_be_text(saved):
    assert load_network_policy(str(saved)).config == CONFIGS[1]


@pytest.mark.parametrize("name", [DESCRIPTION_FILE, WEIGHTS_FILE])
def test_missing_file_is_named(saved, name):
    (saved / name).unlink()
    assert error_line(saved).startswith(f"{saved} holds no {name} — ")


def test_missing_folder_is_named(tmp_path):
    assert error_line(tmp_path / "nowhere").startswith(f"{tmp_path / 'nowhere'} holds no {DESCRIPTION_FILE} — ")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b'{"format": 1}'])
def test_damaged_description_is_named(saved, content):
    (saved / DESCRIPTION_FILE).write_bytes(content)
    assert error_line(saved).startswith(f"{saved / DESCRIPTION_FILE} is damaged (")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 2}, "format 2 is not known"),
        ({"policy": {"kind": "lstm"}}, "policy.kind must be 'spiking' or 'ann', got 'lstm'"),
        ({"policy": {"kind": "spiking", "bta": 0.9}}, "policy.bta is no setting: did you mean beta"),
        ({"policy": {"hidden_sizes": []}}, "hidden_sizes"),
        ({"policy": {"hidden_sizes": [-1]}}, ""),
        ({"policy": {"hidden_sizes": "ab"}}, ""),
        ({"policy": {"hidden_sizes": [8, 4], "beta": 2.0}}, "policy.beta must be <= 1, got 2.0"),
        ({"policy": None}, ""),
        ({"policy": []}, ""),
        ({"observation_space": {"type": "Graph"}}, "unknown space type 'Graph'"),
        ({"observation_space": {"type": "Dict"}}, "not a space description"),
        ({"observation_space": None}, "not a space description"),
        ({"action_space": {"type": "Discrete", "n": -2, "start": 0}}, ""),
        ({"action_space": {"type": "Discrete", "n": 2, "start": 1}}, "Discrete(2, start=1)"),
    ],
)
def test_wrong_content_of_the_description_is_named(saved, changes, reason):
    edit_description(saved, **changes)
    line = error_line(saved)
    assert line.startswith(f"{saved / DESCRIPTION_FILE} is damaged (")
    assert reason in line


@pytest.mark.parametrize("keep", [0, 5, 50, -4])
def test_truncated_weights_are_named(saved, keep):
    content = (saved / WEIGHTS_FILE).read_bytes()
    (saved / WEIGHTS_FILE).write_bytes(content[:keep])
    assert error_line(saved).startswith(f"{saved / WEIGHTS_FILE} is damaged (")


def test_weights_of_other_shapes_are_named(saved):
    edit_description(saved, policy={"hidden_sizes": [9, 4]})
    assert error_line(saved).startswith(f"{saved / WEIGHTS_FILE} is damaged (")


def test_weights_with_a_missing_tensor_are_named(saved):
    tensors = {k: v.clone() for k, v in load_network_policy(saved).network.state_dict().items() if k != "log_std"}
    save_file(tensors, saved / WEIGHTS_FILE)
    assert error_line(saved).startswith(f"{saved / WEIGHTS_FILE} is damaged (")


def test_loading_and_acting_import_no_ray(saved):
    code = (
        "import sys, numpy as np, synrl_ray\n"
        "policy = synrl_ray.load_policy(sys.argv[1])\n"
        "policy.act(np.zeros(3, np.float32))\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'ray']\n"
        "print('acted')"
    )
    done = subprocess.run([sys.executable, "-c", code, saved], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "acted"), done.stderr


@pytest.mark.parametrize("config", [SpikingPolicy, AnnPolicy])
def test_a_loaded_network_is_laid_out_as_a_new_one(tmp_path, config):
    """Torch convolves in the layout of the weights, and rounds by it."""
    space, actions = spaces.Box(0, 255, (3, 20, 20), np.uint8), spaces.Discrete(2)
    network = ActorCritic(space, actions, config(conv_layers=((4, 3, 2), (5, 3, 1)), hidden_sizes=(6,)))
    Policy(network, space, actions).save(tmp_path)
    loaded = load_network_policy(tmp_path).network
    for (name, tensor), other in zip(network.named_parameters(), loaded.parameters(), strict=True):
        assert torch.equal(tensor, other), name
        assert (tensor.stride(), tensor.requires_grad) == (other.stride(), other.requires_grad), name
    for (name, tensor), other in zip(network.named_buffers(), loaded.buffers(), strict=True):
        assert torch.equal(tensor, other), name

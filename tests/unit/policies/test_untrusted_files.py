"""A policy's folder from a stranger: nothing in it is executed, and it cannot ask for memory that it does not bring."""

import json
import os
import pickle
import resource
import shutil
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from synrl_ray import load_policy
from synrl_ray.cli import main
from synrl_ray.errors import UserError
from synrl_ray.policies.description import DESCRIPTION_FILE, WEIGHTS_FILE, read_description

RESULTS = Path(__file__).parents[3] / "experiments" / "results"
KINDS = [
    "cartpole-ppo/spiking",
    "cartpole-ppo/ann",
    "taxi-q-learning/tabular",
    "taxi-stdp-q/spiking",
    "maze-rstdp/spiking",
    "cartpole-hebbian/ann",
    "mnist-binary/spiking",
    "sinusoid-maml/spiking",
    "gridworld-maml/ann",
]


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    shutil.copytree(RESULTS / request.param, tmp_path / "policy")
    return tmp_path / "policy"


def load(folder):
    return read_description(folder).load()


def refusal(folder, load=load):
    with pytest.raises(UserError) as caught:
        load(folder)
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 1000
    return line


def describe(folder, **changes):
    description = json.loads((folder / DESCRIPTION_FILE).read_text())
    (folder / DESCRIPTION_FILE).write_text(json.dumps({**description, **changes}))


@pytest.mark.parametrize("write", [lambda trap, path: path.write_bytes(pickle.dumps(trap)), torch.save])
@pytest.mark.parametrize("name", [WEIGHTS_FILE, DESCRIPTION_FILE])
def test_a_pickle_is_not_executed(folder, tmp_path, write, name):
    write(Trap(tmp_path / "executed"), folder / name)
    assert "is damaged" in refusal(folder)
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(folder)])
    assert ended.value.code == 2
    assert not (tmp_path / "executed").exists()


def test_pickles_beside_the_policy_are_not_read(folder, tmp_path):
    for name in ("policy.pkl", "policy.pt", "checkpoint.pkl"):
        (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "executed")))
    load(folder)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("length", [2**63, 2**40, 10**8, 1000])
def test_a_header_that_claims_to_be_huge_is_refused(folder, length):
    content = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(struct.pack("<Q", length) + content[8:500])
    assert "is damaged" in refusal(folder)


def test_a_tensor_outside_of_the_file_is_refused(folder):
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    (folder / WEIGHTS_FILE).write_bytes(struct.pack("<Q", len(header)) + header)
    assert "is damaged" in refusal(folder)


def test_names_of_tensors_are_no_paths(folder, tmp_path):
    weights = load_file(folder / WEIGHTS_FILE)
    save_file({**weights, "../../escaped": torch.zeros(3)}, folder / WEIGHTS_FILE)
    assert "is damaged" in refusal(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": ' * 100_000, json.dumps({"format": 1, "x": "y" * 2**21})])
def test_a_description_that_is_deep_or_long_is_refused(folder, content):
    (folder / DESCRIPTION_FILE).write_text(content)
    assert "is damaged" in refusal(folder)


@pytest.mark.parametrize(
    "kind", ["os.system", "synrl_ray.policies.policy.Policy", "__import__('os')", None, ["ann"], 3]
)
def test_only_known_networks_are_built(folder, kind):
    description = json.loads((folder / DESCRIPTION_FILE).read_text())
    keys = {"policy": "kind", "classifier": "kind", "learner": "kind", "settings": "name"}
    key = next(key for key in keys if key in description)
    describe(folder, **{key: {**description[key], keys[key]: kind}})
    assert "is damaged" in refusal(folder)


def largest(weights):
    return max(weights, key=lambda name: weights[name].numel())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused_by_name(folder, value):
    weights = load_file(folder / WEIGHTS_FILE)
    name = largest(weights)
    weights[name].view(-1)[-1] = value
    save_file(weights, folder / WEIGHTS_FILE)
    assert f"{WEIGHTS_FILE} is damaged ({name} is not finite)" in refusal(folder)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_weights_of_another_type_are_refused_by_name(folder, dtype):
    weights = load_file(folder / WEIGHTS_FILE)
    name = largest(weights)
    if weights[name].dtype == dtype:
        dtype = torch.complex64
    save_file({**weights, name: weights[name].to(dtype)}, folder / WEIGHTS_FILE)
    assert f"{WEIGHTS_FILE} is damaged ({name} is " in refusal(folder)


def test_weights_of_another_shape_are_refused_by_name(folder):
    weights = load_file(folder / WEIGHTS_FILE)
    name = largest(weights)
    save_file({**weights, name: weights[name].reshape(-1, 1).clone()}, folder / WEIGHTS_FILE)
    assert f"{WEIGHTS_FILE} is damaged ({name} is " in refusal(folder)


def test_weights_that_are_missing_or_nobodys_are_refused_by_name(folder):
    weights = load_file(folder / WEIGHTS_FILE)
    save_file({**weights, "one\nmore": torch.zeros(3)}, folder / WEIGHTS_FILE)
    assert "'one\\nmore' is no weight" in refusal(folder)
    name = largest(weights)
    del weights[name]
    save_file(weights, folder / WEIGHTS_FILE)
    assert f"there is no {name}" in refusal(folder)


def test_a_very_long_name_is_cut(folder):
    save_file({**load_file(folder / WEIGHTS_FILE), "x" * 100_000: torch.zeros(3)}, folder / WEIGHTS_FILE)
    assert "is damaged" in refusal(folder)


@pytest.mark.parametrize("change", [b"0123", -4])
def test_more_or_fewer_bytes_than_the_header_says_are_refused(folder, change):
    content = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(content + change if isinstance(change, bytes) else content[:change])
    assert "bytes of weights, not" in refusal(folder)


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "nothing"])
@pytest.mark.parametrize("name", [WEIGHTS_FILE, DESCRIPTION_FILE])
def test_what_is_no_regular_file_is_refused_without_waiting(folder, tmp_path, name, kind, linked):
    (folder / name).unlink()
    place = tmp_path / "elsewhere" if linked else folder / name
    if linked or kind == "device":
        (folder / name).symlink_to("/dev/zero" if kind == "device" else place)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    assert name in refusal(folder)


def test_a_file_elsewhere_may_be_linked_to(folder, tmp_path):
    (folder / WEIGHTS_FILE).rename(tmp_path / "weights")
    (folder / WEIGHTS_FILE).symlink_to(tmp_path / "weights")
    load(folder)


BOX = {"type": "Box", "dtype": "float32", "low": 0, "high": 1}
IMAGE = {**BOX, "shape": [1, 84, 84]}
HUGE = 10**9
GREEDY = [
    ("cartpole-ppo/spiking", {"policy": {"kind": "ann", "hidden_sizes": [100_000, 100_000]}}),
    ("cartpole-ppo/spiking", {"policy": {"kind": "ann", "hidden_sizes": [100_000, 100_000], "share_layers": True}}),
    ("cartpole-ppo/spiking", {"policy": {"kind": "spiking", "hidden_sizes": [HUGE]}}),
    ("cartpole-ppo/spiking", {"policy": {"kind": "spiking", "hidden_sizes": [1] * 200_000}}),
    ("cartpole-ppo/spiking", {"policy": {"kind": "spiking", "frame_stack": HUGE}}),
    ("cartpole-ppo/spiking", {"policy": {"kind": "spiking", "steps_per_observation": HUGE}}),
    ("cartpole-ppo/spiking", {"policy": {"kind": "spiking", "max_seq_len": HUGE}}),
    (
        "cartpole-ppo/spiking",
        {"policy": {"kind": "spiking", "conv_layers": [[HUGE, 8, 4]]}, "observation_space": IMAGE},
    ),
    (
        "cartpole-ppo/spiking",
        {
            "policy": {"kind": "ann", "conv_layers": [[4096, 1, 1]] * 3, "hidden_sizes": [4096]},
            "observation_space": IMAGE,
        },
    ),
    (
        "cartpole-ppo/ann",
        {
            "policy": {"kind": "ann", "conv_layers": [[1, 1, 1]] * 100_000, "hidden_sizes": [1]},
            "observation_space": IMAGE,
        },
    ),
    (
        "cartpole-ppo/ann",
        {
            "policy": {"kind": "ann", "normalise_observations": True, "hidden_sizes": [4096]},
            "observation_space": {**BOX, "shape": [2**24]},
        },
    ),
    ("cartpole-ppo/ann", {"observation_space": {**BOX, "shape": [10**6, 10**5]}}),
    ("cartpole-ppo/ann", {"observation_space": {**BOX, "shape": [0, 10**30]}}),
    ("cartpole-ppo/ann", {"observation_space": {**BOX, "shape": [2**20], "dtype": "S100000"}}),
    ("cartpole-ppo/ann", {"observation_space": {"type": "Discrete", "n": 10**12, "start": 0}}),
    ("cartpole-ppo/ann", {"action_space": {"type": "Discrete", "n": 10**12, "start": 0}}),
    ("cartpole-ppo/ann", {"action_space": {"type": "Discrete", "n": 10**400, "start": 0}}),
    ("taxi-q-learning/tabular", {"observation_space": {"type": "Discrete", "n": 10**12, "start": 0}}),
    ("taxi-q-learning/tabular", {"action_space": {"type": "Discrete", "n": HUGE, "start": 0}}),
    ("taxi-stdp-q/spiking", {"observation_space": {"type": "Discrete", "n": 10**12, "start": 0}}),
    ("maze-rstdp/spiking", {"observation_space": {**BOX, "shape": [2**24]}}),
    ("maze-rstdp/spiking", {"action_space": {"type": "Discrete", "n": HUGE, "start": 0}}),
    ("maze-rstdp/spiking", {"settings": {"name": "r_stdp", "neurons_per_action": HUGE}}),
    ("maze-rstdp/spiking", {"settings": {"name": "r_stdp", "steps_per_observation": HUGE}}),
    ("mnist-binary/spiking", {"classifier": {"kind": "ann", "hidden_sizes": [100_000, 100_000]}}),
    ("mnist-binary/spiking", {"classifier": {"kind": "ann", "architecture": "conv", "channels": [HUGE, HUGE]}}),
    ("mnist-binary/spiking", {"classifier": {"kind": "ann", "architecture": "conv", "channels": [100_000, 100_000]}}),
    ("mnist-binary/spiking", {"classifier": {"kind": "spiking", "steps_per_observation": HUGE}}),
    ("mnist-binary/spiking", {"classes": [1] * 400_000}),
    ("sinusoid-maml/spiking", {"learner": {"kind": "ann", "hidden_sizes": [100_000, 100_000]}}),
    ("sinusoid-maml/spiking", {"learner": {"kind": "spiking", "steps_per_sample": HUGE}}),
    ("sinusoid-maml/spiking", {"learner": {"kind": "ann", "population": HUGE}}),
    ("sinusoid-maml/spiking", {"tasks": {"name": "sinusoids", "shots": HUGE}}),
    ("sinusoid-maml/spiking", {"maml": {"inner_steps": HUGE}}),
    ("omniglot-maml/ann", {"learner": {"kind": "ann", "channels": HUGE}}),
    ("omniglot-maml/ann", {"learner": {"kind": "ann", "channels": [100_000] * 4}}),
    ("omniglot-maml/ann", {"learner": {"kind": "ann", "channels": [1] * 100_000}}),
    ("omniglot-maml/ann", {"tasks": {"name": "omniglot", "ways": HUGE}}),
    ("gridworld-maml/ann", {"tasks": {"name": "gridworlds", "rows": 100_000, "columns": 100_000}}),
    ("gridworld-maml/ann", {"tasks": {"name": "gridworlds", "horizon": HUGE}}),
    ("gridworld-maml/ann", {"maml": {"inner_steps": HUGE}}),
    ("gridworld-maml/ann", {"maml": {"episodes": HUGE}}),
]


@pytest.mark.parametrize(("kind", "changes"), GREEDY, ids=lambda value: json.dumps(value)[:100])
def test_a_description_cannot_ask_for_memory_that_the_weights_do_not_bring(kind, changes, tmp_path):
    shutil.copytree(RESULTS / kind, tmp_path / "policy")
    describe(tmp_path / "policy", **changes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        assert "is damaged" in refusal(tmp_path / "policy")
        assert tracemalloc.get_traced_memory()[1] < 2**28  # numpy's and Python's, also what was never written to
    finally:
        tracemalloc.stop()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # torch's too, in KiB


def test_the_environment_is_made_only_where_it_is_evaluated(tmp_path):
    shutil.copytree(RESULTS / "cartpole-ppo" / "spiking", tmp_path / "policy")
    (tmp_path / "policy" / "evil.py").write_text(f"import os; os.mkdir({str(tmp_path / 'executed')!r})")
    describe(tmp_path / "policy", environment={"id": "evil:Evil-v0", "kwargs": {}, "preprocessing": None})
    load_policy(tmp_path / "policy")
    done = subprocess.run(
        [Path(sys.executable).parent / "synrl", "evaluate", "."],
        cwd=tmp_path / "policy",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "evil" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "executed").exists()
